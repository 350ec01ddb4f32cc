"""``cxrbench data splits export|import``: lists of which image is in which split."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.cli.console import counting
from cxrbench.cli.options import CacheOption, DataOption
from cxrbench.errors import UserError
from cxrbench.files.names import visible

splits_app = typer.Typer(help="Splits as lists: export, import.", no_args_is_help=True, rich_markup_mode=None)


@splits_app.command("export")
def splits_export(
    name: Annotated[str, typer.Argument(help="A dataset's name, or the path of your own CSV.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The CSV to write.")],
    only: Annotated[str | None, typer.Option(help="One split alone: train, val or test.")] = None,
    data: DataOption = None,
    cache: CacheOption = None,
) -> None:
    """Write which image is in which split: a CSV with image, split, patient, study and path.

    Example: cxrbench data splits export rsna -o rsna.csv
    """
    if out.exists():
        raise UserError(f"{out} exists: give another name, or delete it")
    table = api.splits_of(name, only=only, data=data, cache=cache, bar=counting)
    try:
        table.to_csv(out, index=False, lineterminator="\n")
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror})") from error
    counts = ", ".join(f"{split} {count:,}" for split, count in table["split"].value_counts(sort=False).items())
    print(visible(f"{out}: {len(table):,} images of {name} ({counts})"))


@splits_app.command("import")
def splits_import(
    name: Annotated[str, typer.Argument(help="A dataset's name.")],
    files: Annotated[list[Path], typer.Argument(help="A CSV with a split column, or a CSV or .txt for each split.")],
    splits: Annotated[str | None, typer.Option("--name", help="What to call the splits [default: the file].")] = None,
    image_column: Annotated[str, typer.Option(help="The column of images, where it is not recognised.")] = "",
    split_column: Annotated[str, typer.Option(help="The column of splits, where it is not recognised.")] = "",
    data: DataOption = None,
    cache: CacheOption = None,
) -> None:
    """Read other people's splits of a dataset: they become a dataset of their own, NAME.SPLITS, with the same images.

    Images may be called by identifier, file name or path, with or without folders and endings. An image that is
    unknown or listed twice is refused, and so is a patient in two splits. What is not listed takes no part. Features
    that are there already are used.

    Examples:

      cxrbench data splits import rsna mgca.csv

      cxrbench data splits import object-cxr mgca/train.csv mgca/valid.csv mgca/test.csv --name mgca
    """
    done = api.import_splits(
        name, files, name=splits, image_column=image_column, split_column=split_column, data=data, cache=cache,
        bar=counting,
    )  # fmt: skip
    print(visible(f"{done.dataset}: {done.counts} ({done.folder}{'' if done.new else ', as it was'})"))
    print(visible(f"run on it by --tasks {done.dataset}"), file=sys.stderr)
