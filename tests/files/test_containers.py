"""What weights lie in: told by content, and never guessed between."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cxrbench.errors import UserError
from cxrbench.files.checkpoints import load_strict, read_state_dict
from cxrbench.files.containers import holds_tensors, is_plain, unwrap

STATE = {"a.weight": torch.zeros(2), "a.bias": torch.ones(2), "b": torch.ones(1)}
OTHER = {name: tensor + 1 for name, tensor in STATE.items()}


@pytest.mark.parametrize("average", ["state_dict_ema", "model_ema", "ema", "averaged"])
@pytest.mark.parametrize("nested", [False, True])
def test_an_average_beside_the_weights_is_not_passed_over(average: str, nested: bool, tmp_path: Path) -> None:
    """Whatever it is called: it has the same names."""
    prefixed = {f"module.{name}": tensor for name, tensor in OTHER.items()}
    content = {"state_dict": STATE, average: {"model": prefixed} if nested else prefixed, "epoch": 3}
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match=rf"x\.pth has several sets of weights \(state_dict, {average}\).*save one"):
        read_state_dict(tmp_path / "x.pth")
    chosen = read_state_dict(tmp_path / "x.pth", containers=("state_dict",))
    assert torch.equal(chosen["b"], STATE["b"])


def test_other_tensors_beside_the_weights_are_no_rivals() -> None:
    content = {
        "model": STATE,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}},
        "loss": {"center": torch.zeros(1)},
        "queue": torch.zeros(2),
    }
    assert unwrap(content).keys() == STATE.keys()


def test_a_container_of_any_name_will_do_if_it_is_the_only_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "cxrbench.files.containers")
    assert unwrap({"backbone_weights": STATE, "epoch": 3}).keys() == STATE.keys()
    assert "lie under backbone_weights" in caplog.text
    with pytest.raises(KeyError, match=r"several sets of weights \(first, second\)"):
        unwrap({"first": STATE, "second": OTHER})


def test_the_key_that_is_in_the_way_of_a_flat_file_is_named(tmp_path: Path) -> None:
    torch.save({**STATE, "epoch": 3}, tmp_path / "flat.pth")
    with pytest.raises(UserError, match=r"3 tensors, and beside them what is no tensor: epoch \(int\)"):
        read_state_dict(tmp_path / "flat.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "a git-LFS pointer.*git lfs pull"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html>", "an HTML page"),
        (b"<html><body>404", "an HTML page"),
        (b"<?xml version='1.0'?><Error>", "an XML page"),
        (b"", "empty"),
    ],
)
def test_what_came_in_place_of_weights_is_called_by_its_name(
    suffix: str, content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"x\{suffix} is {said}"):
        read_state_dict(path)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda own: {f"model.{n}": t for n, t in own.items()}, r'Every name there begins with "model\."'),
        (lambda own: {f"model.encoder.{n}": t for n, t in own.items()}, r'begins with "model\.encoder\."'),
        (
            lambda own: {f"model.{n}": t for n, t in own.items()} | {"head.weight": torch.zeros(1)},
            r'6 of its 7 names begin with "model\."',
        ),
        (
            lambda own: own | {"decoder_embed.weight": torch.zeros(1), "decoder.0.weight": torch.zeros(1)},
            r"keys are those of a decoder, too \(decoder_embed\.weight, decoder\.0\.weight\)",
        ),
        (lambda own: {"x.y": torch.zeros(1)}, "Name the architecture"),
    ],
)
def test_what_is_in_the_way_of_weights_is_named(change: Any, said: str) -> None:
    module = net()
    with pytest.raises(UserError, match=said):
        load_strict(module, change(dict(module.state_dict())), "x.pth")


def test_a_prefix_that_a_file_lacks_is_named() -> None:
    inner = net()
    with pytest.raises(UserError, match=r'Its names lack "0\." at their head'):
        load_strict(nn.Sequential(inner), inner.state_dict(), "x.pth")


def test_what_holds_itself_is_walked_once() -> None:
    circle: dict[str, Any] = {"epoch": 1}
    circle["again"] = [circle, circle]
    assert is_plain(circle)
    assert not holds_tensors(circle)
    circle["weights"] = {"w": torch.zeros(1)}
    assert not is_plain(circle)
    assert holds_tensors(circle)
    deep: dict[str, Tensor | dict[str, Any]] = {"w": torch.zeros(1)}
    for _ in range(5000):
        deep = {"model": deep}
    assert holds_tensors(deep)
    with pytest.raises(KeyError, match="within containers"):
        unwrap(deep)
