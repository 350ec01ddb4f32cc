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
from support import layouts


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
