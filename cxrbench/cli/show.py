"""The command that draws: ``cxrbench show``."""

from pathlib import Path
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.cli.leaderboard import names
from cxrbench.cli.options import ResultsOption
from cxrbench.errors import UserError
from cxrbench.files.names import safe_name, visible

COLUMNS, SHEET_SIDE = 4, 320


def show(
    out: Annotated[Path, typer.Option(help="Folder to write the pictures into.")],
    cell: Annotated[
        str,
        typer.Argument(
            help="DATASET:PROTOCOL, e.g. siim:segmentation or ./labels.csv:segmentation, or the .parquet file of a "
            "finished cell."
        ),
    ] = "",
    tasks: Annotated[
        str, typer.Option(help="Instead of a cell: several DATASET:PROTOCOL, separated by commas, a folder each.")
    ] = "",
    encoder: Annotated[str, typer.Option(help="The encoder, where the cell is not given as a file.")] = "",
    count: Annotated[int, typer.Option(min=1, help="How many images: a third each best, median and worst.")] = 12,
    side: Annotated[int, typer.Option(min=64, help="Longer side of each picture in pixels.")] = 640,
    results: ResultsOption = Path("results"),
) -> None:
    """Draw true (green) and predicted (red) masks or boxes over test images: best, median and worst, and one sheet.

    Examples:

      cxrbench show siim:segmentation --encoder imagenet --out ./pictures

      cxrbench show --tasks siim:segmentation,./labels.csv:detection --encoder imagenet --out ./pictures

      cxrbench show results/cells/rsna/detection/imagenet/fraction-1-seed-0.parquet --out ./pictures --count 24
    """
    several = names(tasks)
    if bool(cell) == bool(several):
        raise UserError("what shall be drawn? Give DATASET:PROTOCOL, a finished cell's .parquet file, or --tasks")
    if cell:
        draw(cell, encoder, results, out, count, side)
    for task in several:
        folder = out / safe_name(task) if len(several) > 1 else out
        draw(task, encoder, results, folder, count, side)


def draw(cell: str, encoder: str, results: Path, out: Path, count: int, side: int) -> None:
    """Write the pictures of one cell and their sheet into a folder. Raises UserError where there is nothing to draw."""
    from cxrbench.cli.overlay import captioned, choose, contact_sheet, draw_case, image_values
    from cxrbench.data.annotations.masks import TrueMasks
    from cxrbench.data.decode.images import decode

    predictions = api.find_cell(cell, encoder=encoder, results=results)
    if predictions.kind not in ("segmentation", "detection"):
        raise UserError(f"{cell} is {predictions.kind}: there are no masks or boxes to draw")
    manifest = api.find_manifest(predictions, cell=cell, results=results)
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
