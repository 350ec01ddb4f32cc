"""Tiny datasets with boxes in the official layouts, written by hand."""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from cxrbench.data.datasets.detection.vindr_pcxr import DISEASES
from cxrbench.data.manifest import Manifest
from support.layouts import dicom, text

WIDTH, HEIGHT = 40, 30
SHAPES = {
    0: "0 2 3 12 9",
    1: "1 20 4 30 10",
    2: "2 5 5 15 8 11 21 4 17;0 1 1 4 4",
    3: "",
    4: "",
}
"""Annotation of image n of the training table: that of n modulo 5."""


def picture(path: Path, value: int = 100, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.add.outer(np.arange(size[1]), np.arange(size[0])) % 50 + value
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=95)


def boxes_of(manifest: Manifest, image_id: str) -> list[tuple[str, float, float, float, float]]:
    """Label, x, y, width, height of each box of an image, in the manifest's order."""
    assert manifest.boxes is not None
    rows = manifest.boxes[["image_id", "label", "x", "y", "width", "height"]].to_numpy().tolist()
    return [tuple(row[1:]) for row in rows if row[0] == image_id]


def object_cxr(root: Path) -> Path:
    """20 training images with SHAPES and 5 of dev.csv, one without a shape; test/ has an image that no table has."""
    for part, count in (("train", 20), ("dev", 5)):
        rows = []
        for number in range(count):
            picture(root / part / f"{number:05d}.jpg", 60 + number)
            rows.append(f"{number:05d}.jpg,{SHAPES[number % 5] if part == 'train' else SHAPES[number % 4]}")
        text(root / f"{part}.csv", "image_name,annotation", *rows)
    picture(root / "test" / "09000.jpg")
    return root


MS_CXR = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height"


def mimic_path(number: int, name: str) -> str:
    """Where MIMIC keeps an image; two numbers are one patient's."""
    return f"files/p10/p1000{number // 2:04d}/s5000{number:04d}/{name}.jpg"


def ms_cxr(root: Path, *, version: str = "1.1.0", images: Path | None = None) -> Path:
    """10 images of 5 patients (0 and 1 train, 2 validates, 3 and 4 are tested), image 2 has three boxes."""
    rows = []
    for number in range(10):
        name = f"{number:08x}-00000000-00000000-00000000-00000000"
        path = mimic_path(number, name)
        picture((images or root) / path, 60 + number)
        split = ("train", "train", "val", "test", "test")[number // 2]
        boxes = [("Pleural Effusion", "Small effusion.", 2, 3, 10, 6)]
        if number == 2:
            boxes += [("Pneumonia", "Bilateral, patchy", 1, 1, 5, 5), ("Pneumonia", "Bilateral, patchy", 20, 1, 5, 5)]
        for category, phrase, *box in boxes:
            cells = [name, category, f'"{phrase}"', path, *box, WIDTH, HEIGHT, *([split] if version == "1.1.0" else [])]
            rows.append(",".join(map(str, cells)))
    header = MS_CXR + (",split" if version == "1.1.0" else "")
    text(root / f"MS_CXR_Local_Alignment_v{version}.csv", header, *rows)
    return root


def ms_cxr_as_coco(root: Path) -> None:
    """Write the JSON that says what the CSV of ``ms_cxr`` does, and remove the CSV."""
    path = next(root.glob("*.csv"))
    with open(path, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    names = list(dict.fromkeys(row["category_name"] for row in rows))
    ids = list(dict.fromkeys(row["dicom_id"] for row in rows))
    images = {row["dicom_id"]: row for row in rows}
    coco = {
        "info": {"version": "1.1.0"},
        "categories": [{"id": names.index(name), "name": name} for name in names],
        "images": [
            {
                "id": ids.index(name), "file_name": f"{name}.jpg", "path": row["path"],
                "width": int(row["image_width"]), "height": int(row["image_height"]),
            }
            for name, row in images.items()
        ],
        "annotations": [
            {
                "id": number, "image_id": ids.index(row["dicom_id"]), "category_id": names.index(row["category_name"]),
                "label_text": row["label_text"], "bbox": [int(row[side]) for side in "xywh"],
                **({"split": row["split"]} if "split" in row else {}),
            }
            for number, row in enumerate(rows)
        ],
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(coco))
    path.unlink()


def vindr_pcxr(root: Path) -> Path:
    """20 training and 5 test images: normal, bronchitis, pneumonia with a box, without a label, with two boxes."""
    for part, count in (("train", 20), ("test", 5)):
        labels, boxes = [], []
        for number in range(count):
            name, reader = f"{'t' if part == 'train' else 'e'}{number:02d}", f"R{number % 3 + 1}"
            dicom(root / part / f"{name}.dicom")
            positive = [{"No finding"}, {"Bronchitis"}, {"Pneumonia"}, set(), {"Other disease", "Pneumonia"}][
                number % 5
            ]
            labels.append(f"{name},{reader}," + ",".join(str(int(label in positive)) for label in DISEASES))
            drawn = [
                ["No finding,,,,"], ["Bronchial thickening,1,1,5,6"], ["Consolidation,2,3,12,9"],
                ["Other lesion,0,0,4,4"], ["Consolidation,2,3,12,9", "Cardiomegaly,1,1,15.5,15.5"],
            ][number % 5]  # fmt: skip
            boxes += [f"{name},{reader},{box}" for box in drawn]
        text(root / f"image_labels_{part}.csv", ",".join(["image_id", "rad_ID", *DISEASES]), *labels)
        text(root / f"annotations_{part}.csv", "image_id,rad_ID,class_name,x_min,y_min,x_max,y_max", *boxes)
    return root


def siim_fisabio(root: Path) -> Path:
    """20 studies of 10 patients, study 3 with a second image, which alone has no box; classes in turn."""
    studies, images = [], []
    for number in range(20):
        study = f"{number:012x}"
        one = number % 4
        studies.append(f"{study}_study," + ",".join(str(int(n == one)) for n in range(4)))
        for again in range(2 if number == 3 else 1):
            name = f"{1000 * again + number:012x}"
            dicom(root / "train" / study / f"r{again}" / f"{name}.dcm", PatientID=f"p{number // 2}", ViewPosition="AP")
            if one and not again:
                first = "{'x': 1.5, 'y': 2, 'width': 5, 'height': 6}"
                boxes = f"\"[{first}, {{'x': 9, 'y': 2, 'width': 4, 'height': 6.25}}]\"" if one == 3 else f'"[{first}]"'
                images.append(f"{name}_image,{boxes},opacity 1 1.5 2 6.5 8,{study}")
            else:
                images.append(f"{name}_image,,none 1 0 0 1 1,{study}")
    header = "id,Negative for Pneumonia,Typical Appearance,Indeterminate Appearance,Atypical Appearance"
    text(root / "train_study_level.csv", header, *studies)
    text(root / "train_image_level.csv", "id,boxes,label,StudyInstanceUID", *images)
    return root
