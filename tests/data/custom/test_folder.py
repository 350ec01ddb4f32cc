"""A folder of images and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.custom.folder import read_folder
from cxrbench.engine.registry import load_dataset
from cxrbench.errors import UserError
from support.dicom_files import write_dicom


def never() -> Path:
    raise AssertionError("the phantom is not needed here")


def images(root: Path, *names: str) -> Path:
    for n, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 6), n, np.uint8)).save(root / name)
    return root


def test_every_image_below_it_is_to_be_trained_on(tmp_path: Path) -> None:
    root = images(tmp_path / "scans", "a.png", "deep/b.jpg", ".hidden.png", "__MACOSX/c.png")
    (root / "readme.txt").write_text("x")
    manifest = read_folder(root)
    assert manifest.images["image_id"].tolist() == ["a.png", "deep/b.jpg"]
    assert (manifest.name, set(manifest.images["split"]), manifest.labels) == ("scans", {"train"}, ())
    assert "Files that are no images were left out: 1 .txt." in manifest.notes
    assert "2 image(s) name no patient: each counts as one." in manifest.notes


def test_it_is_named_by_a_path_with_a_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path / "scans", "a.png", "b.png")
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("./scans", None, never, cache=tmp_path / "cache")) == 2
    images(tmp_path / "scans", "c.png", "d.png", "e.png")
    assert len(load_dataset("scans/", None, never, cache=tmp_path / "cache")) == 5
    with pytest.raises(UserError, match=r"or \./scans for the folder of images"):
        load_dataset("scans", None, never)
    (tmp_path / "scans/labels.csv").write_text("image,effusion\na.png,1\nb.png,0\n")
    assert load_dataset("./scans", None, never).labels == ("effusion",)


def test_headers_of_dicom_files_say_who_it_is(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for n in range(3):
        write_dicom(
            tmp_path / f"scans/{n}", np.full((8, 8), n, np.uint16), PatientID=f"p{n // 2}", StudyInstanceUID="1.2.3",
            bits_stored=12, ViewPosition="PA", PatientSex="F", PatientAge="058Y",
        )  # fmt: skip
    manifest = read_folder(tmp_path / "scans")
    assert manifest.images["patient_id"].tolist() == ["p0", "p0", "p1"]
    assert set(manifest.images["study_id"]) == {"1.2.3"}
    assert (set(manifest.images["view"]), set(manifest.images["group:age"])) == ({"PA"}, {"58"})


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no image files .*and no labels\.csv"):
        read_folder(tmp_path / "empty")
