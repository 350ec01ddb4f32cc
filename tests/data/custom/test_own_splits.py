"""How a user's table is divided: splits of its own, dealt ones, and none."""

from pathlib import Path

import pytest

from cxrbench.data.custom.dataset import read_csv
from cxrbench.errors import UserError
from support.own_table import csv


def test_without_labels_every_image_is_to_be_trained_on(tmp_path: Path) -> None:
    manifest = read_csv(csv(tmp_path, "patient,sex,age", [f"p{n // 2},F,{n + 20}" for n in range(6)]))
    assert (manifest.labels, manifest.quantities, manifest.masks) == ((), (), None)
    assert set(manifest.images["split"]) == {"train"}
    assert manifest.images["group:age"].tolist() == [str(n + 20) for n in range(6)]
    assert "Nothing to test by, so every image is one to train on (pretraining)." in manifest.notes


def test_without_labels_a_split_column_counts(tmp_path: Path) -> None:
    cells = ["train"] * 4 + ["val", "test"]
    assert read_csv(csv(tmp_path, "split", cells)).images["split"].tolist() == cells
    assert set(read_csv(csv(tmp_path, "split", ["train"] * 6)).images["split"]) == {"train"}


def test_a_seed_in_the_sidecar_stratifies_the_splits(tmp_path: Path) -> None:
    cells = [f"p{n},{n % 10 == 0:d},{n % 7}" for n in range(100)]
    path = csv(tmp_path, "patient,effusion,regression:dose", cells, "split_seed = 5")
    manifest = read_csv(path)
    assert "No split column: 70/10/20 by patient, stratified, seed 5." in manifest.notes
    assert [int(manifest.targets()[manifest.rows_of(s), 0].sum()) for s in ("train", "val", "test")] == [7, 1, 2]
    (tmp_path / "own.toml").write_text("split_seed = 6")
    assert read_csv(path).images["split"].tolist() != manifest.images["split"].tolist()
    (tmp_path / "own.toml").write_text("")
    assert any("seed 42 (stratified: split_seed = NUMBER in own.toml)" in note for note in read_csv(path).notes)
    (tmp_path / "own.toml").write_text('split_seed = "5"')
    with pytest.raises(UserError, match="split_seed is a whole number"):
        read_csv(path)


def test_a_seed_without_need_is_said(tmp_path: Path) -> None:
    cells = [f"{n % 2},{('train', 'val', 'test')[n % 3]}" for n in range(6)]
    manifest = read_csv(csv(tmp_path, "effusion,split", cells, "split_seed = 5"))
    assert any("split_seed in own.toml is not used" in note for note in manifest.notes)


def test_without_patients_a_study_stays_in_one_split(tmp_path: Path) -> None:
    manifest = read_csv(csv(tmp_path, "study,effusion", [f"s{n // 3},{n % 2}" for n in range(60)]))
    assert len(set(zip(manifest.images["study_id"], manifest.images["split"], strict=True))) == 20
    assert "No patient column: each study counts as a patient." in manifest.notes
