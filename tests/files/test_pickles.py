"""Checkpoints that would fill the memory, or never end: refused before they are opened, in one line."""

import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from cxrbench.errors import UserError
from cxrbench.files.checkpoints import read_checkpoint
from cxrbench.files.pickles import refuse_bombs

START = b"\x80\x02}X\x01\x00\x00\x00a"  # protocol 2, a dictionary, the key "a"
END = b"s."
TIMES = 200  # two to that many


def shared_lists() -> bytes:
    """l0 = [], l1 = [l0, l0], ...: 1.8 kB, and 2 ** 200 lists for whoever walks through them."""
    return b"]q\x00" + b"".join(b"](h%ch%ceq%c" % (k, k, k + 1) for k in range(TIMES))


def shared_tuples() -> bytes:
    return b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (k, k, k + 1) for k in range(TIMES))


def shared_dictionaries() -> bytes:
    x, y = b"X\x01\x00\x00\x00x", b"X\x01\x00\x00\x00y"
    return b"}q\x00" + b"".join(b"}(%sh%c%sh%cuq%c" % (x, k, y, k, k + 1) for k in range(TIMES))


PICKLES = {
    "lists": START + shared_lists() + END,
    "tuples": START + shared_tuples() + END,
    "dictionaries": START + shared_dictionaries() + END,
    "a tuple as key, which is hashed": b"\x80\x02}" + shared_tuples() + b"Ns.",
    "a call of a list, which the error shows": b"\x80\x02" + shared_lists() + b")R.",
    "a new object of a list, which the error shows": b"\x80\x02" + shared_lists() + b")\x81.",
    "a storage named by tuples": b"\x80\x02(X\x07\x00\x00\x00storage" + shared_tuples() + b"NNK\x01tQ.",
    "a dtype of lists": START + b"cnumpy\ndtype\n" + shared_lists() + b"\x85R" + END,
    "a dictionary within itself": b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s.",
    "lists 20,000 deep": START + b"]" * 20_000 + b"a" * 19_999 + END,
    "a key of tuples 20,000 deep": b"\x80\x02})" + b"\x85" * 20_000 + b"Ns.",
    "16 GB of zeros": START + b"cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x04\x85R" + END,
}


def archive(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", content)
        file.writestr("a/byteorder", "little")
        file.writestr("a/version", "3\n")
    return path


def refused(path: Path) -> str:
    with pytest.raises(UserError, match="not opened") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    return str(error.value)


@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_without_end_is_refused_zipped_and_bare(kind: str, tmp_path: Path) -> None:
    refused(archive(tmp_path / "zip.pth", PICKLES[kind]))
    head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    (tmp_path / "legacy.pth").write_bytes(b"".join(head) + PICKLES[kind] + pickle.dumps([], 2))
    refused(tmp_path / "legacy.pth")


def test_an_archive_that_inflates_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", START + b"N" + END)
        file.writestr("a/data/0", bytes(1 << 20))
    assert "would unpack to 1,048," in refused(tmp_path / "x.pth")


def test_too_many_operations_and_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "x.pth", START + b"](" + b"N" * 5000 + b"e" + END)
    refuse_bombs(path)
    with monkeypatch.context() as patch:
        patch.setattr("cxrbench.files.pickles.MOST_OPERATIONS", 4000)
        assert "too many operations" in refused(path)
    monkeypatch.setattr("cxrbench.files.pickles.LONGEST_PICKLE", 4000)
    assert "bytes of pickle beside its tensors" in refused(path)


def test_tensors_that_claim_more_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6), "b": torch.zeros(3)}, tmp_path / "expanded.pth")
    assert "its tensors claim 4,000,000,000,012" in refused(tmp_path / "expanded.pth")
    for name, tensor in {
        "sparse": torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (10**6, 10**6)),
        "meta": torch.empty(10**6, 10**6, device="meta"),
    }.items():
        torch.save({"a": tensor}, tmp_path / f"{name}.pth")
        with pytest.raises(UserError, match="without plain numbers"):
            read_checkpoint(tmp_path / f"{name}.pth")


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}',
        b'{"__metadata__":{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
    ],
)
@pytest.mark.parametrize("length", [None, 1 << 62, 99_000_000])
def test_a_safetensors_header_that_lies_is_one_line(header: bytes, length: int | None, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + bytes(4))
    with pytest.raises(UserError, match="not a whole safetensors file") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


def test_ordinary_checkpoints_pass(tmp_path: Path) -> None:
    tied = torch.zeros(4, 4)
    states = {i: {"step": torch.tensor(1.0), "m": torch.zeros(4)} for i in range(50)}
    optimizer = {"state": states, "groups": [{"lr": 1}]}
    content = {"model": {"a": tied, "b": tied, "c": tied.t()}, "optimizer": optimizer, "betas": (0.9, (0.1, [1, 2]))}
    for zipped in (True, False):
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
        assert torch.equal(read_checkpoint(tmp_path / "x.pth")["model"]["c"], tied.t())
