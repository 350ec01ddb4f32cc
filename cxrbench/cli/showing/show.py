"""The command that draws a finished cell's images: ``cxrbench show``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrbench import api
from cxrbench.api.looking.words import How
from cxrbench.cli.leaderboard import names
from cxrbench.cli.options import CacheOption, DeviceOption, ResultsOption
from cxrbench.errors import UserError, chosen
from cxrbench.files.atomic import writing
from cxrbench.files.names import safe_name, visible

if TYPE_CHECKING:
    from cxrbench.predictions import Predictions

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
    against: Annotated[
        str, typer.Option(help="Classification: another encoder; the images that one of the two alone gets right.")
    ] = "",
    labels: Annotated[
        str, typer.Option(help="Classification: which, separated by commas [default: those of the headline].")
    ] = "",
    how: Annotated[
        str, typer.Option(help="Classification: auto, rollout, grad-cam or occlusion, as far as the encoder can.")
    ] = "auto",
    count: Annotated[
        int, typer.Option(min=1, help="How many images, of a classification for each label, in equal parts.")
    ] = 12,
    side: Annotated[int, typer.Option(min=64, help="Longer side of each picture in pixels.")] = 640,
    results: ResultsOption = Path("results"),
    cache: CacheOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Draw test images of a finished cell, the best, the median and the worst, and one sheet of all.

    Segmentation and detection: true (green) and predicted (red) masks or boxes. Classification: per label the worst
    false negatives and positives, median and best, each beside a map of where the encoder looks: attention rollout of
    a ViT, else Grad-CAM of the label, else occlusion.

    Examples:

      cxrbench show siim:segmentation --encoder imagenet --out ./pictures

      cxrbench show rsna:classification --encoder supervised --against imagenet --out ./pictures

      cxrbench show --tasks siim:segmentation,./labels.csv:detection --encoder imagenet --out ./pictures

      cxrbench show results/cells/rsna/detection/imagenet/fraction-1-seed-0.parquet --out ./pictures --count 24
    """
    several = names(tasks)
    if bool(cell) == bool(several):
        raise UserError("what shall be drawn? Give DATASET:PROTOCOL, a finished cell's .parquet file, or --tasks")
    for task in [cell] if cell else several:
        folder = out / safe_name(task) if len(several) > 1 else out
        predictions = api.find_cell(task, encoder=encoder, results=results)
        if predictions.kind in ("segmentation", "detection"):
            if given := [name for name, value in (("against", against), ("labels", labels)) if value]:
                raise UserError(f"{task} is {predictions.kind}: --{given[0]} is of classification")
            with writing(folder):
                draw(predictions, task, results, folder, count, side)
        elif predictions.kind in ("multilabel", "multiclass"):
            from cxrbench.cli.showing.classified import draw_cases

            way: How = chosen("--how", How, how)
            with writing(folder):
                draw_cases(
                    task, encoder, against, tuple(names(labels)), way, results, folder, count, side, cache, device
                )
        else:
            raise UserError(f"{task} is {predictions.kind}: there are no images to draw")


def draw(predictions: "Predictions", cell: str, results: Path, out: Path, count: int, side: int) -> None:
    """Write the pictures of a cell with masks or boxes, and their sheet. Raises UserError if there are none."""
    from cxrbench.cli.showing.captions import in_rows
    from cxrbench.cli.showing.overlay import captioned, choose, draw_case, image_values
    from cxrbench.data.annotations.masks import TrueMasks
    from cxrbench.data.decode.images import decode

    manifest = api.find_manifest(predictions, cell=cell, results=results)
    paths = dict(zip(manifest.images["image_id"], manifest.paths(), strict=True))
    truth = TrueMasks.of(manifest) if predictions.kind == "segmentation" else None
    rows = predictions.test_rows()
    values, shown, name = image_values(predictions, rows)
    records = rows.to_dict("records")
    small = []
    out.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(choose(values, shown, count), 1):
        row = records[case.row]
        image, text = decode(paths[row["image_id"]]), f"{case.rank}  {name} {case.value:.3f}  {row['image_id']}"
        picture = captioned(draw_case(predictions, row, image, truth, side), text)
        picture.save(out / f"{number:02d}-{case.rank}-{safe_name(str(row['image_id']))}.png")
        small.append(captioned(draw_case(predictions, row, image, truth, SHEET_SIDE), text))
    if not small:
        raise UserError(f"{cell} has no test row whose truth is known: there is nothing to compare")
    in_rows(small, min(COLUMNS, len(small))).save(out / "sheet.png")
    print(visible(f"{len(small)} pictures and sheet.png in {out}: green is true, red is predicted"))
