"""Phantom studies as the MIMIC-CXR-JPG and Symile-MIMIC downloads: images of several views, reports, ECGs, labs."""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cxrbench.data.datasets import mimic, symile
from cxrbench.data.decode.arrays import IMAGENET_MEAN, IMAGENET_STD
from cxrbench.phantom.anatomy import Grid, Thorax
from cxrbench.phantom.cases import Case
from cxrbench.phantom.ecg import SAMPLES, ecg, heart, scaled
from cxrbench.phantom.findings import PNEUMOTHORAX, Finding
from cxrbench.phantom.image import Radiograph
from cxrbench.phantom.labs import labs, percentiles
from cxrbench.phantom.lateral import lateral
from cxrbench.phantom.layouts.challenges import Rows, write_csv
from cxrbench.phantom.reports import WrittenReport, report_file, seen, write_report

DEVICES = 0.12  # share of patients with a pacemaker
SIDE = 320  # of Symile's images
# What each of 20 consecutive cases is; the official validation sets are far smaller than a phantom could use.
MIMIC_SPLITS = ("train",) * 12 + ("validate",) * 3 + ("test",) * 5
SYMILE_SPLITS = ("train",) * 13 + ("val",) * 2 + ("test",) * 5


class Shot(NamedTuple):
    """One image of a study: its view (PA, AP, L), what the table says of it, and its pixels."""

    view: str
    position: str
    image: Grid


def number(case: Case, first: int) -> int:
    """An identifier of MIMIC's form: ``first`` plus seven digits, no two of a part alike."""
    return first + (case.number * 7_919 + case.seed * 104_729 + 31) % 9_999_991


class Study(NamedTuple):
    """What a patient's visit leaves: images, a report with CheXpert's labels of it, and its whole text."""

    shots: list[Shot]
    findings: tuple[Finding, ...]
    device: bool
    report: WrittenReport
    text: str


def study_of(case: Case) -> Study:
    """The study of a case: its images in the order that they were taken, and what was written about them."""
    image, device = case.image(), bool(case.rng(6).random() < DEVICES)
    shots = _shots(case, image, image.thorax, device)
    report = write_report(seen(image.findings), rng := case.rng(4), device=device)
    text = report_file(report, rng, sex=case.sex, views=[shot.view for shot in shots])
    return Study(shots, image.findings, device, report, text)


def marks_of(report: WrittenReport, labels: Sequence[str]) -> list[str]:
    """CheXpert's labels of a report as its tables have them: 1.0, 0.0, -1.0, or nothing where not mentioned."""
    return [f"{report.labels[name]:.1f}" if name in report.labels else "" for name in labels]


def mimic_image(folder: Path, case: Case) -> tuple[Rows, list[object]]:
    """Write one study's images and report; returns its rows of the metadata table and its row of the CheXpert table."""
    visit = study_of(case)
    patient, study = number(case, 10_000_000), number(case, 50_000_000)
    place = folder / "files" / f"p{str(patient)[:2]}" / f"p{patient}"
    (place / f"s{study}").mkdir(parents=True, exist_ok=True)
    rng, rows = case.rng(5), []
    for shot in visit.shots:
        name = "-".join(rng.bytes(4).hex() for _ in range(5))
        gray(shot.image).save(place / f"s{study}" / f"{name}.jpg", "JPEG", quality=92)
        rows.append([name, patient, study, shot.position, *shot.image.shape, MIMIC_SPLITS[case.number % 20]])
    (place / f"s{study}.txt").write_text(visit.text, encoding="utf-8")
    return rows, [patient, study, *marks_of(visit.report, mimic.LABELS)]


def mimic_tables(folder: Path, part: str, records: Sequence[tuple[Rows, list[object]]]) -> None:
    """The metadata, split and CheXpert tables."""
    images = [row for rows, _ in records for row in rows]
    header = ["dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns"]
    write_csv(folder / "mimic-cxr-2.0.0-metadata.csv", header, (row[:6] for row in images))
    header = ["dicom_id", "study_id", "subject_id", "split"]
    write_csv(folder / "mimic-cxr-2.0.0-split.csv", header, ([row[0], row[2], row[1], row[6]] for row in images))
    header = ["subject_id", "study_id", *mimic.LABELS]
    write_csv(folder / "mimic-cxr-2.0.0-chexpert.csv", header, (marks for _, marks in records))


def _shots(case: Case, radiograph: Radiograph, thorax: Thorax, device: bool) -> list[Shot]:
    """The images of one study: bedside images alone, others mostly with a lateral, now and then one image twice."""
    rng = case.rng(3)
    who = np.random.SeedSequence((case.seed, case.number, 77))

    def frontal(image: Grid) -> Shot:
        return Shot(
            radiograph.view,
            radiograph.view if rng.random() > 0.02 else "",
            _paced(image, _FRONTAL) if device else image,
        )

    def side() -> Shot:
        image = lateral(thorax, radiograph.findings, np.random.default_rng(who), rng)
        position = "LATERAL" if rng.random() < 0.7 else "LL"
        return Shot("L", position, _paced(image, _LATERAL) if device else image)

    kind = rng.random()
    if radiograph.view == "AP":
        return [frontal(radiograph.image), *([frontal(retake(radiograph.image, rng))] if kind > 0.85 else [])]
    if kind < 0.12:
        return [frontal(radiograph.image)]
    if kind < 0.17:
        return [side()]
    shots = [frontal(radiograph.image), side()]
    if kind > 0.8:
        shots.append(side() if rng.random() < 0.5 else frontal(retake(radiograph.image, rng)))
    return shots


def retake(image: Grid, rng: Generator) -> Grid:
    """The same patient exposed again: a little turned, shifted and enlarged, at another exposure."""
    height, width = image.shape
    angle, scale = rng.normal(0, 0.012), 1 / rng.uniform(1.03, 1.06)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    x, y = width / 2 * (1 + rng.normal(0, 0.01)), height / 2 * (1 + rng.normal(0, 0.01))
    matrix = (c, -s, x - c * width / 2 + s * height / 2, s, c, y - s * width / 2 - c * height / 2)
    turned = Image.fromarray(image).transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    bent = np.clip(np.asarray(turned), 0, 1) ** rng.uniform(0.9, 1.12)
    return np.clip(bent + 0.006 * rng.standard_normal(image.shape), 0, 1).astype(np.float32)


# A pacemaker: centre and radii of its case and the way of its lead, as shares of width and height.
_FRONTAL = (0.80, 0.17, 0.055, 0.04), ((0.77, 0.15), (0.62, 0.1), (0.46, 0.2), (0.46, 0.5), (0.58, 0.74))
_LATERAL = (0.2, 0.22, 0.02, 0.05), ((0.22, 0.2), (0.4, 0.1), (0.5, 0.3), (0.42, 0.5), (0.3, 0.68))


def _paced(image: Grid, drawing: tuple[tuple[float, ...], tuple[tuple[float, float], ...]]) -> Grid:
    """The image with a pacemaker on it."""
    (x, y, rx, ry), way = drawing
    height, width = image.shape
    canvas = Image.new("L", (width * 2, height * 2))
    draw = ImageDraw.Draw(canvas)
    size = np.array([width * 2, height * 2])
    box = (np.array([x - rx, y - ry, x + rx, y + ry]) * np.tile(size, 2)).tolist()
    draw.rounded_rectangle(box, radius=0.6 * ry * height, fill=235)
    t = np.linspace(0, 1, 40)[:, None]
    points = np.repeat(np.array(way)[:, None], 40, axis=1)
    while len(points) > 1:
        points = points[:-1] * (1 - t) + points[1:] * t
    draw.line((points[0] * size).ravel().tolist(), fill=225, width=3, joint="curve")
    return np.maximum(image, np.asarray(canvas.reduce(2), np.float32) / 255).astype(np.float32)


def symile_image(folder: Path, case: Case) -> NDArray[np.float64]:
    """Write one admission's image and ECG to a file of its own; returns its 50 laboratory values."""
    image, rng = case.image(), case.rng(4)
    small = gray(image.image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    left = any(e.side != "right" for e in seen(image.findings) if e.name == PNEUMOTHORAX)
    signal = scaled(ecg(heart(case.grades, left, rng), rng))
    (folder / "rows").mkdir(exist_ok=True)
    np.savez(folder / "rows" / f"{case.number}.npz", cxr=np.asarray(small), ecg=signal, ids=_ids(case))
    return labs(case.grades, rng)


def symile_tables(folder: Path, part: str, records: Sequence[NDArray[np.float64]]) -> None:
    """The arrays of each split, their tables of patients, and the mean percentiles that fill missing tests.

    Percentiles are ranks among the training patients, as in the original. Images are half precision (the original's
    are single): that halves the disk space and keeps all of 8 bits. The test file holds the queries without further
    candidates.
    """
    values = np.stack(records)
    rows_of = {s: [n for n in range(len(records)) if SYMILE_SPLITS[n % 20] == s] for s in ("train", "val", "test")}
    ranks = percentiles(values, values[rows_of["train"] or slice(None)])
    means = np.nan_to_num(np.nanmean(np.vstack([ranks[rows_of["train"]], np.full((1, 50), 0.5)]), axis=0), nan=0.5)
    keys = [f"{item}_percentile" for item in symile.LABS]
    (folder / "labs_means.json").write_text(json.dumps(dict(zip(keys, means.round(6).tolist(), strict=True))) + "\n")
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    for split, rows in rows_of.items():
        place = folder / "data_npy" / split
        place.mkdir(parents=True)
        if not rows:
            continue
        images = open_memmap(place / f"cxr_{split}.npy", "w+", np.float16, (len(rows), 3, SIDE, SIDE))
        ecgs = open_memmap(place / f"ecg_{split}.npy", "w+", np.float32, (len(rows), 1, SAMPLES, 12))
        ids = np.zeros((len(rows), 2), np.int64)
        for at, row in enumerate(rows):
            with np.load(folder / "rows" / f"{row}.npz") as stored:
                images[at] = (stored["cxr"].astype(np.float32)[None] / 255 - mean) / std
                ecgs[at, 0], ids[at] = stored["ecg"], stored["ids"]
        del images, ecgs  # written out now, and not kept in memory
        made = ~np.isnan(ranks[rows])
        np.save(place / f"labs_percentiles_{split}.npy", np.where(made, ranks[rows], means).astype(np.float32))
        np.save(place / f"labs_missingness_{split}.npy", made.astype(np.int64))
        np.save(place / f"hadm_id_{split}.npy", ids[:, 0])
        if split == "test":
            np.save(place / "label_test.npy", np.ones(len(rows), np.int64))
            np.save(place / "label_hadm_id_test.npy", ids[:, 0])
        with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerows([["hadm_id", "subject_id"], *ids.tolist()])
    shutil.rmtree(folder / "rows")


def _ids(case: Case) -> NDArray[np.int64]:
    """Admission and patient."""
    return np.array([number(case, 20_000_000), number(case, 10_000_000)])


def gray(image: Grid) -> Image.Image:
    """An image as an 8-bit image."""
    return Image.fromarray(np.rint(image * 255).astype(np.uint8))
