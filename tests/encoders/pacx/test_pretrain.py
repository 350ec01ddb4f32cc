"""PaCX-MAE from data to encoder: phantom Symile studies, teachers and an MAE in files."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from cxrbench.data.datasets import symile
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard, EncoderRequest
from cxrbench.encoders.backbones.checkpoint import encoder_facts, read_encoder, write_encoder
from cxrbench.encoders.backbones.encoder import gray_preprocess, phantom_weights
from cxrbench.encoders.backbones.vit import ViT, parse_arch
from cxrbench.encoders.ecg.net1d import Net1D, Net1DConfig
from cxrbench.encoders.labs.autoencoder import LabsDAE
from cxrbench.encoders.pacx import objective
from cxrbench.encoders.pacx.encoder import load
from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig, pretrain
from cxrbench.errors import UserError
from cxrbench.files.digests import file_sha256
from cxrbench.phantom import write as phantom

pytestmark = pytest.mark.usefixtures("one_thread")

ARCH = parse_arch("64x4p8s32", channels=1)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("phantom")
    phantom.write(folder, images={"symile": 16}, workers=1)
    return replace(symile.DATASET.read(folder / "symile"), synthetic=True)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    """All that training begins from, in files."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    card = EncoderCard("mae", "Apache-2.0", ("phantom:vindr",), synthetic=True)
    facts = encoder_facts("mae", asdict(ARCH), gray_preprocess(ARCH), card)
    write_encoder(folder / "mae.safetensors", ViT(ARCH).state_dict(), facts, half=False)
    torch.save(Net1D(Net1DConfig((16,), (1,), 16)).state_dict(), folder / "ecg.pth")
    torch.save(LabsDAE(50).state_dict(), folder / "labs.pth")
    options = {"ecg": folder / "ecg.pth", "labs": folder / "labs.pth"}
    return PretrainConfig(
        method="pacx", arch="64x4p8s32", epochs=2, batch_size=4, precision="32", accelerator="cpu",
        init=str(folder / "mae.safetensors"), options={name: str(path) for name, path in options.items()},
    )  # fmt: skip


def test_from_studies_to_an_encoder(studies: Manifest, config: PretrainConfig, tmp_path: Path) -> None:
    written = pretrain(config, [studies], tmp_path / "run", cache=tmp_path / "cache")
    with safe_open(written, "pt") as file:
        facts = json.loads(file.metadata()["cxrbench"])
    assert set(facts["card"]["pretrained_on"]) == {"phantom:vindr", "phantom:symile"}
    assert facts["card"]["synthetic"]
    assert facts["corpus"]["studies"] == facts["corpus"]["studies with ecg"] == 13
    encoder = load(EncoderRequest("pacx", None, str(written)))
    assert encoder(torch.randn(2, 1, 32, 32)).pooled.shape == (2, 64)
    before, after = ViT(ARCH).state_dict(), encoder.backbone.state_dict()
    assert before.keys() == after.keys()
    from_checkpoint = load(EncoderRequest("pacx", None, str(tmp_path / "run" / "last.ckpt")))
    assert all(
        torch.equal(a, b) for a, b in zip(after.values(), from_checkpoint.backbone.state_dict().values(), strict=True)
    )
    start = load(EncoderRequest("pacx", None, str(written))).backbone.patch_embed.proj.weight
    with safe_open(config.init, "pt") as file:
        assert torch.equal(start, file.get_tensor("patch_embed.proj.weight"))  # the base is frozen
        assert not torch.equal(after["blocks.0.mlp.fc1.weight"], file.get_tensor("blocks.0.mlp.fc1.weight"))
    # another teacher under the same name
    torch.manual_seed(1)
    torch.save(LabsDAE(50).state_dict(), config.options["labs"])
    with pytest.raises(UserError, match=r"of another run \(corpus\.teacher of labs was "):
        pretrain(replace(config), [studies], tmp_path / "run", cache=tmp_path / "cache", resume=True)


def test_the_shipped_mae_is_told_and_another_in_its_place_is_another_run(
    studies: Manifest, config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, arch="nano", init="", epochs=1)
    own = phantom_weights("mae")
    assert own is not None
    written = pretrain(config, [studies], tmp_path / "run", cache=tmp_path / "cache")
    began, digest = read_encoder(written, "pacx").facts["began_from"], file_sha256(Path(own))[:16]
    name = "the shipped mae_phantom.safetensors"
    assert began == {"weights": name, "of": "mae", "licence": "Apache-2.0", "sha256": digest}
    assert f"Began from: weights {name}, of mae, " in (tmp_path / "run" / "encoder.md").read_text()
    arch, other = parse_arch("nano", channels=1), tmp_path / "mae_phantom.safetensors"
    card = read_encoder(Path(own), "mae").card
    facts = encoder_facts("mae", asdict(arch), gray_preprocess(arch), card)
    write_encoder(other, ViT(arch).state_dict(), facts, half=False)
    monkeypatch.setattr(objective, "phantom_weights", lambda method: str(other))
    with pytest.raises(UserError, match=rf"of another run \(began_from\.sha256 was {digest}, is [0-9a-f]{{16}}\)"):
        pretrain(config, [studies], tmp_path / "run", cache=tmp_path / "cache", resume=True)


def test_without_an_mae_it_says_how_to_get_one(studies: Manifest, config: PretrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pretrain mae .*--arch 64x4p8s32.*--init runs/mae"):
        pretrain(replace(config, init=""), [studies], tmp_path / "run", cache=tmp_path / "cache")
    real = replace(studies, synthetic=False)
    with pytest.raises(UserError, match=r"pretrain mae .*--arch nano"):
        pretrain(replace(config, init="", arch="nano"), [real], tmp_path / "real", cache=tmp_path / "cache")
    with pytest.raises(UserError, match="is a ViT 64x4p8s32, not 192x4p16s128: pass it as --arch"):
        pretrain(replace(config, arch="nano"), [studies], tmp_path / "other", cache=tmp_path / "cache")
    with pytest.raises(UserError, match="symile: there are no training images with "):
        pretrain(config, [replace(studies, signals=None)], tmp_path / "none", cache=tmp_path / "cache")
