import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from cxrbench.errors import UserError
from cxrbench.files.checkpoints import leave_out, load_strict, read_metadata, read_state_dict
from cxrbench.files.containers import unwrap

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}


def assert_same(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor)


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in STATE.items()}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3, "optimizer": {"state": {0: torch.zeros(2)}}},
        {"model": prefixed("module."), "args": argparse.Namespace(out=Path("x"), lr=1e-3), "best": np.float64(0.5)},
        {"model": {"state_dict": prefixed("module._orig_mod.")}},
        {"target_encoder": STATE, "predictor": {"w": torch.zeros(1)}},
    ],
    ids=["plain", "lightning", "mae", "nested", "one encoder"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_published_layouts(content: dict[str, Any], zipped: bool, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "c.pth.tar", _use_new_zipfile_serialization=zipped)
    assert_same(read_state_dict(tmp_path / "c.pth.tar"), STATE)


def test_safetensors_and_metadata(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "c.safetensors", {"arch": "nano"})
    assert_same(read_state_dict(tmp_path / "c.safetensors"), STATE)
    assert read_metadata(tmp_path / "c.safetensors") == {"arch": "nano"}
    torch.save({"state_dict": STATE, "epoch": 3, "hyper_parameters": {"arch": "nano"}}, tmp_path / "c.ckpt")
    assert read_metadata(tmp_path / "c.ckpt") == {"epoch": 3, "hyper_parameters": {"arch": "nano"}}


def test_two_sets_of_weights_are_not_guessed_between(tmp_path: Path) -> None:
    both = {"encoder": STATE, "target_encoder": prefixed("x.")}
    torch.save(both, tmp_path / "ijepa.pth")
    with pytest.raises(UserError, match=r"several sets of weights \(encoder, target_encoder\)"):
        read_state_dict(tmp_path / "ijepa.pth")
    assert_same(read_state_dict(tmp_path / "ijepa.pth", containers=("encoder",)), STATE)
    with pytest.raises(KeyError, match="no weights"):
        unwrap({"epoch": 3})


class Code:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle"])
def test_code_is_never_run(kind: str, tmp_path: Path) -> None:
    path, trap = tmp_path / "evil.pth", tmp_path / "pwned"
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps({"model": Code(trap)}))
    else:
        torch.save({"model": Code(trap), **STATE}, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(UserError, match=r"evil\.pth .*it was not run; convert it") as error:
        read_state_dict(path)
    assert "\n" not in str(error.value)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Code(trap)))  # the trap does work
    assert trap.exists()


def test_modules_and_torchscript_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(UserError, match=r"code \(torch.nn.modules.linear.Linear\)"):
        read_state_dict(tmp_path / "module.pth")
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "jit.pt")  # type: ignore[no-untyped-call]
    with pytest.raises(UserError, match="TorchScript program"):
        read_state_dict(tmp_path / "jit.pt")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="holds a list"):
        read_state_dict(tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "nothing.pth")
    with pytest.raises(UserError, match="no weights under a known name; it contains: epoch"):
        read_state_dict(tmp_path / "nothing.pth")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no weights file .*none\.pth"):
        read_state_dict(tmp_path / "none.pth")
    with pytest.raises(UserError, match="it is a folder"):
        read_state_dict(tmp_path)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("intact")
    save_file(STATE, folder / "c.safetensors")
    torch.save(STATE, folder / "zip.pth")
    torch.save(STATE, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    return {path.name: path for path in folder.iterdir()}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["c.safetensors", "zip.pth", "legacy.pth"]),
    cut=st.floats(0, 0.999),
    junk=st.binary(max_size=40),
)
def test_truncated_or_damaged_files(name: str, cut: float, junk: bytes, intact: dict[str, Path]) -> None:
    """Whatever is cut off or written over, there is one line that names the file, or whole weights."""
    content = intact[name].read_bytes()
    keep = int(len(content) * cut)
    for number, damaged in enumerate((content[:keep], content[:keep] + junk + content[keep + len(junk) :])):
        path = intact[name].with_name(f"damaged{number}-{name}")
        path.write_bytes(damaged)
        try:
            state, message = read_state_dict(path), ""
        except UserError as error:
            state, message = {}, str(error)
        assert "\n" not in message
        assert str(path) in message or (number == 1 and all(isinstance(t, torch.Tensor) for t in state.values()))


def test_load_strict_names_every_mismatch() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = {name: tensor + 1 for name, tensor in before.items() if "num_batches" not in name}
    wrong = {k: v for k, v in state.items() if k != "1.weight"} | {"0.bias": torch.zeros(5), "head.w": torch.zeros(1)}
    with pytest.raises(UserError) as error:
        load_strict(module, wrong, "x.pth")
    assert str(error.value) == (
        "weights in x.pth do not fit Sequential: 1 missing: 1.weight; 1 unexpected: head.w; "
        "1 of another shape: 0.bias is [5] there and [2] here. Name the architecture that made them"
    )
    assert_same(dict(module.state_dict()), before)
    load_strict(module, state, "x.pth")  # batch-norm counters may be missing
    assert torch.equal(module.state_dict()["0.weight"], before["0.weight"] + 1)


def test_many_mismatches_stay_one_short_line() -> None:
    with pytest.raises(UserError, match=r"50 unexpected: w0, w1, w2, w3, \.\.\.") as error:
        load_strict(nn.Identity(), {f"w{i}": torch.zeros(1) for i in range(50)}, "x.pth")
    assert len(str(error.value)) < 250


class Masked(nn.Linear):
    """As a text tower that hides later tokens: a mask of 0 and -inf is among its buffers."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_no_numbers_are_refused(dtype: torch.dtype, wrong: float) -> None:
    module = Masked()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    numbers = {name: torch.full(tensor.shape, 3e4).to(dtype) for name, tensor in before.items()}
    state = numbers | {"mask": before["mask"], "bias": torch.tensor([1.0, wrong]).to(dtype)}
    with pytest.raises(UserError) as error:
        load_strict(module, state, "x.pth")
    assert str(error.value) == "x.pth holds NaN or infinity, first in bias: fetch or train it again"
    assert_same(dict(module.state_dict()), before)
    load_strict(module, numbers | {"mask": before["mask"]}, "x.pth")


def test_what_is_left_out_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "cxrbench.files.checkpoints")
    kept = leave_out({"head.w": torch.zeros(1), "header": torch.ones(1)}, ("head.",), "x.pth")
    assert list(kept) == ["header"]
    assert "left out 1 weights that an encoder does not use: head.w" in caplog.text
