"""``cxrbench features``: what the probes see of an encoder, as a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench import api
from cxrbench.cli.console import RunBars, bar, warn
from cxrbench.cli.options import (
    MAX_PIXELS,
    BatchSizeOption,
    CacheOption,
    DataOption,
    DeviceOption,
    MaxPixelsOption,
    PrecisionOption,
)
from cxrbench.files.names import visible

options: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None}
features_app = typer.Typer(help="Features of encoders: export.", **options)


@features_app.callback()
def features() -> None:
    """Features of encoders, as files."""


@features_app.command("export")
def features_export(
    encoder: Annotated[str, typer.Option(help="The encoder.")],
    tasks: Annotated[str, typer.Option(help="DATASET[:PROTOCOL], separated by commas: whose images.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write: .parquet, .npz or .h5.")],
    maps: Annotated[bool, typer.Option("--maps", help="The feature maps, too (.npz or .h5; large).")] = False,
    data: DataOption = None,
    cache: CacheOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    batch_size: BatchSizeOption = 64,
    on_bad_image: Annotated[str, typer.Option(help="error, or skip: leave unreadable images out.")] = "error",
    max_pixels: MaxPixelsOption = MAX_PIXELS,
) -> None:
    """Write what the probes see of an encoder: one vector per image, by the image's id.

    The encoder embeddings:FILE reads it, and gives the same results to the bit. Of an encoder with a text tower the
    texts go along that the tasks ask for (siim:zero-shot, mimic:text-retrieval).

    Example: cxrbench features export --encoder imagenet --tasks siim,rsna -o imagenet.parquet
    """
    settings: dict[str, Any] = {
        "data": data, "cache": cache, "device": device, "precision": precision, "batch_size": batch_size,
        "on_bad_image": on_bad_image, "max_pixels": max_pixels,
    }  # fmt: skip
    with bar() as progress:
        done = api.export_features(encoder, tasks, out, maps=maps, progress=RunBars(progress), **settings)
    left_out = ", ".join(f"{count:,} unreadable of {name} left out" for name, count in done.left_out.items() if count)
    texts = f", and {done.texts:,} texts" if done.texts else ""
    said = f"{done.images:,} images, {done.width:,} numbers each{texts}{f' ({left_out})' if left_out else ''}: {out}"
    print(visible(said))
    if done.note:
        warn(done.note)
    print(visible(f"whose they are: {done.card}. Use it with --encoder embeddings:{out}"))
