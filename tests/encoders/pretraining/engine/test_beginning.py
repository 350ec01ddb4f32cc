"""``--init``: every method begins from the weights that it is given, and says what it began from."""

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import timm
import torch
from torch import nn

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard
from cxrbench.encoders.backbones.checkpoint import KEY, encoder_facts, write_encoder
from cxrbench.encoders.backbones.encoder import gray_preprocess
from cxrbench.encoders.backbones.vit import ViT, ViTConfig
from cxrbench.encoders.fane.image import parse_image_arch, source_weights
from cxrbench.encoders.mvmae.backbone import MultiviewBackbone, backbone_config
from cxrbench.encoders.pretraining.engine.beginning import begin, initial_weights
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig
from cxrbench.encoders.pretraining.engine.pretrain import build_objective, checked, make_corpus, pretrain
from cxrbench.encoders.pretraining.engine.recipe_lines import recipe_lines
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import read_metadata
from cxrbench.files.records import parsed
from support.small_run import CONFIG, make_manifest

pytestmark = pytest.mark.usefixtures("one_thread")
ARCH = "64x4p8s32"
VIT = ViTConfig(64, 4, 1, 8, 32, 3)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_manifest(tmp_path_factory.mktemp("data"))


def written(path: Path, network: nn.Module) -> str:
    torch.save({"model": network.state_dict()}, path)
    return str(path)


def begun(config: PretrainConfig, manifest: Manifest, cache: Path) -> Any:
    """The objective at its beginning."""
    blueprint = checked(config)[0]
    initial = initial_weights(config, ARCH, blueprint, [manifest], lambda line: None)
    corpus, _ = make_corpus(config, blueprint, [manifest], cache, None)
    objective = build_objective(config, blueprint, corpus)
    begin(objective, blueprint, initial, lambda line: None)
    return objective


SOURCES: dict[str, Any] = {
    "spcl": lambda: ViT(VIT),
    "mae": lambda: ViT(VIT),
    "supervised": lambda: ViT(VIT),
    "radjepa": lambda: ViT(replace(VIT, class_token=False)),
    "mvmae": lambda: MultiviewBackbone(backbone_config(ARCH)),
}


@pytest.mark.parametrize("method", SOURCES)
def test_each_method_begins_from_given_weights(method: str, manifest: Manifest, tmp_path: Path) -> None:
    torch.manual_seed(4)
    source = SOURCES[method]()
    file = written(tmp_path / "weights.pth", source)
    labelled = manifest.images.assign(Nodule=[float(k % 2) for k in range(len(manifest.images))])
    manifest = replace(manifest, images=labelled)
    objective = begun(replace(CONFIG, method=method, arch=ARCH, init=file), manifest, tmp_path)
    images = torch.randn(2, 1, 32, 32)
    channels = source.config.channels
    with torch.no_grad():
        expected = source.eval()(images.expand(-1, channels, -1, -1))[0]
        for backbone in objective.beginnings():
            torch.testing.assert_close(backbone.eval()(images)[0], expected, atol=1e-5, rtol=1e-5)
    assert len(objective.beginnings()) == (2 if method == "radjepa" else 1)


def test_the_card_says_what_it_began_from_and_has_seen(manifest: Manifest, tmp_path: Path) -> None:
    gray = replace(VIT, channels=1)
    card = EncoderCard("mae", "unknown", ("chexpert",))
    facts = encoder_facts("mae", asdict(gray), gray_preprocess(gray), card)
    write_encoder(tmp_path / "mae.safetensors", ViT(gray).state_dict(), facts, half=False)
    config = replace(CONFIG, arch=ARCH, epochs=1, accumulate=1, init=str(tmp_path / "mae.safetensors"))
    out = pretrain(config, [manifest], tmp_path / "run", cache=tmp_path)
    told = parsed(read_metadata(out)[KEY], out)
    assert set(told["card"]["pretrained_on"]) == {"chexpert", "nih", "toy"}
    assert told["began_from"]["weights"] == config.init
    assert f"Began from: weights {config.init}, of mae" in (tmp_path / "run" / "encoder.md").read_text()
    with pytest.raises(UserError, match=r"began_from\.weights was .*mae\.safetensors, is random"):
        pretrain(replace(config, init=""), [manifest], tmp_path / "run", cache=tmp_path, resume=True)
    same = replace(config, init="random", epochs=1)
    pretrain(replace(same, init=""), [manifest], tmp_path / "anew", cache=tmp_path)
    pretrain(same, [manifest], tmp_path / "anew", cache=tmp_path, resume=True)  # random is what it began from


def test_what_a_source_begins_from_is_taken_or_missed_aloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cxrbench.encoders.families.hub.reachable", lambda endpoint: False)
    fane = PretrainConfig("fane", "resnet50", recipe="paper")
    radjepa = PretrainConfig("radjepa", ARCH, recipe="paper")
    for config, words in (
        (fane, r"fane begins from torchvision's ImageNet weights \(cannot fetch .*begins from RANDOM weights"),
        (replace(fane, arch="resnet18"), r"\(there are none for --arch 64x4p8s32\)"),
        (radjepa, r"radjepa begins from weights of I-JEPA that nobody published"),
    ):
        lines: list[str] = []
        blueprint = checked(config)[0]
        assert initial_weights(config, ARCH, blueprint, [], lines.append) is None
        (line,) = lines
        assert re.search(words, line), line
        assert "the source begins from" in begin(nn.Module(), blueprint, None, lines.append)  # type: ignore[arg-type]
        assert initial_weights(replace(config, init="random"), ARCH, blueprint, [], lines.append) is None
        assert len(lines) == 1
    fixed = replace(fane, recipe="fixed")
    assert initial_weights(fixed, ARCH, checked(fixed)[0], [], lines.append) is None
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("arch", "spec"),
    [
        ("resnet50", "timm:resnet50.tv_in1k"),
        ("base", "timm:deit_base_patch16_224.fb_in1k"),
        ("small", "timm:deit_small_patch16_224.fb_in1k"),
        ("nano", ""),
        ("resnet18", ""),
    ],
)
def test_fane_knows_its_sources_weights(arch: str, spec: str) -> None:
    assert source_weights(parse_image_arch(arch, 3)).spec == spec
    if spec:
        assert timm.models.get_pretrained_cfg(spec.removeprefix("timm:")) is not None


def test_wrong_files_are_refused_before_any_data_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--init nowhere.pth: no such file; give one of weights, timm:NAME or random"):
        checked(replace(CONFIG, init="nowhere.pth"))


def test_weights_of_another_shape_are_refused_before_an_image_is_decoded(manifest: Manifest, tmp_path: Path) -> None:
    file = written(tmp_path / "vit.pth", ViT(VIT))
    config = replace(CONFIG, arch="nano-32", init=file)
    for refuses in (
        lambda: pretrain(config, [manifest], tmp_path / "run", cache=tmp_path),
        lambda: recipe_lines(config),
    ):
        with pytest.raises(UserError, match=r"is a ViT 64x4p8s32, not 192x4p16s32: pass it as --arch 64x4p8s32"):
            refuses()
    assert list(tmp_path.glob("*.u8")) == []
    with pytest.raises(UserError, match=r"is a ViT, and the backbone is none: pass --arch 64x4p8s32, or other weights"):
        recipe_lines(replace(config, method="fane", arch="resnet18"))
    gray = written(tmp_path / "gray.pth", ViT(replace(VIT, channels=1)))
    with pytest.raises(UserError, match="is of 1 channels, not 3"):
        recipe_lines(replace(config, arch=ARCH, init=gray, options={"channels": 3}))


def test_a_dry_run_shows_the_channels_of_the_mae_that_pacx_begins_from(tmp_path: Path) -> None:
    file = written(tmp_path / "vit.pth", ViT(VIT))
    lines, _ = recipe_lines(PretrainConfig("pacx", ARCH, recipe="official", init=file))
    told = {line.name: line.value for line in lines}
    assert told["channels"] == "3"
    assert told["image"].startswith("3 x 32 px")
    assert (told["backbone norm_eps"], told["norm_eps"]) == ("1e-05", "1e-05")


def test_a_dry_run_knows_nothing_of_an_mae_that_is_not_given(tmp_path: Path) -> None:
    def told(arch: str | None = None, **more: str) -> dict[str, tuple[str, str]]:
        lines, _ = recipe_lines(PretrainConfig("pacx", arch, **more))  # type: ignore[arg-type]
        return {line.name: (line.value, line.source) for line in lines}

    file = written(tmp_path / "vit.pth", ViT(VIT))
    theirs = "follows from --init"
    for recipe in ("paper", "official"):
        lines = told(recipe=recipe)
        assert {lines[name] for name in ("channels", "learned_positions", "image")} == {("the MAE's", theirs)}
        assert lines["size"] == ("224", "follows from arch and the options")
        assert lines["init"] == ("-", "PaCX-MAE §3, stage 1a: an MAE, to be given (--init FILE)")
    assert told("nano")["init"][1].endswith("(--init FILE) but on phantom data, where it is the shipped one")
    given = told(ARCH, init=file)
    assert given["channels"] == ("3", theirs)
    assert given["image"][1] == theirs
    assert given["init"] == (file, "given; the recipe has -")
    assert told("base", init="timm:vit_base_patch16_224.mae")["image"] == ("the MAE's", theirs)  # the hub is not asked


@pytest.mark.parametrize("look", [checked, recipe_lines])
def test_a_method_that_needs_anothers_weights_never_begins_at_random(look: Callable[[PretrainConfig], object]) -> None:
    words = "^--init random: pacx begins from the weights of an MAE, never at random: pass --init FILE$"
    with pytest.raises(UserError, match=words):
        look(PretrainConfig("pacx", "nano", init="random"))


def test_what_will_be_needed_is_looked_for_before_an_image_is_decoded(manifest: Manifest, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    for config, words in (
        (PretrainConfig("mvmae-v2t", "nano", options={"tokenizer": nowhere}), "tokenizer=.*nowhere: no such folder"),
        (PretrainConfig("mvmae-v2t", "nano"), "learns from reports, and toy has none: use mvmae"),
        (PretrainConfig("fane", "nano", options={"text": nowhere}), "text=.*nowhere cannot be loaded"),
        (PretrainConfig("pacx", "small"), r"pretrain one with `cxrbench pretrain mae --data DIR --arch small"),
    ):
        signals = pd.DataFrame({"study_id": [""], "lab:sodium": [0.5]})
        with pytest.raises(UserError, match=words):
            pretrain(config, [replace(manifest, signals=signals)], tmp_path / "run", cache=tmp_path)
    assert list(tmp_path.glob("*.u8")) == []
