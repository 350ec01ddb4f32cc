"""Pictures of a classification's cases: the image with its truth, and where one encoder or two look."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cxrbench.api.looking.classified import ClassifiedCases, LabelCases, LookedCase, classified_cases
from cxrbench.api.looking.words import WORDS, How
from cxrbench.cli.console import RunBars, bar, counting
from cxrbench.cli.showing.captions import abreast, in_rows, panels, short_names, stacked, text_block
from cxrbench.cli.showing.colours import heat, shares, signed
from cxrbench.cli.showing.overlay import TRUE, edge, resized
from cxrbench.files.names import safe_name, visible

if TYPE_CHECKING:
    from cxrbench.api.looking.classified import PickedCase

SHEET_PANEL = 224
SHEET_COLUMNS = 3


def draw_cases(
    cell: str, encoder: str, against: str, labels: tuple[str, ...], how: How, results: Path, out: Path, count: int,
    side: int, cache: Path | None, device: str,
) -> None:  # fmt: skip
    """Write the pictures of a cell's labels, a folder and a sheet each. Raises UserError."""
    out.mkdir(parents=True, exist_ok=True)
    with bar() as progress:
        found = classified_cases(
            cell, encoder=encoder, against=against, labels=labels, count=count, how=how, results=results, cache=cache,
            device=device, progress=RunBars(progress),
        )  # fmt: skip
    for remark in found.remarks:
        print(visible(remark))
    total, said = sum(len(one.cases) for one in found.labels), []
    with counting("pictures") as advance:
        done = 0
        for one in found.labels:
            folder, cells = out / safe_name(one.judged.label), []
            folder.mkdir(exist_ok=True)
            for number, case in enumerate(one.cases, 1):
                seen = found.look(case, one.judged.label)
                name = f"{number:02d}-{case.kind.replace(' ', '-')}-{safe_name(case.image_id)}.png"
                case_picture(found, one, case, seen, side).save(folder / name)
                cells.append(case_picture(found, one, case, seen, SHEET_PANEL))
                advance(done := done + 1, total)
            sheet(found, one, cells).save(folder / "sheet.png")
            said.append(f"{len(cells)} pictures and sheet.png in {folder}: {summary(found, one)}")
    for line in said:
        print(visible(line))


def case_picture(
    found: ClassifiedCases, one: LabelCases, case: "PickedCase", seen: LookedCase, side: int
) -> Image.Image:
    """One case: the image with its truth outlined, each encoder's map, and the difference of two."""
    gray = resized(seen.image, side)
    names = short_names([opened.encoder for opened in found.cells])
    pictures, titles = [gray], ["image" if seen.truth is None else "image, truth outlined"]
    maps = [None if one is None else one.at((gray.height, gray.width)) for one in seen.maps]
    for name, values, of in zip(names, maps, seen.maps, strict=True):
        nothing = "" if values is None or np.nanmax(np.abs(values)) > 0 else ", 0 everywhere"
        titles.append(f"{name}: no map" if of is None else f"{name}: {WORDS[of.how]}{nothing}")
        pictures.append(gray if values is None or of is None else coloured(gray, values, of.how))
    if len(names) == 2 and (known := [shares(values) for values in maps if values is not None])[1:]:
        apart = known[0] - known[1]
        largest = float(np.nanmax(np.abs(apart)))
        titles.append(f"red: {names[0]}, blue: {names[1]}")
        pictures.append(signed(gray, apart, largest))
    whole = abreast(panels([outlined(picture, seen) for picture in pictures], titles))
    return stacked([text_block(caption(names, one, case), whole.width), whole])


def coloured(gray: Image.Image, values: "np.ndarray", how: str) -> Image.Image:
    """A map over an image, by its own scale: occlusion has a sign, the others begin at their least."""
    if how == "occlusion":
        return signed(gray, values, float(np.nanmax(np.abs(values))))
    low = 0.0 if how == "grad-cam" else float(np.nanmin(values))
    return heat(gray, values, low, float(np.nanmax(values)))


def outlined(picture: Image.Image, seen: LookedCase) -> Image.Image:
    """A copy with the edge of the true region in green."""
    picture = picture.copy()
    if seen.truth is not None:
        small = np.asarray(Image.fromarray(seen.truth).resize(picture.size, Image.Resampling.NEAREST))
        picture.paste(TRUE, mask=Image.fromarray(edge(small)))
    return picture


def caption(names: Sequence[str], one: LabelCases, case: "PickedCase") -> list[str]:
    """Why it is shown, the label, scores and thresholds, the truth, and the image's identifier."""
    judged = one.judged
    kind = case.kind.replace("the first", names[0]).replace("the second", names[-1])
    scores = [
        f"{f'{name} ' if len(names) > 1 else ''}score {score:.3f} (threshold {threshold:.3f})"
        for name, score, threshold in zip(names, case.scores, judged.thresholds, strict=True)
    ]
    truth = "present" if case.truth else "absent"
    return [f"{kind}: {judged.label}", f"truth: {truth}, {', '.join(scores)}", f"image {case.image_id}"]


def summary(found: ClassifiedCases, one: LabelCases) -> str:
    """How many of a label's test images there are of each kind."""
    judged = one.judged
    positive, right = judged.truth == 1, judged.right
    of = f"{int(positive.sum()):,} positive and {int((~positive).sum()):,} negative test images"
    if len(found.cells) == 1:
        missed, alarms = int((positive & ~right[0]).sum()), int((~positive & ~right[0]).sum())
        return f"{of}; {missed:,} false negatives and {alarms:,} false positives at {judged.thresholds[0]:.3f}"
    first, second = short_names([opened.encoder for opened in found.cells])
    alone = [int((right[i] & ~right[1 - i]).sum()) for i in (0, 1)]
    return f"{of}; {alone[0]:,} are right by {first} alone and {alone[1]:,} by {second} alone"


def sheet(found: ClassifiedCases, one: LabelCases, cells: Sequence[Image.Image]) -> Image.Image:
    """All cases of a label, a row or more for each kind, below what holds for all of them."""
    predictions = found.cells[0].predictions
    task = f"{predictions.cell['dataset']}:{predictions.cell['protocol']}"
    names = " and ".join(short_names([opened.encoder for opened in found.cells]))
    kinds = [case.kind for case in one.cases]
    of_kinds = [[c for c, kind in zip(cells, kinds, strict=True) if kind == each] for each in dict.fromkeys(kinds)]
    if len(found.cells) == 2:
        rows = [in_rows(cells, 1)] if cells else []
    elif max(map(len, of_kinds), default=0) == 1:
        rows = [in_rows(cells, 2)]
    else:
        rows = [in_rows(row, SHEET_COLUMNS) for row in of_kinds]
    lines = [
        f"{task}, {one.judged.label}: {names}",
        f"{summary(found, one)}.",
        "Thresholds: largest sensitivity + specificity on validation images. Each map has its own scale; its colours "
        "say where the encoder looks, not that it is right.",
    ]
    if predictions.synthetic:
        lines.insert(1, "SYNTHETIC DATA: drawn by a program.")
    width = max([row.width for row in rows], default=3 * SHEET_PANEL)
    return stacked([text_block(lines, width), *rows])
