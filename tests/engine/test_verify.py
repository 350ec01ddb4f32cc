"""``cxrbench verify``: what it finds in a store and a cache, and that it changes nothing."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrbench.data.manifest import Manifest
from cxrbench.engine.registry import load_dataset
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.files.npy import write_npy
from cxrbench.files.records import write_record
from cxrbench.predictions import Predictions
from support.command import cxrbench
from support.flips import unnoticed

pytestmark = pytest.mark.usefixtures("folders")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return lambda *words: cxrbench(monkeypatch, capsys, *words)


def everything() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()}


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def one(pattern: str) -> Path:
    (path,) = Path.cwd().glob(pattern)
    return path


@pytest.fixture
def store(run: Run, dataset: Path) -> list[str]:
    """A finished run of one encoder; returns the words of its command."""
    words = ["run", "--encoder", "pixels", "--tasks", f"{dataset}:classification"]
    assert run(*words)[0] == 0
    return words


HARM: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "predictions": ("results/cells/*/*/*/*.parquet", flipped, "computed again: pixels on clinic:classification"),
    "manifests": ("results/manifests/*.parquet", flipped, "written again"),
    "efficiency": ("results/encoders/*.json", flipped, "measured again"),
    "pooled features": ("cache/features/*/*/pooled.f32", Path.unlink, "made again"),
}


def test_a_store_that_is_whole_is_said_to_be(run: Run, store: list[str]) -> None:
    before = everything()
    code, out, _ = run("verify")
    assert code == 0
    for kind in HARM:
        assert f"{kind} " in out
    assert "damaged:" not in out
    assert everything() == before


@pytest.mark.parametrize("kind", HARM)
def test_damage_is_found_named_and_mended_by_the_next_run(run: Run, store: list[str], kind: str) -> None:
    pattern, harm, will = HARM[kind]
    whole = Predictions.load(one("results/cells/*/*/*/*.parquet")).rows
    harm(one(pattern))
    before = everything()
    code, out, _ = run("verify", "--json")
    assert code == 1
    damaged = [verdict for verdict in json.loads(out) if verdict["condition"] == "damaged"]
    assert [(verdict["kind"], will in verdict["next"]) for verdict in damaged] == [(kind, True)]
    assert everything() == before
    if kind == "predictions":
        _, out, _ = run(*store, "--dry-run", "--json")
        assert [(row["state"], "checksum" in row["reason"]) for row in json.loads(out)] == [("damaged", True)]
    else:
        one("results/cells/*/*/*/*.parquet").unlink()
    assert run(*store)[0] == 0
    assert run("verify")[0] == 0
    pd.testing.assert_frame_equal(Predictions.load(one("results/cells/*/*/*/*.parquet")).rows, whole)


def test_what_is_left_over_foreign_or_unfinished_is_no_damage(run: Run, tmp_path: Path) -> None:
    old, young = Path("results/cells/a/.p.parquet.0123.tmp"), Path("results/cells/a/.q.parquet.4567.tmp")
    for path in (old, young, Path("results/notes.txt"), Path("cache/features/ab/abc.partial/x")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    os.utime(old, (0, 0))
    code, out, _ = run("verify", "--json")
    found = {Path(verdict["path"]).name: verdict["condition"] for verdict in json.loads(out)}
    assert code == 0
    assert found == {
        old.name: "left over", young.name: "unfinished", "notes.txt": "foreign", "abc.partial": "unfinished",
    }  # fmt: skip
    _, out, _ = run("verify")
    assert f"left over: {old}: nothing reads it: it may be deleted" in out


def test_prepared_images_and_arrays_are_examined_too(run: Run) -> None:
    folder = Path("cache/pretraining")
    folder.mkdir(parents=True)
    Path("results").mkdir()
    (folder / "a.u8").write_bytes(b"pixels")
    for name in ("a", "b"):
        digest = hashlib.sha256(b"pixels").hexdigest()
        write_record(folder / f"{name}.json", {"dropped": [], "sha256": digest})
    write_npy(folder / "e.npy", np.ones(3))
    _, out, _ = run("verify", "--json")
    assert {Path(f["path"]).name: f["condition"] for f in json.loads(out)} == {
        "a.u8": "whole", "b.json": "damaged", "e.npy": "whole",
    }  # fmt: skip
    (folder / "a.u8").write_bytes(b"Pixels")
    _, out, _ = run("verify")
    assert "a.u8 (the checksum of a.u8 does not fit): it is made again when it is asked for" in out


def test_a_folder_that_is_not_there_is_one_line(run: Run) -> None:
    code, _, err = run("verify", "--results", "typo")
    assert (code, "no results folder typo" in err) == (2, True)


def test_a_damaged_manifest_is_noticed_by_whoever_reads_it(dataset: Path, tmp_path: Path) -> None:
    manifest = load_dataset(str(dataset), None, Path)
    Results(tmp_path / "r").save_manifest(manifest)
    (path,) = (tmp_path / "r" / "manifests").iterdir()
    assert unnoticed(path, lambda: Manifest.load(path), 30) == []
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="is damaged"):
        Manifest.load(path)
    Results(tmp_path / "r").save_manifest(manifest)
    assert Manifest.load(path).fingerprint == manifest.fingerprint
