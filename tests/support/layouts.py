"""Tiny datasets in the official layouts, written by hand."""

from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.data.annotations.rle import encode_siim
from cxrbench.data.datasets.vindr import LABELS
from cxrbench.data.decode.arrays import IMAGENET_MEAN, IMAGENET_STD
from support.dicom_files import write_dicom

SIDE = 16


def dicom(path: Path, **tags: Any) -> None:
    write_dicom(path, np.full((SIDE, SIDE), 7, np.uint8), bits_stored=8, **tags)


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def vindr(root: Path) -> Path:
    """20 training images with three readers each and 4 test images; the columns of the test files in another order."""
    train_names = [*LABELS[-1:], *LABELS[:-1]]
    test_names = [name.replace("Other diseases", "Other disease") for name in LABELS]
    rows, boxes = [], []
    for number in range(20):
        for reader in range(3):
            positive = {"Cardiomegaly"} if reader < number % 4 else {"No finding"}  # 0, 1, 2 or 3 votes
            positive |= {"Other diseases"} if number == 5 else set()
            rows.append(f"t{number:02d},R{reader + 1}," + ",".join(str(int(n in positive)) for n in train_names))
            box = "Cardiomegaly,1.5,2,9.5,12" if "Cardiomegaly" in positive else "No finding,,,,"
            boxes.append(f"t{number:02d},R{reader + 1},{box}")
        dicom(root / "train" / f"t{number:02d}.dicom")
    text(root / "annotations/image_labels_train.csv", ",".join(["image_id", "rad_id", *train_names]), *rows)
    text(root / "annotations/annotations_train.csv", "image_id,rad_id,class_name,x_min,y_min,x_max,y_max", *boxes)
    rows = []
    for number in range(4):
        positive = {"Cardiomegaly", "Other disease"} if number == 1 else {"No finding"}
        rows.append(f"e{number}," + ",".join(str(int(name in positive)) for name in test_names))
        dicom(root / "test" / f"e{number}.dicom")
    text(root / "annotations/image_labels_test.csv", ",".join(["image_id", *test_names]), *rows)
    text(
        root / "annotations/annotations_test.csv", "image_id,class_name,x_min,y_min,x_max,y_max",
        "e1,Cardiomegaly,0,0,4,5", "e0,No finding,,,,",
    )  # fmt: skip
    return root


def rsna(root: Path) -> Path:
    """20 images; every third positive, image 3 with two boxes."""
    labels, classes = [], []
    for number in range(20):
        name = f"id{number:02d}"
        if number % 3 == 0:
            labels += [f"{name},1.0,2.0,5.0,6.0,1", *([f"{name},8.0,2.0,4.0,6.0,1"] if number == 3 else [])]
            classes += [f"{name},Lung Opacity"] * (2 if number == 3 else 1)
        else:
            labels.append(f"{name},,,,,0")
            classes.append(f"{name},{'Normal' if number % 3 == 1 else 'No Lung Opacity / Not Normal'}")
        dicom(root / "stage_2_train_images" / f"{name}.dcm")
    text(root / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", *labels)
    text(root / "stage_2_detailed_class_info.csv", "patientId,class", *reversed(classes))
    return root


def siim_masks() -> list[np.ndarray]:
    """Two masks that overlap."""
    first, second = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
    first[2:6, 3:5], second[4:9, 4:12] = True, True
    return [first, second]


def siim(root: Path) -> Path:
    """20 annotated images (0 with two masks, 5, 10 and 15 with one), two of each patient, and one without a row."""
    first, second = (encode_siim(mask) for mask in siim_masks())
    rows = []
    for number in range(21):
        uid = f"1.2.{number}"
        tags = {"PatientID": f"p{number // 2}", "ViewPosition": "AP" if number % 2 else "PA"}
        dicom(root / f"dicom-images-train/s{number}/r{number}/{uid}.dcm", **tags)
        if number == 0:
            rows += [f"{uid}, {first}", f"{uid}, {second}"]
        elif number < 20:
            rows.append(f"{uid}, {first}" if number % 5 == 0 else f"{uid}, -1" if number % 2 else f"{uid},-1")
    text(root / "train-rle.csv", "ImageId, EncodedPixels", *reversed(rows))
    return root


def nih(root: Path, *, lists: bool, folders: tuple[str, ...] = ("images",), suffix: str = ".png") -> Path:
    """40 images of 20 patients in the given image folders."""
    rows, names = [], []
    for number in range(40):
        patient, visit = number // 2 + 1, number % 2
        name = f"{patient:08d}_{visit:03d}.png"
        finding = ["No Finding", "Cardiomegaly|Emphysema", "Hernia", "No Finding"][number % 4]
        view = "AP" if visit else "PA"
        rows.append(f"{name},{finding},{visit},{patient},60,M,{view},2500,2048,0.171,0.171,")
        path = root / folders[number % len(folders)] / Path(name).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (100 + number))
        names.append(name)
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    text(root / "Data_Entry_2017.csv", header + "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],", *rows)
    if lists:
        text(root / "train_val_list.txt", *names[:32])
        text(root / "test_list.txt", *names[32:], "00099999_000.png")
    return root


def write_symile(root: Path, *, tables: bool = True) -> tuple[Path, np.ndarray]:
    """12, 4 and 6 admissions (in the test file each query has one further candidate); returns the gray images too."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (22, 9, 7)).astype(np.float32) / 255
    first = 0
    for split, count in (("train", 12), ("val", 4), ("test", 6)):
        rows = list(range(first, first + count))
        label = [1] * count
        if split == "test":
            rows, label = [*rows, *rows[1:], rows[0]], label + [0] * count
        n, place = len(rows), root / "data_npy" / split
        place.mkdir(parents=True)
        mean, std = (np.array(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        np.save(place / f"cxr_{split}.npy", ((images[rows][:, None] - mean) / std).astype(np.float32))
        ecg = np.array(rows)[:, None, None, None] + np.arange(12) / 100 + np.zeros((1, 1, 50, 1))
        np.save(place / f"ecg_{split}.npy", ecg.astype(np.float32))
        np.save(place / f"labs_percentiles_{split}.npy", np.linspace(0, 1, n * 50).reshape(n, 50).astype(np.float32))
        made = np.ones((n, 50), np.int64)
        made[0, 3] = 0
        np.save(place / f"labs_missingness_{split}.npy", made)
        np.save(place / f"hadm_id_{split}.npy", 20_000_000 + np.array(rows))
        if split == "test":
            np.save(place / "label_test.npy", np.array(label))
        if tables:
            lines = [f"{20_000_000 + row},{10_000_000 + row // 2}" for row in rows]
            text(root / f"{split}.csv", "hadm_id,subject_id", *lines)
        first += count
    return root, images
