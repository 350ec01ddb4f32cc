"""The command that draws: ``cxrbench show``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrbench.cli.options import ResultsOption
from cxrbench.errors import UserError
from cxrbench.files.names import visible

if TYPE_CHECKING:
    from cxrbench.data.manifest import Manifest
    from cxrbench.engine.results import Results
    from cxrbench.predictions import Predictions

COLUMNS, SHEET_SIDE = 4, 320


def show(
    cell: Annotated[
        str, typer.Argument(help="DATASET:PROTOCOL, e.g. siim:segmentation, or the .parquet file of a finished cell.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the pictures into.")],
    encoder: Annotated[str, typer.Option(help="The encoder, where the cell is not given as a file.")] = "",
    count: Annotated[int, typer.Option(min=1, help="How many images: a third each best, median and worst.")] = 12,
    side: Annotated[int, typer.Option(min=64, help="Longer side of each picture in pixels.")] = 640,
    results: ResultsOption = Path("results"),
) -> None:
    """Draw true (green) and predicted (red) masks or boxes over test images: best, median and worst, and one sheet.

    Examples:

      cxrbench show siim:segmentation --encoder imagenet --out ./pictures

      cxrbench show results/cells/rsna/detection/imagenet/fraction-1-seed-0.parquet --out ./pictures --count 24
    """
    from cxrbench.cli.overlay import captioned, choose, contact_sheet, draw_case, image_values
    from cxrbench.data.annotations.masks import TrueMasks
    from cxrbench.data.decode.images import decode
    from cxrbench.engine.results import Results
    from cxrbench.files.names import safe_name

    predictions = find_cell(cell, encoder, Results(results))
    if predictions.kind not in ("segmentation", "detection"):
        raise UserError(f"{cell} is {predictions.kind}: there are no masks or boxes to draw")
    manifest = find_manifest(predictions, Path(cell) if cell.endswith(".parquet") else None, Results(results))
    paths = dict(zip(manifest.images["image_id"], manifest.paths(), strict=True))
    truth = TrueMasks.of(manifest) if predictions.kind == "segmentation" else None
    rows = predictions.test_rows()
    values, shown, name = image_values(predictions, rows)
    records = rows.to_dict("records")
    pictures = []
    out.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(choose(values, shown, count), 1):
        row = records[case.row]
        picture = draw_case(predictions, row, decode(paths[row["image_id"]]), truth, side)
        pictures.append(captioned(picture, f"{case.rank}  {name} {case.value:.3f}  {row['image_id']}"))
        pictures[-1].save(out / f"{number:02d}-{case.rank}-{safe_name(str(row['image_id']))}.png")
    if not pictures:
        raise UserError(f"{cell} has no test row whose truth is known: there is nothing to compare")
    contact_sheet(pictures, min(COLUMNS, len(pictures)), SHEET_SIDE).save(out / "sheet.png")
    print(visible(f"{len(pictures)} pictures and sheet.png in {out}: green is true, red is predicted"))


def find_cell(cell: str, encoder: str, results: "Results") -> "Predictions":
    """The predictions that the command line names: of several fractions and seeds the largest and the first."""
    from cxrbench.files.names import safe_name
    from cxrbench.predictions import Predictions

    if cell.endswith(".parquet"):
        if not Path(cell).is_file():
            raise UserError(f"no file {cell} (looked from {Path.cwd()})")
        return Predictions.load(Path(cell))
    dataset, colon, protocol = cell.rpartition(":")
    if not colon:
        raise UserError(f"{cell!r} names no protocol: give DATASET:PROTOCOL, e.g. {cell}:segmentation")
    if not encoder:
        raise UserError(f"which encoder's {cell}? Add --encoder NAME")
    folder = results.root / "cells" / safe_name(dataset) / safe_name(protocol) / safe_name(encoder)
    found = sorted(folder.glob("fraction-*-seed-*.parquet"), key=_largest_first)
    if not found:
        raise UserError(f"no finished cell of {encoder} on {cell} in {results.root}: run `cxrbench run` first")
    return Predictions.load(found[0])


def find_manifest(predictions: "Predictions", file: Path | None, results: "Results") -> "Manifest":
    """The dataset that the cell was computed on, from the results folder of the cell."""
    from cxrbench.data.manifest import Manifest
    from cxrbench.files.names import safe_name

    root = file.resolve().parents[4] if file is not None and len(file.resolve().parents) > 4 else results.root
    name, fingerprint = predictions.cell["dataset"], predictions.cell["parts"].get("dataset", "")
    path = root / "manifests" / f"{safe_name(name)}-{fingerprint[:12]}.parquet"
    if not path.is_file():
        raise UserError(f"{path} is not there: it says where the images are; run the cell again in this folder")
    manifest = Manifest.load(path)
    if not manifest.root.is_dir():
        raise UserError(f"the images of {name} are not in {manifest.root} any more: put them back, or run again")
    return manifest


def _largest_first(path: Path) -> tuple[float, int]:
    """Sorting key of ``fraction-F-seed-S``: largest fraction, then first seed."""
    fraction, _, seed = path.stem.removeprefix("fraction-").rpartition("-seed-")
    return -float(fraction), int(seed)
