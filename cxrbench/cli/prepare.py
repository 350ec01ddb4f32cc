"""``cxrbench data init`` and ``data prepare``: the TOML file beside a table, and a resized 8-bit copy of a dataset."""

from pathlib import Path
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.cli.console import counting
from cxrbench.cli.options import MAX_PIXELS, CacheOption, DataOption, DecodingOption, MaxPixelsOption
from cxrbench.files.names import visible


def data_prepare(
    name: Annotated[str, typer.Argument(help="A dataset's name, or the path of your own CSV.")],
    out: Annotated[Path, typer.Option(help="Data folder for the copy: it gets OUT/NAME.")],
    size: Annotated[int, typer.Option(min=16, help="Longest side in pixels; smaller images keep theirs.")] = 512,
    data: DataOption = None,
    cache: CacheOption = None,
    on_bad_image: Annotated[str, typer.Option(help="error, or skip: leave unreadable images out.")] = "error",
    workers: DecodingOption = 0,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
) -> None:
    """Write a copy of a dataset with small 8-bit PNGs and its manifest; boxes, masks, reports and ECGs come along.

    Interrupt it whenever you like and run it again: no image is decoded twice. The copy is used like the original.

    Examples:

      cxrbench data prepare mimic --size 512 --data /data --out /fast

      cxrbench run --encoder imagenet --tasks mimic --data /fast
    """
    copy = api.prepare_copy(
        name, out, size=size, data=data, cache=cache, on_bad_image=on_bad_image,  # type: ignore[arg-type]
        workers=workers, max_pixels=max_pixels, bar=counting,
    )  # fmt: skip
    said = (
        f"{copy.images:,} images in {copy.folder}, {copy.made:,} of them made now"
        + (f", {copy.unreadable:,} unreadable ones left out" if copy.unreadable else "")
        + f": use it with --data {out} (cxrbench pretrain: --data-dir {out})"
    )
    print(visible(said))


def data_init(
    file: Annotated[Path, typer.Argument(help="Your own CSV, or COCO JSON.")],
    split_seed: Annotated[
        int | None, typer.Option(min=0, help="Stratify the splits that the table does not give, with this seed.")
    ] = None,
) -> None:
    """Write the TOML file beside a CSV: what is understood of it, with every key that there is and what it is for.

    Example: cxrbench data init ./my/labels.csv --split-seed 7
    """
    print(
        visible(f"{api.write_sidecar(file, split_seed=split_seed)}: edit it, then look at cxrbench data check {file}")
    )
