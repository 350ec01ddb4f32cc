"""The commands that look and change nothing, and the one that writes the phantom: data, tasks."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench import api
from cxrbench.cli.console import counting, show, visible_lines
from cxrbench.cli.options import MAX_PIXELS, CacheOption, CheckOption, DataOption, JsonOption, MaxPixelsOption
from cxrbench.errors import UserError
from cxrbench.files.names import visible

options = {"no_args_is_help": True, "rich_markup_mode": None}
data_app = typer.Typer(help="Datasets: list, check, labels, splits, init, prepare, new, write the phantom.", **options)  # pyright: ignore[reportArgumentType]
tasks_app = typer.Typer(help="Tasks: list, new.", **options)  # pyright: ignore[reportArgumentType]


@data_app.command("list")
def data_list(data: DataOption = None, check: CheckOption = False, as_json: JsonOption = False) -> None:
    """The datasets that cxrbench can read, where they come from, and whether they are in the data folder.

    Example: cxrbench data list --data /data
    """
    rows: list[dict[str, Any]] = [
        {
            "name": d.name,
            "dataset": d.problem or d.summary,
            "in the data folder": bool(data and (data / d.name).is_dir()),
            "source": d.source,
            **({"terms": d.licence} if as_json else {}),  # too long for a line
        }
        for d in api.list_datasets(check=check)
    ]
    for name, what in api.own_datasets(data, {row["name"] for row in rows}) if data else ():
        rows.append({"name": name, "dataset": what, "in the data folder": True})
    show(rows, as_json)


@data_app.command("check")
def data_check(
    names: Annotated[list[str], typer.Argument(help="A dataset's name, or the path of your own CSV; or two.")],
    data: DataOption = None,
    cache: CacheOption = None,
    headers_only: Annotated[bool, typer.Option("--no-decode", help="Do not decode every image.")] = False,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    pictures: Annotated[
        Path | None, typer.Option(help="Draw images with their masks and boxes into this file, e.g. sheet.png.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What is there: images, patients, positives per label and split, shared patients, unreadable files, copies.

    Exits with 1 when it finds patients or pictures in two splits or unreadable files. Pictures are compared by the
    eye: a resized or recompressed copy is one. Blank and saturated images and copies within a split are remarks.

    Of two datasets it says which pictures are in both, and what to do; exits with 1 where they share pictures and do
    not say so.

    Examples:

      cxrbench data check vindr --data /data

      cxrbench data check ./my/labels.csv --pictures sheet.png

      cxrbench data check rsna siim --data /data
    """
    if len(names) > 2:
        raise UserError(f"give one dataset to check, or two to compare, not {len(names)}")
    if len(names) == 2:
        if headers_only or pictures is not None:
            raise UserError("two datasets are compared by their pictures, which are all decoded: leave the options out")
        shared = api.compare_pictures(
            *names, data=data, cache=cache, max_pixels=max_pixels, bar=counting
        )  # fmt: skip
        print(json.dumps(shared.to_json(), indent=1) if as_json else visible_lines(str(shared)))
        raise typer.Exit(0 if shared.ok else 1)
    name = names[0]
    if pictures is not None:
        from cxrbench.cli.showing.files import check_picture

        check_picture(pictures, "--pictures")
    report = api.check_dataset(
        name, data=data, cache=cache, decode=not headers_only, max_pixels=max_pixels, bar=counting
    )  # fmt: skip
    print(json.dumps(report.to_json(), indent=1) if as_json else visible_lines(str(report)))
    if pictures is not None:
        from cxrbench.cli.pictures import sheet
        from cxrbench.cli.showing.files import save_picture

        save_picture(sheet(api.load_dataset(name, data=data, cache=cache, bar=counting), max_pixels), pictures)
        print(visible(f"pictures: {pictures}"), file=sys.stderr)
    if not report.ok:
        raise typer.Exit(1)


@data_app.command("labels")
def data_labels(
    name: Annotated[str | None, typer.Argument(help="A dataset's name; none: the terms.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What the labels of a dataset mean in the vocabulary of all: by it labels are matched where sets train together.

    A label without a term is outside: no label of another dataset means the same.

    Examples:

      cxrbench data labels

      cxrbench data labels vindr
    """
    show(api.labels_of(name) if name else api.vocabulary_terms(), as_json)


@data_app.command("phantom")
def data_phantom(
    out: Annotated[Path, typer.Option(help="Folder to write the datasets into.")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    images: Annotated[
        str, typer.Option(help="E.g. vindr_train=2000,vindr_test=500,rsna=1000; the others are left out.")
    ] = "",
) -> None:
    """Write procedural chest X-rays in the official layouts, and the dataset lungs with masks.

    The layouts: vindr, rsna, siim, mimic, symile, chexpert, chexpert-plus, padchest, brax, shenzhen, montgomery,
    covidx, chexchonet, chestx6, medmod, iu-xray, ranzcr-clip, cxr-lt, object-cxr, ms-cxr,
    vindr-pcxr, siim-fisabio, vindr-ribcxr, mimic-lungs, cxlseg, covid-qu-ex, qata, chexlocalize, candid-ptx.

    Example: cxrbench data phantom --out ./phantom --seed 1 --images rsna=500,siim=500
    """
    counts = None
    if images:
        try:
            counts = {name: int(count) for name, _, count in (part.partition("=") for part in images.split(","))}
        except ValueError as error:
            raise UserError(f"--images {images!r}: give NAME=COUNT, separated by commas") from error
    api.write_phantom(out, seed=seed, images=counts, bar=counting)
    print(visible(f"phantom data in {out}: use it with --data {out}"))


@tasks_app.command("list")
def tasks_list(check: CheckOption = False, as_json: JsonOption = False) -> None:
    """The protocols: what can be asked of an encoder, and which are run only when they are named (siim:finetune).

    Example: cxrbench tasks list
    """
    rows = [
        {"protocol": t.name, "run": "when named" if t.opt_in else "by default", "what it is": t.problem or t.summary}
        for t in api.list_tasks(check=check)
    ]
    show(rows, as_json)
