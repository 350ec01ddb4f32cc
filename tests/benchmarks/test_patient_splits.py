"""Splits of real patients: nobody whom pretraining has seen is tested on, whatever the split and the dataset."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.manifest import Manifest
from cxrbench.data.splits import shared_patients
from evidence.patient_splits import SPLITS, pretraining_split, same_patients, sides, split_of, write_dataset

ROWS = [f"p{patient}" for patient in range(120) for _ in range(1 + patient % 3)]


def images_of(folder: Path, pictures: list[np.ndarray], patients: list[str], **more: object) -> Manifest:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number}.png")
    names = [f"{number}.png" for number in range(len(pictures))]
    table = pd.DataFrame({
        "image_id": names, "patient_id": patients, "study_id": names, "view": "", "split": "train", "path": names,
        "bytes": [(folder / name).stat().st_size for name in names],
        "a": np.arange(len(names)) % 2, "b": 1.0 - np.arange(len(names)) % 2,
    })  # fmt: skip
    return Manifest(folder.name, folder, table, ("a", "b"), **more)  # type: ignore[arg-type]


def pictures(count: int) -> list[np.ndarray]:
    """Smooth pictures that no two are alike."""
    rng = np.random.default_rng(0)
    return [np.kron(rng.integers(0, 255, (8, 8)), np.ones((8, 8))).astype(np.uint8) for _ in range(count)]


def test_no_split_tests_or_validates_on_a_patient_of_pretraining() -> None:
    side = sides(ROWS)
    seen = {patient for patient in ROWS if side[patient] == "pretraining"}
    tested: set[str] = set()
    for number in range(SPLITS):
        split = split_of(ROWS, side, number)
        held_out = {patient for patient in ROWS if split[patient] != "train"}
        assert held_out
        assert not held_out & seen
        assert not shared_patients(ROWS, [split[patient] for patient in ROWS])
        tested |= {patient for patient in ROWS if split[patient] == "test"}
    assert len(seen) / len(set(ROWS)) == pytest.approx(0.6, abs=0.1)
    assert len(tested) > 0.9 * (len(set(ROWS)) - len(seen))  # most of those held out are tested on in some split


def test_splits_differ_and_do_not_depend_on_the_order_of_rows() -> None:
    side = sides(ROWS)
    splits = [split_of(ROWS, side, number) for number in range(SPLITS)]
    assert len({tuple(sorted(split.items())) for split in splits}) == SPLITS
    assert sides(ROWS[::-1]) == side
    assert split_of(ROWS[::-1], side, 3) == splits[3]


def test_pretraining_gets_all_of_its_patients_and_no_other() -> None:
    side = sides(ROWS)
    split = pretraining_split(ROWS, side)
    assert {patient for patient in ROWS if split[patient] == "train"} == {
        patient for patient in ROWS if side[patient] == "pretraining"
    }
    assert set(split.values()) == {"train", "val", "test"}


def test_copies_under_other_names_have_their_patients_found(tmp_path: Path) -> None:
    shown = pictures(6)
    originals = images_of(tmp_path / "originals", shown[:5], ["p0", "p1", "p1", "p2", "p3"])
    smaller = [np.asarray(Image.fromarray(shown[at]).resize((48, 48), Image.Resampling.BOX)) for at in (4, 2, 5)]
    copies = images_of(tmp_path / "copies", smaller, ["x", "y", "z"])
    assert same_patients(copies, originals) == ["p3", "p1", "unknown:2.png"]


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_a_dataset_is_read_as_it_was_with_the_patients_and_splits_given(tmp_path: Path, kind: str) -> None:
    manifest = images_of(tmp_path / "some", pictures(6), [""] * 6, kind=kind, lineage=("nih",))
    patients, split = ["p0", "p0", "p1", "p2", "p2", "p3"], {"p0": "train", "p1": "val", "p2": "test", "p3": "train"}
    again = read_csv(write_dataset(tmp_path / "out", "real-some", manifest, patients, split))
    assert (again.name, again.kind, again.lineage, again.labels) == ("real-some", kind, ("nih",), ("a", "b"))
    assert [path.resolve() for path in again.paths()] == [path.resolve() for path in manifest.paths()]
    assert again.images["patient_id"].tolist() == patients
    assert again.images["split"].tolist() == [split[patient] for patient in patients]
    np.testing.assert_array_equal(again.targets(), manifest.targets())
