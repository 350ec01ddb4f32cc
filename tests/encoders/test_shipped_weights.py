"""The small phantom checkpoints that ship: there for every method, small, loadable, and made as their cards say."""

import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cxrbench.encoders.backbones.checkpoint import read_encoder
from cxrbench.encoders.backbones.encoder import WEIGHTS
from cxrbench.engine.registry import load_encoder
from cxrbench.plugins.listing import every_encoder

METHODS = ("spcl", "mae", "supervised", "mvmae", "mvmae-v2t", "pacx", "radjepa", "fane")
LARGEST = 4_000_000


def shipped(method: str) -> Path:
    return WEIGHTS / f"{method}_phantom.safetensors"


def typed(card: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """Method, settings and options of the card's ``cxrbench pretrain`` command."""
    lines = card.replace("\\\n", " ").splitlines()
    (line,) = [line for line in lines if line.startswith("cxrbench pretrain ")]
    words = shlex.split(line)[2:]
    named = list(pairwise(words))
    options = dict(value.split("=", 1) for flag, value in named if flag == "--option")
    return words[0], {flag: value for flag, value in named if flag.startswith("--")}, options


def test_all_runs_every_method_on_phantom_data() -> None:
    assert set(METHODS) <= set(every_encoder(synthetic=True))
    assert not set(METHODS) & set(every_encoder(synthetic=False))


@pytest.mark.parametrize("method", METHODS)
def test_small_half_precision_and_pretrained_on_the_phantom_alone(method: str) -> None:
    assert shipped(method).stat().st_size <= LARGEST
    weights = load_file(shipped(method))
    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} == {torch.float16}
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    card = load_encoder(method, synthetic=True).spec.card
    assert card.synthetic
    assert all(name.startswith("phantom:") for name in card.pretrained_on)


@pytest.mark.parametrize("method", METHODS)
def test_the_card_gives_the_command_that_the_file_remembers(method: str) -> None:
    command, settings, options = typed(shipped(method).with_suffix(".md").read_text())
    config = read_encoder(shipped(method), method).facts["config"]
    assert command == config["method"] == method
    assert settings["--arch"] == config["arch"]
    assert int(settings["--epochs"]) == config["epochs"]
    assert int(settings.get("--batch-size", config["batch_size"])) == config["batch_size"]
    assert float(settings.get("--lr", config["lr"])) == config["lr"]
    remembered = {name: value for name, value in config["options"].items() if name != "init"}  # init is a local path
    assert {name: value for name, value in options.items() if name != "init"} == remembered


@pytest.mark.parametrize("method", METHODS)
def test_tells_images_apart_and_is_not_its_untrained_backbone(method: str) -> None:
    encoder = load_encoder(method, synthetic=True).module
    untrained = load_encoder(f"random:{method}", synthetic=True).module
    preprocess = encoder.preprocess
    images = torch.randn(3, preprocess.channels, preprocess.size, preprocess.size, generator=torch.manual_seed(0))
    with torch.inference_mode():
        seen, raw = encoder(images).pooled, untrained(images).pooled
    assert seen.shape == raw.shape
    assert torch.isfinite(seen).all()
    assert float(seen.std(dim=0).mean()) > 1e-3
    assert not torch.allclose(seen, raw, atol=1e-3)
