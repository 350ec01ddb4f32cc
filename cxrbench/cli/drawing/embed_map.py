"""``cxrbench embed-map``: embeddings as points in the plane."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench import api
from cxrbench.cli.console import RunBars, bar, counting_late, visible_lines
from cxrbench.cli.leaderboard import may_be_written, names, write
from cxrbench.cli.options import (
    MAX_PIXELS,
    BatchSizeOption,
    CacheOption,
    DataOption,
    DeviceOption,
    MaxPixelsOption,
    NamesOption,
    PrecisionOption,
    SkipOption,
)
from cxrbench.drawing.files import check_place
from cxrbench.errors import UserError
from cxrbench.files.names import visible


def embed_map(
    encoder: Annotated[str, typer.Option(help="Encoders, separated by commas: a column each, of the same images.")],
    tasks: Annotated[str, typer.Option(help="DATASET, separated by commas: whose images; several are on one map.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Picture to write: .png, .svg or .pdf.")],
    by: Annotated[
        str,
        typer.Option(
            help="What colours say, by commas, a row each: label, label:NAME, dataset, view, sex, age, site, scanner."
        ),
    ] = "label",
    method: Annotated[str, typer.Option(help="tsne, pca, or umap (pip install 'cxrbench[umap]').")] = "tsne",
    split: Annotated[
        str, typer.Option(help="train, val, test, or all three; val keeps the test images unseen.")
    ] = "val",
    images: Annotated[int, typer.Option(min=1, help="At most so many of each dataset, drawn at random.")] = 1_000,
    perplexity: Annotated[float, typer.Option(help="Of t-SNE: about how many neighbours an image has.")] = 30,
    neighbours: Annotated[int, typer.Option(help="Of UMAP: how many neighbours an image has.")] = 15,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the drawing of images, t-SNE and UMAP: same seed, same map.")
    ] = 0,
    coordinates: Annotated[
        Path | None, typer.Option("--csv", callback=may_be_written, help="Write the coordinates and groups, too.")
    ] = None,
    shown: NamesOption = None,
    data: DataOption = None,
    cache: CacheOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    batch_size: BatchSizeOption = 64,
    on_bad_image: SkipOption = "error",
    max_pixels: MaxPixelsOption = MAX_PIXELS,
) -> None:
    """Map embeddings: each image a point, coloured by label, view, sex or dataset, with silhouettes beside it.

    Images are embedded once, as in a run. Prints the numbers: silhouettes of the groups among the embeddings and on the
    map, and how trustworthy the map is.

    Examples:

      cxrbench embed-map --encoder imagenet,spcl --tasks vindr --by label,view -o map.png

      cxrbench embed-map --encoder imagenet --tasks vindr,rsna,siim --by dataset --method pca -o map.pdf

      cxrbench embed-map --encoder imagenet --tasks nih --by label:Effusion,sex --csv map.csv -o map.svg
    """
    check_place(out)
    if coordinates is not None and coordinates.absolute() == out.absolute():
        raise UserError(f"-o and --csv are both {out}: name two files")
    settings: dict[str, Any] = {
        "data": data, "cache": cache, "device": device, "precision": precision, "batch_size": batch_size,
        "on_bad_image": on_bad_image, "max_pixels": max_pixels,
    }  # fmt: skip
    choices: dict[str, Any] = {"method": method, "split": split}
    with bar() as progress:
        maps = api.embed_map(
            encoder, tasks, by=names(by), images=images, perplexity=perplexity, neighbours=neighbours, seed=seed,
            names=",".join(shown or ()), progress=RunBars(progress), bar=counting_late, **choices, **settings,
        )  # fmt: skip
    maps.draw(out)
    if coordinates is not None:
        write(maps.to_csv(), coordinates)
    print(visible_lines(maps.to_markdown()))
    print(visible(f"picture: {out}" + (f"; coordinates: {coordinates}" if coordinates is not None else "")))
