"""``FILE.toml``: what weights of unknown origin cannot say; what nobody says is assumed, warned of and on the board."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
import transformers

from cxrbench import api
from cxrbench.encoder import NOTHING, EncoderCard, Preprocess
from cxrbench.encoders.backbones.checkpoint import encoder_facts, write_encoder
from cxrbench.encoders.backbones.vit import ViT, ViTConfig
from cxrbench.encoders.families.published.catalogue import published
from cxrbench.encoders.sidecar import read_sidecar, write_sidecar
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from support.published.cnn_files import resnet_file
from support.published.vit_files import plain_vit, vit_file


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save({"model": plain_vit(224).state_dict()}, tmp_path / "vit.pth")
    return tmp_path / "vit.pth"


def say(weights: Path, text: str) -> Path:
    path = weights.with_name(f"{weights.name}.toml")
    path.write_text(text)
    return path


FILLED = 'size = 224\nresize = "squash"\ninterpolation = "bilinear"\nmean = [0.1]\nstd = [0.2]\nchannels = 3\n' + (
    'pooling = "mean"\nmethod = "Ours"\npretrained_on = ["nih"]\nlicence = "MIT"\n'
)


def test_without_it_the_card_names_what_is_assumed(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    (told,) = load_encoder(f"mae@{weights}", synthetic=False).spec.card.assumed
    assert not caplog.messages  # a run tells the card's, and once is enough
    for text in (
        "size 224",
        "mean 0.485/0.456/0.406",
        "no X-rays of the data sets here",
        "vit.pth.toml",
        "encoders card",
    ):
        assert text in told


def test_with_it_nothing_is_assumed(weights: Path) -> None:
    before = load_encoder(f"mae@{weights}", synthetic=False)
    say(weights, FILLED)
    after = load_encoder(f"mae@{weights}", synthetic=False)
    preprocess = after.module.preprocess
    assert (preprocess.resize, preprocess.mean, preprocess.std) == ("squash", (0.1,), (0.2,))
    card = after.spec.card
    assert (card.method, card.pretrained_on, card.licence, card.assumed) == ("Ours", ("nih",), "MIT", ())
    assert after.module.pooling == "mean"  # type: ignore[attr-defined]
    assert load_encoder(f"mae:cls@{weights}", synthetic=False).module.pooling == "cls"  # type: ignore[attr-defined]
    assert after.spec.fingerprint != before.spec.fingerprint
    say(weights, FILLED.replace('"nih"', '"mimic"'))
    again = load_encoder(f"mae@{weights}", synthetic=False)
    assert again.spec.files_sha256 != after.spec.files_sha256  # all of it is part of the identity


def test_what_it_leaves_out_is_still_assumed(weights: Path) -> None:
    say(weights, 'mean = [0.4978]\nstd = [0.2449]\nlicence = "MIT"\n')
    card = load_encoder(f"mae@{weights}", synthetic=False).spec.card
    assert "size 224" in card.assumed[0]
    assert "mean" not in card.assumed[0]
    assert card.licence == "MIT"


def test_timm_reads_it_too(tmp_path: Path) -> None:
    model: Any = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0).eval()
    torch.save(model.state_dict(), tmp_path / "t.pth")
    spec = f"timm:vit_tiny_patch16_224@{tmp_path / 't.pth'}"
    assumed = load_encoder(spec, synthetic=False).spec.card.assumed
    assert "mean 0.5, std 0.5" in assumed[0]
    say(tmp_path / "t.pth", FILLED)
    loaded = load_encoder(spec, synthetic=False)
    assert loaded.module.preprocess.mean == (0.1,)
    assert loaded.spec.card.pretrained_on == ("nih",)
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        expected = model.forward_features(images)[:, 1:].mean(1)
        torch.testing.assert_close(loaded.module(images).pooled, expected, atol=1e-5, rtol=1e-5)


def test_a_shape_that_the_network_cannot_be_shown_is_refused_at_load(tmp_path: Path) -> None:
    for name in ("vit_tiny_patch16_224", "resnet10t"):
        torch.save(timm.create_model(name, pretrained=False, num_classes=0).state_dict(), tmp_path / f"{name}.pth")
    vit, cnn = tmp_path / "vit_tiny_patch16_224.pth", tmp_path / "resnet10t.pth"
    say(vit, "size = 336")
    with pytest.raises(UserError, match=r"224.pth.toml says 336 pixels and 3 channel\(s\); .* is of 224 and 3") as told:
        load_encoder(f"timm:vit_tiny_patch16_224@{vit}", synthetic=False)
    assert "\n" not in str(told.value)
    say(cnn, "size = 336")  # a CNN takes any
    assert load_encoder(f"timm:resnet10t@{cnn}", synthetic=False).module.preprocess.size == 336
    say(cnn, "channels = 1")
    with pytest.raises(UserError, match=r"toml: 1 channel\(s\), but \(0.485, .*\) of mean are for 3 channels"):
        load_encoder(f"timm:resnet10t@{cnn}", synthetic=False)
    say(cnn, "channels = 1\nmean = [0.5]\nstd = [0.2]")
    with pytest.raises(UserError, match=r"says 224 pixels and 1 channel\(s\); the network is of 224 and 3"):
        load_encoder(f"timm:resnet10t@{cnn}", synthetic=False)
    entry = published("medical-mae-small")
    named = say(vit_file(entry, tmp_path).path, "size = 448")
    with pytest.raises(UserError, match=r"says 448 pixels and 3 channel\(s\); the network is of 224 and 3"):
        load_encoder(f"cxr:{entry.name}@{named.with_suffix('')}", synthetic=False)


def small_clip(folder: Path) -> str:
    """A CLIP of transformers' in a folder."""
    vision = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=8)
    transformers.CLIPModel(config).save_pretrained(folder)
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor.save_pretrained(folder)
    return f"hf:{folder}"


def small_open_clip(folder: Path) -> str:
    """A CLIP of open_clip's in a folder."""
    tower = {"width": 64, "layers": 4}
    config = {"embed_dim": 16, "vision_cfg": {"image_size": 32, "patch_size": 16, "head_width": 32, **tower},
              "text_cfg": {"context_length": 8, "vocab_size": 16, "heads": 2, **tower}}  # fmt: skip
    model = open_clip.model.CustomTextCLIP(**config)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return f"open_clip:{folder}"


def published_resnet(folder: Path) -> str:
    """A file that is known by name."""
    return f"cxr:mgca-resnet50@{resnet_file(published('mgca-resnet50'), folder).path}"


@pytest.mark.parametrize("made", [small_clip, small_open_clip, published_resnet])
def test_a_pooling_that_is_not_read_is_refused(made: Callable[[Path], str], tmp_path: Path) -> None:
    spec = made(tmp_path)
    load_encoder(spec, synthetic=False)
    for place in (tmp_path / "cxrbench.toml", tmp_path / "weights.pth.toml"):
        place.write_text('pooling = "mean"')
    with pytest.raises(UserError, match="toml: pooling = 'mean', but it is read in one way only: leave that out"):
        load_encoder(spec, synthetic=False)


def test_beside_weights_that_say_it_themselves_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    network = ViT(ViTConfig(64, 4, 1, size=32, channels=3))
    facts = encoder_facts("mae", asdict(network.config), Preprocess(), EncoderCard("mae"))
    write_encoder(path, network.state_dict(), facts, half=False)
    load_encoder(f"mae@{path}", synthetic=False)
    with pytest.raises(UserError, match="was trained by mae here and says its preprocessing and card itself"):
        api.write_card(str(path))
    say(path, 'licence = "MIT"')
    with pytest.raises(UserError, match=r"encoder.safetensors.toml is not read: .* are known without it; delete it"):
        load_encoder(f"mae@{path}", synthetic=False)


def test_radjepa_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "ijepa.pth"
    torch.save({"target_encoder": plain_vit(224, class_token=False).state_dict()}, path)
    say(path, 'mean = [0.1]\nstd = [0.2]\npooling = "mean+sd"\npretrained_on = ["nih"]')
    loaded = load_encoder(f"radjepa@{path}", synthetic=False)
    assert (loaded.module.preprocess.mean, loaded.module.preprocess.std) == ((0.1,), (0.2,))
    assert (loaded.spec.card.pretrained_on, loaded.module.pooling) == (("nih",), "mean+sd")  # type: ignore[attr-defined]
    for text, message in (('pooling = "cls"', "has no CLS token"), ("size = 112", "says 112 pixels")):
        say(path, text)
        with pytest.raises(UserError, match=message):
            load_encoder(f"radjepa@{path}", synthetic=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size = 'big'", "size = 'big' is a str, not a whole number"),
        ("colour = 1", "unknown key 'colour'; known: size, resize"),
        ("resize = 'stretch'", "resize = 'stretch'; choose squash or crop or pad"),
        ("channels = 2", "channels = 2; choose 1 or 3"),
        ("mean = [1, 2]", "one number or three"),
        ("std = [0.0]", "std is above 0"),
        ("size = 100000", "size is 1 to 4096"),
        ("mean = [123.675, 116.28, 103.53]", "not of pixels in .0, 1.: divide numbers of 0..255 by 255"),
        ("mean = [nan]", "not of pixels"),
        ("std = [inf]", "not of pixels"),
        ('pretrained_on = ["mimic", "nothing"]', "'nothing' stands alone"),
        ("mean = [0.1, 0.2, 0.3]\nchannels = 1", "one channel and three means"),
        ('pretrained_on = ["?"]', r"pretrained_on is still '\?': fill it in"),
        ("pretrained_on = [1]", "a list of names"),
        ("pooling = 'max'", "pooling = 'max'; choose cls or mean"),
        ("size = 336", "says 336 pixels and 3 channel.* is of 224 and 3"),
        ("size = ", "is no TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused(weights: Path, text: str, message: str) -> None:
    say(weights, text)
    with pytest.raises(UserError, match=message) as refused:
        load_encoder(f"mae@{weights}", synthetic=False)
    assert "\n" not in str(refused.value)


def test_the_card_that_is_written_is_to_be_filled_in(weights: Path) -> None:
    path = api.write_card(str(weights))
    assert path == weights.with_name("vit.pth.toml")
    with pytest.raises(UserError, match="pretrained_on is still"):
        load_encoder(f"mae@{weights}", synthetic=False)
    path.write_text(path.read_text().replace('["?"]', '["chexpert"]'))
    loaded = load_encoder(f"mae@{weights}", synthetic=False)
    assert loaded.spec.card.pretrained_on == ("chexpert",)
    assert loaded.spec.card.assumed == ()
    with pytest.raises(UserError, match="is there already"):
        api.write_card(f"mae@{weights}")
    with pytest.raises(UserError, match="give a file of weights"):
        api.write_card("pixels")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    preprocess = Preprocess(64, "pad", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 3, "bicubic", 0.875)
    path = write_sidecar(tmp_path / "w.pt", preprocess, EncoderCard('the "M" \\ one', "MIT"), "cls")
    path.write_text(path.read_text().replace('["?"]', "[]"))
    sidecar = read_sidecar(tmp_path / "w.pt")
    assert sidecar.applied(Preprocess()) == preprocess
    assert sidecar.card(EncoderCard("other")) == EncoderCard('the "M" \\ one', "MIT", NOTHING)
    assert sidecar.pooling == "cls"
