"""A checksum inside the file that it is of: every flipped bit and every cut is noticed."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from cxrbench.errors import UserError
from cxrbench.files.checkpoints import made_once, read_checkpoint, write_weights
from cxrbench.files.npy import read_sealed_npy, write_npy
from cxrbench.files.records import parsed, read_record, write_record
from cxrbench.files.seal import BLANK, DIGITS, MARK, DamagedError, check, damage, seal, seal_zip
from cxrbench.files.tables import write_sealed_table
from support.flips import unnoticed

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}


def zipped(path: Path) -> None:
    torch.save(STATE, path)
    seal_zip(path)


KINDS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "t.parquet": (lambda p: write_sealed_table(p, pa.table({"x": np.arange(9.0)}), {b"k": b"v"}), check),
    "w.safetensors": (lambda p: write_weights(p, STATE, {"k": "v"}), read_checkpoint),
    "c.ckpt": (zipped, read_checkpoint),
    "a.npy": (lambda p: write_npy(p, np.arange(9.0)), read_sealed_npy),
    "r.json": (lambda p: write_record(p, {"k": [1, "ä"]}), read_record),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_flipped_bit_and_every_cut_is_noticed(name: str, tmp_path: Path) -> None:
    write, read = KINDS[name]
    path = tmp_path / name
    write(path)
    read(path)
    assert unnoticed(path, lambda: read(path), 80) == []
    content = path.read_bytes()
    mark = 8 * content.index(MARK)
    for place in range(mark, mark + 8 * len(BLANK), 37):  # of the seal itself
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(UserError):
            read(path)
    for cut in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(UserError):
            read(path)


def test_the_digest_is_that_of_the_file_with_zeros_in_its_place(tmp_path: Path) -> None:
    """Computed here without the module's own code."""
    path = tmp_path / "r.json"
    write_record(path, {"k": 1})
    content = path.read_bytes()
    at = content.index(MARK) + len(MARK)
    said, blanked = content[at : at + DIGITS], content[:at] + b"0" * DIGITS + content[at + DIGITS :]
    assert said.decode() == hashlib.sha256(blanked).hexdigest()


def test_other_programs_read_sealed_files_as_ever(tmp_path: Path) -> None:
    for name, (write, _) in KINDS.items():
        write(tmp_path / name)
    assert pq.read_table(tmp_path / "t.parquet")["x"].to_pylist() == list(range(9))
    assert pd.read_parquet(tmp_path / "t.parquet").shape == (9, 1)
    assert torch.equal(load_file(tmp_path / "w.safetensors")["b"], STATE["b"])
    assert torch.equal(torch.load(tmp_path / "c.ckpt")["a.weight"], STATE["a.weight"])
    assert ZipFile(tmp_path / "c.ckpt").testzip() is None
    assert np.load(tmp_path / "a.npy").tolist() == list(range(9))
    assert json.loads((tmp_path / "r.json").read_text("utf-8"))["k"] == [1, "ä"]


def test_a_seal_is_put_in_one_place_alone(tmp_path: Path) -> None:
    for text in ("none", f"{BLANK} {BLANK}", f"{MARK.decode()} {BLANK}"):
        (tmp_path / "x").write_text(text)
        with pytest.raises(ValueError, match="no place for a seal"):
            seal(tmp_path / "x")
    (tmp_path / "x").write_text("no archive, and long enough to be one")
    with pytest.raises(ValueError, match="no zip archive"):
        seal_zip(tmp_path / "x")


def test_what_is_not_ours_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    for content in (b"{}", b"\xff\xfe", b"[" * 10**5, b"{\x00"):
        path.write_bytes(content)
        with pytest.raises(DamagedError, match=r"r\.json is damaged \(it carries no checksum"):
            read_record(path)
    path.write_text(json.dumps([BLANK]))
    seal(path)
    with pytest.raises(DamagedError, match="no JSON object"):
        read_record(path)
    path.write_bytes(b"")
    assert damage(path) == "it is empty"
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [("[" * 10**5, "nested too deep"), ("[1]", "JSON list"), ("{", "no JSON"), (b"\xff", "no JSON"), ("NaN", "float")],
)
def test_json_of_others_is_an_object_or_one_line(text: str | bytes, said: str) -> None:
    with pytest.raises(UserError, match=f"facts .*{said}") as error:
        parsed(text, "facts")
    assert "\n" not in str(error.value)
    assert parsed('{"a": 1}', "facts") == {"a": 1}


def test_weights_are_made_once_and_again_if_they_are_damaged(tmp_path: Path) -> None:
    made = []

    def make() -> dict[str, torch.Tensor]:
        made.append(1)
        return STATE

    path = tmp_path / "cache" / "teacher.safetensors"
    for _ in range(2):
        made_once(path, make)
    assert len(made) == 1
    path.write_bytes(path.read_bytes()[:-1])
    made_once(path, make)
    assert len(made) == 2
    assert damage(path) is None
