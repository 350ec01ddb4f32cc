"""Tiny downloads with masks in the official layouts, written by hand: images of 12 x 10 pixels."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrbench.data.annotations.rle import encode_siim
from cxrbench.data.datasets import chexpert
from cxrbench.data.datasets.segmentation.chexlocalize import OUTLINED
from cxrbench.data.datasets.segmentation.vindr_ribcxr import RIBS
from support.chexpert_layouts import CHEXPERT_HEADER
from support.dicom_files import write_dicom
from support.layouts import text
from support.masks import compressed

HEIGHT, WIDTH = 12, 10


def png(path: Path, number: int, *, height: int = HEIGHT, width: int = WIDTH) -> None:
    """An image that no other number has."""
    pixels = np.random.default_rng(number).integers(1, 250, (height, width), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def block(top: int, left: int, bottom: int, right: int) -> NDArray[np.bool_]:
    """A mask with one rectangle."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def mask_png(path: Path, mask: NDArray[np.bool_], value: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.where(mask, np.uint8(value), np.uint8(0))).save(path)


def outline(top: float, left: float, bottom: float, right: float) -> list[dict[str, float]]:
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return [{"x": x, "y": y} for x, y in corners]


def vindr_ribcxr(root: Path) -> Path:
    """20 training and 4 validation images; rib R2 overlaps R1, L10 of every image is ``"None"``."""
    for part, count in (("train", 20), ("val", 4)):
        table: dict[str, dict[str, Any]] = {"img": {}, **{rib: {} for rib in RIBS}}
        for n in range(count):
            name = f"VinDr_RibCXR_{part}_{n:03d}.png"
            png(root / part / "img" / name, n + 100 * (part == "val"))
            table["img"][str(n)] = f"data/{part}/img/{name}"
            for k, rib in enumerate(RIBS):
                table[rib][str(n)] = "None" if rib == "L10" else outline(k % 9, 1.0, k % 9 + 2, 7.6)
        (root / part / f"Vindr_RibCXR_{part}_mask.json").write_text(json.dumps(table))
    return root


def qata(root: Path, base: str = "QaTa-COV19/QaTa-COV19-v2") -> Path:
    """20 training and 5 test images; number 3 is of a patient of the test set, 8 and 9 are of one patient."""
    for folder, count in (("Train Set", 20), ("Test Set", 5)):
        for n in range(count):
            subject = {("Train Set", 3): 900, ("Test Set", 0): 900, ("Train Set", 8): 8, ("Train Set", 9): 8}.get(
                (folder, n)
            )
            name = f"covid_{n}" if subject is None else f"sub-S{subject:05d}_ses-E{n:05d}_run-1_bp-chest_vp-ap_dx"
            png(root / base / folder / "Images" / f"{name}.png", n + 100 * (folder == "Test Set"))
            mask_png(root / base / folder / "Ground-truths" / f"mask_{name}.png", block(2, 3, 5, 4 + n % 4))
    mask_png(root / base / "Train Set" / "Ground-truths" / "mask_covid_77.png", block(0, 0, 1, 1))
    return root


def candid_ptx(root: Path, *, suffix: str = "") -> Path:
    """12 images of six patients and what is wrong with the published tables.

    Image 0 has two pneumothorax masks that overlap and a tube across them, 2 a mask, 3 a tube of ``-1`` alone, 4 a
    fracture; 8 is of two patients, 9 has both a mask and -1, 10 neither. A tube is of an image that is not there.
    """
    first, second = block(1, 1, 5, 3), block(3, 2, 8, 6)
    rows, tubes = [], [f"1.2.3.0,0,{encode_siim(block(2, 0, 4, 9))}", "1.2.3.3,3,-1", "1.2.3.77,0,0 3"]
    for n in range(12):
        dicom(root / "dataset" / f"1.2.3.{n}{suffix}", n)
        masks = {0: [first, second], 2: [second], 8: [], 9: [first]}.get(n, [])
        texts = [encode_siim(mask) for mask in masks] + ["-1"] * (not masks or n == 9)
        texts = [""] if n == 10 else texts
        rows += [f'1.2.3.{n},9.{n},P{n // 2:05d}_{n}.dcm,{t},"Chest, two lines:\n""no"""' for t in texts]
    rows.append("1.2.3.8,9.8,P00077_8.dcm,-1,")
    text(root / "Pneumothorax_reports.csv", "SOPInstanceUID,StudyInstanceUID,filename,EncodedPixels,Report", *rows)
    text(root / "acute_rib_fracture.csv", "anon_SOPUID,annotation_ref,mask_rle", f"1.2.3.4,1,{encode_siim(first)}")
    text(root / "chest_tube.csv", "anon_SOPUID,annotation_ref,mask_rle", *tubes)
    return root


def chexlocalize(root: Path, *, old: bool = False, contours: bool = False) -> Path:
    """Ten validation and three test patients, one image each and a lateral one of the first of either.

    Effusion and Lung Opacity overlap in image 0; image 1 has a label without an outline, 2 an outline without a label,
    all others nothing, and no entry. ``old``: as it was first published, without the test set.
    """
    images, masks = ("CheXpert-v1.0", ".") if old else ("CheXpert", "CheXlocalize")
    for part, count in (("val", 10),) if old else (("val", 10), ("test", 3)):
        rows, drawn = [], {}
        for n in range(count):
            for view in ("view1_frontal", "view2_lateral")[: 1 + (n == 0)]:
                name = f"patient{64541 + n + 200 * (part == 'test')}/study1/{view}"
                folder = "valid" if old else part
                png(root / images / folder / f"{name}.jpg", n + 50 * (part == "test") + 25 * ("lateral" in view))
                found = {0: {"Lung Opacity", "Pleural Effusion"}, 1: {"Edema"}}.get(n, set())
                labels = [f"{float(label in found)}" for label in chexpert.LABELS]
                where = f"CheXpert-v1.0/valid/{name}.jpg" if part == "val" else f"test/{name}.jpg"
                rows.append(",".join([where, "Male", "73", "Frontal", "AP", *labels]))
                boxes = {
                    0: {"Airspace Opacity": (2, 2, 7, 6), "Pleural Effusion": (5, 3, 9, 9)},
                    2: {"Edema": (1, 1, 3, 3)},
                }
                if n < 3:
                    drawn[name.replace("/", "_")] = _chexlocalized(boxes.get(n, {}), contours=contours)
        text(root / images / ("valid.csv" if old else f"{part}_labels.csv"), CHEXPERT_HEADER, *rows)
        kind = "annotations" if contours else "segmentations"
        (root / masks).mkdir(exist_ok=True)
        (root / masks / f"gt_{kind}_{part}.json").write_text(json.dumps(drawn))
    return root


def _chexlocalized(boxes: dict[str, tuple[int, int, int, int]], *, contours: bool) -> dict[str, Any]:
    """An image's entry: a packed mask for each of the ten findings, or contours of those that are there."""
    if contours:
        outlines = {name: [[[p["x"], p["y"]] for p in outline(*box)]] for name, box in boxes.items()}
        return {"img_size": [HEIGHT, WIDTH], **outlines}
    masks = {name: block(*boxes[name]) if name in boxes else block(0, 0, 0, 0) for name in OUTLINED}
    return {name: {"size": [HEIGHT, WIDTH], "counts": compressed(mask)} for name, mask in masks.items()}


def dicom(path: Path, number: int) -> None:
    """A DICOM image that no other number has."""
    pixels = np.random.default_rng(number).integers(1, 250, (HEIGHT, WIDTH), np.uint8)
    write_dicom(path, pixels, bits_stored=8)


def covid_qu_ex(root: Path, *, lungs: bool = True, infection: bool = True, twice: bool = True) -> Path:
    """Six training, two validation and two test images of each class; the last of training and the first of test are
    of one patient. Of the first two of each folder the infection is outlined, one of them in another split.
    """
    for part, first, count in (("Train", 0, 6), ("Val", 6, 2), ("Test", 8, 2)):
        for label in ("COVID-19", "Non-COVID", "Normal"):
            for n in range(first, first + count):
                name = {"COVID-19": f"covid_{n}", "Non-COVID": f"non_COVID ({n})", "Normal": f"Normal ({n})"}[label]
                if label == "COVID-19" and n in (5, 8):
                    name = f"sub-S00042_ses-E{n:05d}_run-1_bp-chest_vp-ap_dx"
                trees = [("Lung Segmentation Data", part)] * lungs
                if infection and n < first + 2:
                    moved = {("Normal", 1): "Test"}.get((label, n), part)
                    trees.append(("Infection Segmentation Data", moved))
                for tree, where in trees:
                    place = root / tree / (tree if twice else "") / where / label
                    png(place / "images" / f"{name}.png", 10 * n + len(label))
                    mask_png(place / "lung masks" / f"{name}.png", block(1, 1, 10, 8))
                    if tree.startswith("Infection"):
                        ill = block(3, 2, 5 + n % 3, 6) if label == "COVID-19" else block(0, 0, 0, 0)
                        mask_png(place / "infection masks" / f"{name}.png", ill)
    return root


def cxlseg(root: Path, *, originals: bool = False) -> Path:
    """Ten training, two validation and two test images; the first training image is of a patient of the test set.

    The segmented pictures have 7 x 7 pixels, the originals 12 x 9; masks are JPEGs.
    """
    rows = []
    for n in range(14):
        subject = 10_000_013 if n == 0 else 10_000_000 + n
        name, place = f"{n:08x}-0-0-0-0", f"files/p10/p{subject}/s{50_000_000 + n}"
        mask = np.zeros((7, 7), np.uint8)
        mask[1:6, 2:5] = 255
        for file, pixels in ((name, np.where(mask, 90 + n, 0).astype(np.uint8)), (f"{name}-mask", mask)):
            path = root / place / f"{file}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, quality=100)
        if originals:
            png(root / "mimic-cxr-jpg" / place / f"{name}.jpg", n, height=12, width=9)
        rows.append(f"{name},{subject},{50_000_000 + n},{'train' if n < 10 else 'validate' if n < 12 else 'test'}")
    text(root / "CXLSeg-split.csv", "dicom_id,subject_id,study_id,split", *rows)
    return root


def mimic_lungs(root: Path, *, jpeg: bool = False, unpacked: bool = False, zones: bool = True) -> Path:
    """Ten images of 24 x 20 pixels, their lung pictures of 12 x 10, and scene graphs in pixels of the images.

    The right lung is on the left of the image. In image 1 the lungs touch, 2 lacks the box of a zone.
    """
    graphs = {}
    for n in range(10):
        name, subject = f"{n:08x}-aaaaaaaa-bbbbbbbb-cccccccc-dddddddd", 10_000_100 + n
        png(root / f"files/p10/p{subject}/s{50_000_000 + n}/{name}.jpg", n, height=2 * HEIGHT, width=2 * WIDTH)
        lungs = block(1, 1, 11, 4) | block(2, 6, 10, 9) | (block(4, 1, 6, 9) if n == 1 else False)
        seen = np.random.default_rng(n).integers(60, 200, lungs.shape).astype(np.uint8)
        for kind, mask in (("lung", lungs), ("rest", ~lungs)):
            path = root / "lung-segment-mimic-cxr-1.0.0" / f"{name}_{kind}.{'jpg' if jpeg else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.where(mask, seen, np.uint8(0))).save(path, quality=100)
        boxes = {"right lung": (0, 0, 9, 24), "left lung": (11, 0, 20, 24), "trachea": (9, 0, 11, 8)}
        for side, left, right in (("right", 0, 9), ("left", 11, 20)):
            for k, height in enumerate(("upper", "mid", "lower")):
                boxes[f"{side} {height} lung zone"] = (left, 8 * k, right, 8 * k + 8)
        if n == 2:
            del boxes["left mid lung zone"]
        corners = ("original_x1", "original_y1", "original_x2", "original_y2")
        objects = [{"bbox_name": box, **dict(zip(corners, sides, strict=True))} for box, sides in boxes.items()]
        graphs[f"{name}_SceneGraph.json"] = json.dumps({"image_id": name, "objects": objects})
    place = root / "chest-imagenome-dataset-1.0.0" / "silver_dataset"
    if zones and unpacked:
        for file, graph in graphs.items():
            text(place / "scene_graph" / file, graph)
    elif zones:
        place.mkdir(parents=True)
        with zipfile.ZipFile(place / "scene_graph.zip", "w") as archive:
            for file, graph in graphs.items():
                archive.writestr(f"scene_graph/{file}", graph)
    return root
