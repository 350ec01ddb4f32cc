"""No loader prepares images in a way that nobody said, or that somebody contradicts, without a word on the card."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file

from cxrbench.encoder import EncoderSpec, Preprocess
from cxrbench.encoders.families.published import catalogue as catalogue_module
from cxrbench.encoders.families.published.catalogue import catalogue, published
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from cxrbench.files.digests import file_sha256
from support.published.builders import BUILDERS
from support.published.vit_files import plain_vit, vit_file

FILLED = (
    'size = 224\nresize = "crop"\ninterpolation = "bicubic"\ncrop_pct = 1.0\nchannels = 3\npretrained_on = ["nih"]\n'
)
SWAPPED = "mean = [0.229, 0.224, 0.225]\nstd = [0.485, 0.456, 0.406]\n"
IMPOSSIBLE = "mean 0.229 and deviation 0.485, which no pixels in [0, 1] have: swapped"


def spec_of(text: str) -> EncoderSpec:
    return load_encoder(text, synthetic=False).spec


def told(text: str) -> str:
    """What the card says is assumed of an encoder."""
    return "; ".join(spec_of(text).card.assumed)


def of_somebody(method: str, folder: Path) -> tuple[str, Path]:
    """A file of unknown origin for a method, as a spec; and the file."""
    path = folder / "weights.pth"
    if method.startswith("timm:"):
        content = timm.create_model(method.removeprefix("timm:"), pretrained=False, num_classes=0).state_dict()
    else:
        jepa = method == "radjepa"
        content = {"target_encoder" if jepa else "model": plain_vit(224, class_token=not jepa).state_dict()}
    torch.save(content, path)
    return f"{method}@{path}", path


@pytest.mark.parametrize("method", ["spcl", "pacx", "supervised", "mae", "radjepa", "timm:resnet10t"])
def test_of_a_file_of_unknown_origin(method: str, tmp_path: Path) -> None:
    spec, path = of_somebody(method, tmp_path)
    assumed = told(spec)
    assert "assumed, for nobody says it: preprocessing (size " in assumed
    assert "mean 0.485" in assumed
    beside = path.with_name("weights.pth.toml")
    beside.write_text(f"{FILLED}mean = [0.1]\nstd = [0.2]\n")
    loaded = load_encoder(spec, synthetic=False)
    assert (loaded.module.preprocess.mean, loaded.spec.card.assumed) == ((0.1,), ())
    beside.write_text(FILLED + SWAPPED)
    assert IMPOSSIBLE in told(spec)


@pytest.mark.parametrize(
    ("mean", "std", "doubted"),
    [
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False),
        ((0.26862954, 0.26130258, 0.27577711), (0.48145466, 0.4578275, 0.40821073), True),  # CLIP's, swapped
        ((0.2583,), (0.5307,), True),  # RAD-DINO's, swapped
        ((0.406, 0.456, 0.485), (0.225, 0.9, 0.229), True),  # one channel is enough
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), True),  # of 0..255
        ((0.5,), (0.5,), False),
        ((127 / 255,), (128 / 255,), False),  # rounded: EfficientNet-Lite's
        ((0.5,), (1 / 2048,), False),  # to [-1024, 1024]
        ((0.0,), (1.0,), False),
        ((0.0,), (1 / 255,), False),
        ((0.5,), (1.0,), False),
    ],
)
def test_numbers_that_no_images_have(mean: tuple[float, ...], std: tuple[float, ...], doubted: bool) -> None:
    assert bool(Preprocess(mean=mean, std=std).doubt) is doubted


def test_the_catalogue_has_numbers_that_images_may_have() -> None:
    assert {name: doubt for name, entry in catalogue().items() if (doubt := entry.preprocess.doubt)} == {}


def test_of_a_module_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "import torch\nfrom cxrbench.encoder import Features, Preprocess\n"
        "class Mine(torch.nn.Module):\n    preprocess = Preprocess(mean=(0.25,), std=(0.5,))\n"
        "    def forward(self, images):\n        return Features(images.flatten(1)[:, :4])\n"
    )
    assert "mean 0.25 and deviation 0.5" in told("./mine.py:Mine")


def test_a_card_that_contradicts_what_is_known_is_told(tmp_path: Path) -> None:
    path = vit_file(published("mrm"), tmp_path).path
    for spec in (f"cxr:mrm@{path}", f"mae@{path}"):
        path.with_name("weights.pth.toml").write_text("mean = [0.4978]\npretrained_on = ['mimic']\n")
        assert told(spec) == ""  # it says the same
        path.with_name("weights.pth.toml").write_text("mean = [0.5]\npretrained_on = []\n")
        assumed = told(spec)
        assert "weights.pth.toml says in place of what is known of these weights: mean 0.5 (0.4978)" in assumed
        assert "pretrained_on nothing (mimic)" in assumed


def test_a_file_that_is_known_is_shown_what_it_was_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DeiT's file under the name of a network that timm normalizes otherwise."""
    path = tmp_path / "w.pth"
    torch.save(timm.create_model("vit_tiny_patch16_224", pretrained=False).state_dict(), path)
    entry = replace(published("deit-base"), sha256=file_sha256(path))
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: {entry.name: entry})
    loaded = load_encoder(f"timm:vit_tiny_patch16_224@{path}", synthetic=False)
    assert loaded.module.preprocess == entry.preprocess != Preprocess()
    assert loaded.spec.card.assumed == ()
    path.with_name("w.pth.toml").write_text("std = [0.5]\n")
    assert "std 0.5 (0.229/0.224/0.225)" in told(f"timm:vit_tiny_patch16_224@{path}")


@pytest.mark.parametrize("name", ["chexagent-vision", "radjepa"])
def test_of_a_file_whose_published_preprocessing_nobody_could_verify(name: str, tmp_path: Path) -> None:
    entry = published(name)
    if entry.loader == "radjepa":
        spec = f"cxr:radjepa@{of_somebody('radjepa', tmp_path)[1]}"
    else:
        spec = f"cxr:{name}@{BUILDERS[entry.loader](entry, tmp_path).path}"
    assert "its preprocessing is not verified" in told(spec)


def test_every_unverified_preprocessing_is_told_or_said_by_the_files() -> None:
    silent = {
        name for name, entry in catalogue().items()
        if "preprocessing" in entry.unverified and entry.loader != "hf" and not entry.id.startswith("hf-hub:")
    }  # fmt: skip
    assert silent == {"chexagent-vision", "radjepa"}  # which the test above loads


def small_dinov2(folder: Path, **facts: object) -> str:
    config = transformers.Dinov2Config(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=28)
    transformers.Dinov2Model(config).save_pretrained(folder)
    said = {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 28}, "resample": 3,
            "crop_size": {"height": 28, "width": 28}, "image_mean": [0.1] * 3, "image_std": [0.2] * 3}  # fmt: skip
    said |= facts
    (folder / "preprocessor_config.json").write_text(json.dumps({k: v for k, v in said.items() if v is not None}))
    return f"hf:{folder}"


def test_of_a_folder_of_transformers(tmp_path: Path) -> None:
    spec = small_dinov2(tmp_path)
    assert "preprocessing" not in told(spec)
    small_dinov2(tmp_path, image_mean=None, image_std=None)
    assert "nobody says it: preprocessing (mean 0.481455/0.457827/0.408211, std 0.26863/" in told(spec)
    small_dinov2(tmp_path, image_mean=[0.2] * 3, image_std=[0.5] * 3)
    assert "mean 0.2 and deviation 0.5, which no pixels" in told(spec)
    small_dinov2(tmp_path)
    (tmp_path / "README.md").write_text("how to use microsoft/rad-dino")
    assert "its files say other preprocessing, which is used: size 28 (here 518), mean (0.1,)" in told(spec)
    (tmp_path / "cxrbench.toml").write_text("mean = [0.3]\n")
    assert "cxrbench.toml says in place of what is known of these weights: mean 0.3 (0.1)" in told(spec)


def test_of_a_folder_of_open_clip(tmp_path: Path) -> None:
    tower = {"width": 64, "layers": 4}
    config = {"embed_dim": 16, "vision_cfg": {"image_size": 32, "patch_size": 16, "head_width": 32, **tower},
              "text_cfg": {"context_length": 8, "vocab_size": 16, "heads": 2, **tower}}  # fmt: skip
    torch.save(open_clip.model.CustomTextCLIP(**config).state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    for numbers, silent in (({}, False), ({"mean": [0.1] * 3, "std": [0.2] * 3}, True)):
        whole = {"model_cfg": config, "preprocess_cfg": numbers}
        (tmp_path / "open_clip_config.json").write_text(json.dumps(whole))
        assert ("preprocessing (mean 0.481455/" in told(f"open_clip:{tmp_path}")) is not silent


def test_of_a_folder_of_timm(tmp_path: Path) -> None:
    network = timm.create_model("resnet10t", num_classes=0)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / "model.safetensors")
    numbers = {"input_size": [3, 176, 176], "mean": [0.1] * 3, "std": [0.2] * 3}
    facts = {"architecture": "resnet10t", "num_classes": 0, "pretrained_cfg": numbers}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    spec = f"timm:local-dir:{tmp_path}"
    assert "that it has seen no X-rays of the data sets here; say it in cxrbench.toml" in told(spec)
    (tmp_path / "cxrbench.toml").write_text('pretrained_on = ["nih"]\n')
    loaded = load_encoder(spec, synthetic=False)
    assert (loaded.spec.card.pretrained_on, loaded.module.preprocess.mean) == (("nih",), (0.1,) * 3)
    assert not loaded.spec.card.assumed
    for missing, words in (("mean", "mean 0.485/0.456/0.406"), ("input_size", "size 224, channels 3")):
        rest = {key: value for key, value in numbers.items() if key != missing}
        (tmp_path / "config.json").write_text(json.dumps(facts | {"pretrained_cfg": rest}))
        assert f"assumed, for nobody says it: preprocessing ({words})" in told(spec)


@pytest.mark.parametrize("kind", [torch.int8, torch.bool, torch.complex64])
def test_weights_that_are_no_floats_are_refused(kind: torch.dtype, tmp_path: Path) -> None:
    state = plain_vit(224).state_dict()
    state["blocks.0.mlp.fc1.weight"] = (100 * state["blocks.0.mlp.fc1.weight"]).to(kind)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"1 no plain floats: blocks.0.mlp.fc1.weight is torch\.\w+\. They were quant"):
        spec_of(f"mae@{tmp_path / 'w.pth'}")


def test_what_stands_beside_a_published_file_is_a_part_of_its_identity_wherever_it_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks rest on it, and finished cells keep what was said when they were made."""
    monkeypatch.setenv("CXRBENCH_ENCODERS", str(tmp_path))
    (tmp_path / "mrm").mkdir()
    path = shutil.move(vit_file(published("mrm"), tmp_path).path, tmp_path / "mrm" / "MRM.pth")
    before = spec_of("cxr:mrm").fingerprint
    Path(f"{path}.toml").write_text('pretrained_on = ["mimic", "nih"]\n')
    assert spec_of("cxr:mrm").fingerprint != before
