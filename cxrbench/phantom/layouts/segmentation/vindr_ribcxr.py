"""Phantom images as the VinDr-RibCXR download: PNGs, and a JSON file per part with the outlines of twenty ribs."""

import json
from pathlib import Path
from typing import Any

from cxrbench.phantom.cases import Case
from cxrbench.phantom.layouts.segmentation.files import write_png
from cxrbench.phantom.layouts.segmentation.ribs import NUMBERS, rib_outline

PARTS = ("train",) * 4 + ("val",)
Outline = list[dict[str, float]] | str


def vindr_ribcxr_image(folder: Path, case: Case) -> tuple[str, str, dict[str, Outline]]:
    """Write one image; returns its part, its path as the table has it, and its ribs.

    A rib that does not reach into the image is ``"None"``, as in the original.
    """
    image = case.image()
    part = PARTS[case.number % len(PARTS)]
    path = f"{part}/img/VinDr_RibCXR_{part}_{case.number:03d}.png"
    write_png(folder / path, image.image)
    height, width = image.shape
    ribs: dict[str, Outline] = {}
    for side in "RL":
        for number in NUMBERS:
            points = rib_outline(image.thorax, side, number)
            low, high = points.min(0), points.max(0)
            there = (high > 1).all() and (low < (width - 1, height - 1)).all()
            named = [{"x": round(float(x), 6), "y": round(float(y), 6)} for x, y in points]
            ribs[f"{side}{number}"] = named if there else "None"
    return part, f"data/{path}", ribs


def vindr_ribcxr_tables(folder: Path, part: str, records: list[tuple[str, str, dict[str, Outline]]]) -> None:
    """``Vindr_RibCXR_train_mask.json`` and ``..._val_mask.json``: columns, each by row."""
    for name in dict.fromkeys(PARTS):
        rows = [(path, ribs) for where, path, ribs in records if where == name]
        table: dict[str, dict[str, Any]] = {"img": {str(i): path for i, (path, _) in enumerate(rows)}}
        for rib in rows[0][1] if rows else ():
            table[rib] = {str(i): ribs[rib] for i, (_, ribs) in enumerate(rows)}
        (folder / name).mkdir(exist_ok=True)
        (folder / name / f"Vindr_RibCXR_{name}_mask.json").write_text(json.dumps(table), encoding="utf-8")
