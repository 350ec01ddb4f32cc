"""Phantom images written as the VinDr-CXR, RSNA Pneumonia and SIIM-ACR downloads: DICOM files and their tables."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)
from pydicom.uid import SecondaryCaptureImageStorage as SecondaryCapture

from cxrbench.data.annotations.rle import encode_siim
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import FIBROSIS, NODULE, OPACITY, PNEUMOTHORAX, regions
from cxrbench.phantom.image import Radiograph

Rows = list[list[Any]]

Box = tuple[int, int, int, int]  # x, y, width, height

VINDR_LOCAL = ("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture",
               "Consolidation", "Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity",
               "Lung cavity", "Lung cyst", "Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening",
               "Pneumothorax", "Pulmonary fibrosis", "Rib fracture", "Other lesion")  # fmt: skip
VINDR_GLOBAL = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis")
# VinDr also names the stronger and weaker forms of a finding; a form is drawn when its grade lies in the range.
VINDR_FORMS = {"Consolidation": (OPACITY, 0.6, 1.0), "Infiltration": (OPACITY, 0.0, 0.25),
               "Pneumonia": (OPACITY, 0.45, 1.0), "Lung tumor": (NODULE, 0.65, 1.0),
               "ILD": (FIBROSIS, 0.6, 1.0)}  # fmt: skip


def write_csv(path: Path, header: list[str], rows: Iterable[list[Any]]) -> None:
    """A comma-separated table with Unix line ends."""
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def dicom(case: Case, sop_class: UID, syntax: UID, shape: tuple[int, int], bits: int, stored: int) -> FileDataset:
    """A DICOM file of a case without its pixels; every UID derives from the case, and there is no date."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, UID(case.uid("instance"))
    meta.TransferSyntaxUID, meta.ImplementationClassUID = syntax, UID(case.uid("implementation"))
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, case.uid("instance")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = case.uid("study"), case.uid("series")
    ds.Modality = "DX" if stored > 8 else "CR"
    ds.PatientID = ds.PatientName = str(case.key)
    ds.PatientSex = case.sex
    ds.Rows, ds.Columns = shape
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, stored, stored - 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    return ds


def write_jpeg(case: Case, image: Radiograph, path: Path) -> None:
    """The image as RSNA and SIIM store it: 8 bit, JPEG baseline, MONOCHROME2, secondary capture."""
    ds = dicom(case, SecondaryCapture, JPEGBaseline8Bit, image.image.shape, 8, 8)
    ds.add(DataElement("PatientAge", "AS", str(case.age), validation_mode=IGNORE))
    ds.BodyPartExamined, ds.ViewPosition = "CHEST", image.view
    ds.PixelSpacing = [0.143 * 1024 / image.image.shape[0]] * 2
    ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
    frame = io.BytesIO()
    Image.fromarray(np.rint(image.image * 255).astype(np.uint8)).save(frame, "JPEG", quality=90)
    ds.PixelData = encapsulate([frame.getvalue()])
    ds["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path)


def write_raw(case: Case, image: Radiograph, path: Path) -> None:
    """The image as hospitals send it: 12 or 14 bit, some inverted, some without window, some run-length compressed."""
    rng = case.rng(2)
    stored = int(rng.choice([12, 14], p=[0.8, 0.2]))
    top = 2**stored - 1
    low, span = rng.uniform(0, 0.1) * top, rng.uniform(0.75, 0.9) * top
    values, centre = np.rint(low + span * image.image), low + span / 2
    ds = dicom(case, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, image.image.shape, 16, stored)
    if rng.random() < 0.2:
        ds.PhotometricInterpretation = "MONOCHROME1"
        values, centre = top - values, top - centre
    if rng.random() < 0.5:
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, 0, "US"
    window = rng.random()
    if window < 0.7:
        twice = window < 0.1
        ds.WindowCenter = [round(centre)] * 2 if twice else round(centre)
        ds.WindowWidth = [round(span), round(span * 1.4)] if twice else round(span)
    if rng.random() < 0.6:
        ds.PatientAge = f"{case.age:03d}Y"
    ds.PixelSpacing = [0.139 * 2500 / image.image.shape[0]] * 2
    ds.PixelData = values.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    if rng.random() < 0.4:
        ds.compress(RLELossless, generate_instance_uid=False, encoding_plugin="gdcm")
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path)


def vindr_image(folder: Path, case: Case) -> tuple[Rows, Rows]:
    """Write one VinDr image; returns its rows of ``image_labels_*`` and ``annotations_*``, one or three readers'."""
    train = case.part == "vindr_train"
    image = case.image()
    write_raw(case, image, folder / ("train" if train else "test") / f"{case.key.hex}.dicom")
    boxes: dict[str, list[Box]] = {}
    for finding in image.findings:
        forms = [k for k, (name, a, b) in VINDR_FORMS.items() if name == finding.name and a <= finding.grade <= b]
        for name in (finding.name, *forms):
            boxes.setdefault(name, []).append(finding.box)
    if not train:
        return [_vindr_labels([case.key.hex], boxes)], _vindr_boxes([case.key.hex], boxes)
    rng = case.rng(3)
    labels, drawn = [], []
    readers = [f"R{r}" for r in sorted(rng.choice(17, 3, replace=False) + 1)]
    # At most one of the three dissents on a label, more often on a subtle finding: the majority is the truth.
    grade = {f.name: f.grade for f in image.findings}
    dissenter = {k: int(rng.integers(3)) for k in sorted(boxes) if rng.random() < 0.05 + 0.3 * (1 - grade.get(k, 0.5))}
    absent = [k for k in (*VINDR_LOCAL, *VINDR_GLOBAL) if k not in boxes]
    alarms, alarmist = [k for k in absent if rng.random() < 0.012], int(rng.integers(3))
    for r, reader in enumerate(readers):
        read = {k: [_jitter(b, image.image.shape, rng) for b in v] for k, v in boxes.items() if dissenter.get(k) != r}
        read |= {k: [_anywhere(image.image.shape, rng)] for k in alarms if r == alarmist}
        labels.append(_vindr_labels([case.key.hex, reader], read))
        drawn += _vindr_boxes([case.key.hex, reader], read)
    return labels, drawn


def _vindr_labels(keys: list[str], boxes: dict[str, Any]) -> list[Any]:
    """One row of labels: the local, the global, ``Other disease(s)`` and ``No finding``."""
    return [*keys, *(int(k in boxes) for k in (*VINDR_LOCAL, *VINDR_GLOBAL)), 0, int(not boxes)]


def _vindr_boxes(keys: list[str], boxes: dict[str, list[Box]]) -> Rows:
    """Rows of ``annotations_*``: class and corners; global labels and ``No finding`` have no box."""
    rows: Rows = []
    for name in sorted(boxes):
        if name in VINDR_LOCAL:
            rows += [[*keys, name, x, y, x + w, y + h] for x, y, w, h in boxes[name]]
        else:
            rows.append([*keys, name, *[""] * 4])
    return rows or [[*keys, "No finding", *[""] * 4]]


def _jitter(box: Box, shape: tuple[int, ...], rng: np.random.Generator) -> Box:
    """A box as another reader would draw it: each side off by about 4% of the size."""
    x, y, w, h = box
    left, right, top, bottom = np.rint(rng.normal(0, 0.04, 4) * (w, w, h, h)).astype(int).tolist()
    x0, y0 = max(0, x + left), max(0, y + top)
    x1, y1 = min(shape[1], x + w + right), min(shape[0], y + h + bottom)
    return x0, y0, max(1, x1 - x0), max(1, y1 - y0)


def _anywhere(shape: tuple[int, ...], rng: np.random.Generator) -> Box:
    """The box of a false alarm."""
    w, h = (int(v) for v in rng.integers(15, 60, 2))
    x, y = rng.uniform(0.15, 0.6, 2) * (shape[1], shape[0])
    return int(x), int(y), w, h


def vindr_tables(folder: Path, part: str, records: list[tuple[Rows, Rows]]) -> None:
    """The two tables of one part; the name of the last disease is spelled as in the original: two ways."""
    train = part == "vindr_train"
    keys, other = (["image_id", "rad_id"], "Other diseases") if train else (["image_id"], "Other disease")
    tables, name = folder / "annotations", part.removeprefix("vindr_")
    tables.mkdir(exist_ok=True)
    header = [*keys, *VINDR_LOCAL, *VINDR_GLOBAL, other, "No finding"]
    write_csv(tables / f"image_labels_{name}.csv", header, (row for labels, _ in records for row in labels))
    header = [*keys, "class_name", "x_min", "y_min", "x_max", "y_max"]
    write_csv(tables / f"annotations_{name}.csv", header, (row for _, boxes in records for row in boxes))


def rsna_image(folder: Path, case: Case) -> tuple[Rows, Rows]:
    """Write one RSNA image; returns its rows of the label table (one per box) and of the class table."""
    image = case.image()
    name = str(case.key)
    write_jpeg(case, image, folder / "stage_2_train_images" / f"{name}.dcm")
    boxes = [finding.box for finding in image.findings if finding.name == OPACITY]
    kind = "Lung Opacity" if boxes else "No Lung Opacity / Not Normal" if image.findings else "Normal"
    labels = [[name, *(float(v) for v in box), 1] for box in boxes] or [[name, "", "", "", "", 0]]
    return labels, [[name, kind]] * len(labels)


def rsna_tables(folder: Path, part: str, records: list[tuple[Rows, Rows]]) -> None:
    """``stage_2_train_labels.csv`` and ``stage_2_detailed_class_info.csv``."""
    header = ["patientId", "x", "y", "width", "height", "Target"]
    write_csv(folder / "stage_2_train_labels.csv", header, (row for labels, _ in records for row in labels))
    write_csv(
        folder / "stage_2_detailed_class_info.csv",
        ["patientId", "class"],
        (row for _, kinds in records for row in kinds),
    )


def siim_image(folder: Path, case: Case) -> list[str]:
    """Write one SIIM image; returns its lines of ``train-rle.csv``, one per region of the mask."""
    image = case.image()
    study, series, name = case.uid("study"), case.uid("series"), case.uid("instance")
    write_jpeg(case, image, folder / "dicom-images-train" / study / series / f"{name}.dcm")
    masks = [region for f in image.findings if f.name == PNEUMOTHORAX for region in regions(f.mask)]
    if masks and (rng := case.rng(4)).random() < 0.35:  # one region annotated in two rows, upper and lower
        upper = masks[0].copy()
        upper[int(rng.choice(np.flatnonzero(masks[0].any(1)))) :] = False
        masks = [m for m in (upper, masks[0] & ~upper, *masks[1:]) if m.any()]
    return [f"{name}, {encode_siim(mask)}" for mask in masks] or [f"{name}, -1"]


def siim_tables(folder: Path, part: str, records: list[list[str]]) -> None:
    """``train-rle.csv``, with the blank after each comma that the original has, its header included."""
    lines = ["ImageId, EncodedPixels", *(line for record in records for line in record)]
    (folder / "train-rle.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
