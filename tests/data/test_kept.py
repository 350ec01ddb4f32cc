"""Manifests that are kept, and the stamps of files by which a change is noticed."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.kept import Origin, read_kept
from cxrbench.data.manifest import Manifest
from cxrbench.data.stamps import BLOCK, content_stamp
from cxrbench.engine.registry import load_dataset
from support import layouts


class Reads:
    """A reader of a folder of PNGs that counts how often it was asked."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0

    def __call__(self) -> Manifest:
        from cxrbench.data.datasets.nih import read

        self.count += 1
        return read(self.root)

    def kept(self, folder: Path) -> Manifest:
        return read_kept(Origin(self.root, self), folder)


@pytest.fixture
def reads(tmp_path: Path) -> Reads:
    return Reads(layouts.nih(tmp_path / "nih", lists=True))


def retimed(path: Path, content: bytes) -> None:
    """New content under the old time of last change."""
    facts = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_a_dataset_is_read_once(reads: Reads, tmp_path: Path) -> None:
    first, second = reads.kept(tmp_path / "kept"), reads.kept(tmp_path / "kept")
    assert reads.count == 1
    assert (second.fingerprint, second.image_set) == (first.fingerprint, first.image_set)
    for name in ("name", "root", "labels", "groups", "notes", "licence", "lineage"):
        assert getattr(second, name) == getattr(first, name)
    assert second.images.equals(first.images)


def replaced(root: Path) -> None:
    path = root / "images/00000003_000.png"
    path.write_bytes(b"y" * path.stat().st_size)


def edited(root: Path) -> None:
    path = root / "Data_Entry_2017.csv"
    path.write_text(path.read_text().replace("Hernia", "Nodule", 1))


def gone(root: Path) -> None:
    (root / "test_list.txt").unlink()
    (root / "train_val_list.txt").unlink()


@pytest.mark.parametrize("change", [replaced, edited, gone])
def test_what_changed_is_read_again(change: Callable[[Path], None], reads: Reads, tmp_path: Path) -> None:
    before = reads.kept(tmp_path / "kept")
    change(reads.root)
    after = reads.kept(tmp_path / "kept")
    assert reads.count == 2
    assert after.fingerprint != before.fingerprint
    assert (after.image_set != before.image_set) == (change is replaced)
    assert reads.kept(tmp_path / "kept").fingerprint == after.fingerprint
    assert reads.count == 2


def test_a_new_file_anywhere_below_is_noticed(reads: Reads, tmp_path: Path) -> None:
    reads.kept(tmp_path / "kept")
    (reads.root / "images" / "00000099_000.png").write_bytes(b"z")
    reads.kept(tmp_path / "kept")
    assert reads.count == 2


@pytest.mark.parametrize("name", ["*.parquet", "*.files.parquet"])
@pytest.mark.parametrize("damage", ["cut", "other", "gone", "flipped"])
def test_damaged_kept_manifests_are_made_again(name: str, damage: str, reads: Reads, tmp_path: Path) -> None:
    before = reads.kept(tmp_path / "kept")
    path = next(p for p in (tmp_path / "kept").glob(name) if ("files" in p.name) == ("files" in name))
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "flipped":
        content[len(content) // 3] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"no manifest")
    assert reads.kept(tmp_path / "kept").fingerprint == before.fingerprint
    assert reads.kept(tmp_path / "kept").fingerprint == before.fingerprint
    assert reads.count == 2 or (damage == "flipped" and "files" in name)  # a bit may be one that nothing reads


def test_a_folder_that_cannot_be_written_is_no_error(reads: Reads, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    assert len(reads.kept(tmp_path / "kept")) == 40


def test_several_processes_may_keep_one_manifest(reads: Reads, tmp_path: Path) -> None:
    expected, found = reads.kept(tmp_path / "apart").fingerprint, []
    jobs = [threading.Thread(target=lambda: found.append(reads.kept(tmp_path / "kept").fingerprint)) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert found == [expected] * 4


def test_a_copied_folder_is_the_same_data(tmp_path: Path) -> None:
    layouts.nih(tmp_path / "one" / "nih", lists=True)
    shutil.copytree(tmp_path / "one", tmp_path / "two", copy_function=shutil.copyfile)  # new times
    one, two = (load_dataset("nih", tmp_path / name, lambda: tmp_path) for name in ("one", "two"))
    assert (one.fingerprint, one.image_set) == (two.fingerprint, two.image_set)


def test_an_image_of_the_same_size_is_noticed_without_a_cache(tmp_path: Path) -> None:
    root = layouts.nih(tmp_path / "nih", lists=True)
    before = load_dataset("nih", tmp_path, lambda: tmp_path)
    retimed(root / "images/00000003_000.png", b"y" * 104)
    after = load_dataset("nih", tmp_path, lambda: tmp_path)
    assert before.images["bytes"].tolist() == after.images["bytes"].tolist()
    assert before.image_set != after.image_set
    assert before.fingerprint != after.fingerprint


def test_a_users_csv_its_masks_and_its_sidecar_are_watched(tmp_path: Path) -> None:
    for n in range(6):
        Image.fromarray(np.full((8, 8), n, np.uint8)).save(tmp_path / f"{n}.png")
        Image.fromarray(np.full((8, 8), n % 2, np.uint8)).save(tmp_path / f"m{n}.png")
    rows = [f"{n}.png,m{n}.png,{n % 2}" for n in range(6)]
    table = tmp_path / "own.csv"
    table.write_text("\n".join(["image,mask,effusion", *rows]) + "\n")

    def fingerprint() -> str:
        return load_dataset(str(table), None, lambda: tmp_path, cache=tmp_path / "cache").fingerprint

    seen = [fingerprint()]
    assert fingerprint() == seen[0]
    Image.fromarray(np.full((8, 8), 1, np.uint8)).save(tmp_path / "m4.png")
    seen.append(fingerprint())
    (tmp_path / "own.toml").write_text('mask_label = "lung"')
    seen.append(fingerprint())
    table.write_text("\n".join(["image,mask,effusion", *rows[1:]]) + "\n")
    seen.append(fingerprint())
    assert len(set(seen)) == 4
    assert len(list((tmp_path / "cache" / "manifests").glob("*.files.parquet"))) == 1


def test_a_stamp_is_of_the_size_and_of_the_first_middle_and_last_block(tmp_path: Path) -> None:
    path, content = tmp_path / "a.bin", bytes(10 * BLOCK)
    stamps = set()
    for place in (None, 0, 5 * BLOCK, 10 * BLOCK - 1):
        changed = bytearray(content)
        if place is not None:
            changed[place] = 1
        path.write_bytes(changed)
        stamps.add(content_stamp(path))
    path.write_bytes(content + b"\0")
    stamps.add(content_stamp(path))
    path.write_bytes(b"")
    stamps.add(content_stamp(path))
    assert len(stamps) == 6
    assert content_stamp(tmp_path / "nothing") == ""


def test_a_row_of_an_array_has_a_stamp_of_its_own(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 3, 40, 40)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    before = [content_stamp(tmp_path / f"x.npy#{row}") for row in range(3)]
    values[1, 0, 0, 0] += 1
    np.save(tmp_path / "x.npy", values)
    after = [content_stamp(tmp_path / f"x.npy#{row}") for row in range(3)]
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, True]
    assert len(set(before)) == 3
