"""What ``data check`` counts and finds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.check import check, format_report
from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.datasets import rsna, vindr
from cxrbench.data.datasets.segmentation import covid_qu_ex
from support import layouts, mask_layouts


def test_counts_agree_with_the_files(tmp_path: Path) -> None:
    manifest = rsna.read(layouts.rsna(tmp_path))
    seen: list[int] = []
    report = check(manifest, workers=2, progress=seen.append)
    assert (report.images, report.patients, report.boxes, report.decoded, sum(seen)) == (20, 20, 8, 20, 20)
    assert {split: count.images for split, count in report.splits.items()} == {"train": 12, "val": 4, "test": 4}
    assert sum(count.positives["Pneumonia"] for count in report.splits.values()) == 7
    assert report.ok
    assert json.loads(json.dumps(report.to_json()))["splits"]["val"]["images"] == 4
    text = format_report(report)
    assert "rsna: 20 images of 20 patients" in text
    assert "patients in more than one split: 0" in text
    assert "unreadable files: 0 of 20 decoded" in text
    assert "RSNA challenge terms" in text
    assert "nothing can be" not in text
    splits = {**report.splits, "test": replace(report.splits["test"], images=0)}
    assert "no test images: nothing can be tested on it" in format_report(replace(report, splits=splits))


@pytest.mark.parametrize("workers", [1, 3])
def test_unreadable_files_are_listed_with_reasons(tmp_path: Path, workers: int) -> None:
    layouts.vindr(tmp_path)
    (tmp_path / "train/t03.dicom").write_bytes(b"")
    whole = (tmp_path / "test/e2.dicom").read_bytes()
    (tmp_path / "test/e2.dicom").write_bytes(whole[:-40])
    report = check(vindr.read(tmp_path), workers=workers)
    assert list(report.unreadable) == ["e2", "t03"]
    assert report.unreadable["t03"] == "the file is empty"
    assert not report.ok
    assert "t03: the file is empty" in format_report(report)


def test_masks_are_counted_by_label_and_split_and_those_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    root = mask_layouts.covid_qu_ex(tmp_path)
    manifest = covid_qu_ex.read(root)
    report = check(manifest, workers=2)
    assert {split: count.masks["Lung"] for split, count in report.splits.items()} == {
        split: (count.images, 0) for split, count in report.splits.items()
    }
    assert report.splits["train"].masks["Infection"] == (2, 11)  # of 17: six outlined, four of them without COVID-19
    assert not any(count.masks for count in check(manifest, decode_all=False).splits.values())
    text = format_report(report)
    assert "2 (11 unknown)" in next(line for line in text.splitlines() if line.startswith("Infection (mask)"))
    assert json.loads(json.dumps(report.to_json()))["splits"]["train"]["masks"]["Infection"] == [2, 11]
    lost = root / "Lung Segmentation Data/Lung Segmentation Data/Train/Normal/lung masks/Normal (3).png"
    lost.write_bytes(lost.read_bytes()[:40])
    broken = check(manifest)
    assert list(broken.unreadable) == ["train_Normal_Normal (3)"]
    assert "lung masks/Normal (3).png" in broken.unreadable["train_Normal_Normal (3)"]
    assert broken.splits["train"].masks["Lung"] == (16, 1)
    assert not broken.ok


def test_without_decoding_no_file_is_opened(tmp_path: Path) -> None:
    layouts.vindr(tmp_path)
    (tmp_path / "train/t03.dicom").write_bytes(b"")
    report = check(vindr.read(tmp_path), decode_all=False)
    assert (report.decoded, report.unreadable) == (0, {})
    assert "unreadable files: not looked for" in format_report(report)


def test_shared_patients_and_unknown_labels_are_reported(tmp_path: Path) -> None:
    for n in range(4):
        Image.fromarray(np.full((4, 4), 9, np.uint8)).save(tmp_path / f"{n}.png")
    rows = ["0.png,p0,train,1", "1.png,p1,val,", "2.png,p2,test,0", "3.png,p3,train,1"]
    layouts.text(tmp_path / "own.csv", "file,patient,split,Mass", *rows)
    manifest = read_csv(tmp_path / "own.csv")
    assert check(manifest).ok
    leaking = manifest.images.assign(patient_id=["p0", "p0", "p2", "p3"])
    report = check(replace(manifest, images=leaking))
    assert report.shared_patients == ("p0",)
    assert not report.ok
    assert "patients in more than one split: 1 (p0)" in format_report(report)
    assert report.splits["val"].unknown == {"Mass": 1}
    assert "0 (1 unknown)" in format_report(report)


def pictures(root: Path, splits: str = "train train val test") -> Path:
    """Four pictures of structure, and a CSV that says which split each is in."""
    rows = ["file,patient,split,Mass"]
    for n, split in enumerate(splits.split()):
        noise = np.random.default_rng(n).random((6, 5))
        Image.fromarray((noise * 255).astype(np.uint8)).resize((300, 360)).save(root / f"{n}.png")
        rows.append(f"{n}.png,p{n},{split},{n % 2}")
    layouts.text(root / "own.csv", *rows)
    return root / "own.csv"


def test_one_picture_in_two_splits_is_a_problem_and_in_one_a_remark(tmp_path: Path) -> None:
    table = pictures(tmp_path)
    assert check(read_csv(table)).ok
    with Image.open(tmp_path / "0.png") as image:
        image.save(tmp_path / "1.png", compress_level=1)
    report = check(read_csv(table), workers=2)
    assert report.ok
    assert (report.leaked, report.repeated) == ((), (("0.png", "1.png"),))
    assert "pictures that a split has more than once: 1 (0.png = 1.png)" in format_report(report)
    with Image.open(tmp_path / "2.png") as image:
        image.resize((150, 180)).save(tmp_path / "3.png")
    report = check(read_csv(table), workers=2)
    assert not report.ok
    assert report.leaked == (("2.png", "3.png"),)
    assert "pictures in more than one split: 1 (2.png = 3.png)" in format_report(report)
    assert json.loads(json.dumps(report.to_json()))["leaked"] == [["2.png", "3.png"]]


def test_blank_and_saturated_images_are_counted_with_their_names(tmp_path: Path) -> None:
    table = pictures(tmp_path)
    Image.new("L", (9, 9), 7).save(tmp_path / "1.png")
    dark = np.asarray(Image.open(tmp_path / "2.png")).copy()
    dark[:270] = 0
    Image.fromarray(dark).save(tmp_path / "2.png")
    report = check(read_csv(table))
    assert (report.constant, report.saturated, report.ok) == (("1.png",), ("2.png",), True)
    text = format_report(report)
    assert "images of a single gray value: 1 (1.png)" in text
    assert "images mostly black or largely white: 1 (2.png)" in text
    assert "pictures in more than one split: 0" in text
    assert "pictures in" not in format_report(check(read_csv(table), decode_all=False))
