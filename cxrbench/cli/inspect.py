"""The commands that look and change nothing, and the one that writes the phantom: data, encoders, tasks."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.cli.console import show, visible_lines
from cxrbench.cli.options import MAX_PIXELS, CacheOption, DataOption, JsonOption, MaxPixelsOption, phantom_folder
from cxrbench.errors import UserError
from cxrbench.files.names import visible

CheckOption = Annotated[
    bool, typer.Option("--check", help="Import each one to see whether it can be (takes seconds), not just read it.")
]
options = {"no_args_is_help": True, "rich_markup_mode": None}
data_app = typer.Typer(help="Datasets: list, check, write the phantom.", **options)  # pyright: ignore[reportArgumentType]
encoders_app = typer.Typer(help="Encoders: list, info.", **options)  # pyright: ignore[reportArgumentType]
tasks_app = typer.Typer(help="Tasks: list.", **options)  # pyright: ignore[reportArgumentType]


@data_app.command("list")
def data_list(data: DataOption = None, check: CheckOption = False, as_json: JsonOption = False) -> None:
    """The datasets that cxrbench can read, where they come from, and whether they are in the data folder.

    Example: cxrbench data list --data /data
    """
    from cxrbench.plugins.listing import list_datasets

    rows: list[dict[str, Any]] = [
        {
            "name": d.name,
            "dataset": d.problem or d.summary,
            "in the data folder": bool(data and (data / d.name).is_dir()),
            "source": d.source,
            **({"terms": d.licence} if as_json else {}),  # too long for a line
        }
        for d in list_datasets(check=check)
    ]
    known = {row["name"] for row in rows}
    own = {"labels.csv": "your own CSV", "manifest.parquet": "a prepared copy"}
    for table, what in own.items():
        for path in sorted(data.glob(f"*/{table}")) if data else []:
            if path.parent.name not in known:
                rows.append({"name": path.parent.name, "dataset": what, "in the data folder": True})
    show(rows, as_json)


@data_app.command("check")
def data_check(
    name: Annotated[str, typer.Argument(help="A dataset's name, or the path of your own CSV.")],
    data: DataOption = None,
    cache: CacheOption = None,
    headers_only: Annotated[bool, typer.Option("--no-decode", help="Do not decode every image.")] = False,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    as_json: JsonOption = False,
) -> None:
    """What is there: images, patients, positives per label and split, shared patients, unreadable files, copies.

    Exits with 1 when it finds patients or pictures in two splits or unreadable files. Pictures are compared by the
    eye: a resized or recompressed copy is one. Blank and saturated images and copies within a split are remarks.

    Examples:

      cxrbench data check vindr --data /data

      cxrbench data check ./my/labels.csv
    """
    from cxrbench.cli.console import bar
    from cxrbench.data.check import check, format_report
    from cxrbench.engine.registry import load_dataset

    manifest = load_dataset(name, data, lambda: phantom_folder(cache, [name]))
    with bar() as bars:
        task = bars.add_task(f"checking {manifest.name}", total=len(manifest))
        report = check(
            manifest,
            decode_all=not headers_only,
            max_pixels=max_pixels,
            progress=lambda images: bars.advance(task, images),
        )
    print(json.dumps(report.to_json(), indent=1) if as_json else visible_lines(format_report(report)))
    if not report.ok:
        raise typer.Exit(1)


@data_app.command("phantom")
def data_phantom(
    out: Annotated[Path, typer.Option(help="Folder to write the datasets into.")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    images: Annotated[
        str, typer.Option(help="E.g. vindr_train=2000,vindr_test=500,rsna=1000; the others are left out.")
    ] = "",
) -> None:
    """Write procedural chest X-rays in the official layouts, and the dataset lungs with masks.

    The layouts: vindr, rsna, siim, mimic, symile, chexpert, chexpert-plus, padchest, brax.

    Example: cxrbench data phantom --out ./phantom --seed 1 --images rsna=500,siim=500
    """
    from cxrbench.cli.console import counting
    from cxrbench.phantom.write import write

    counts = None
    if images:
        try:
            counts = {name: int(count) for name, _, count in (part.partition("=") for part in images.split(","))}
        except ValueError as error:
            raise UserError(f"--images {images!r}: give NAME=COUNT, separated by commas") from error
    with counting("phantom images") as progress:
        write(out, seed=seed, images=counts, progress=progress)
    print(visible(f"phantom data in {out}: use it with --data {out}"))


@encoders_app.command("list")
def encoders_list(check: CheckOption = False, as_json: JsonOption = False) -> None:
    """The encoders that are installed, and how to name them.

    Example: cxrbench encoders list
    """
    from cxrbench.plugins.listing import list_encoders

    rows = [
        {"name": e.name, "how to name it": e.usage, "what it is": e.problem or e.summary}
        for e in list_encoders(check=check)
    ]
    show(rows, as_json)


@encoders_app.command("info")
def encoders_info(
    encoder: Annotated[str, typer.Argument(help="An encoder, e.g. imagenet or spcl@runs/spcl/encoder.safetensors")],
    as_json: JsonOption = False,
) -> None:
    """Who an encoder is: weights, parameters, GFLOPs per image, preprocessing, licence, what it was pretrained on.

    Example: cxrbench encoders info timm:vit_base_patch16_224@vit.safetensors
    """
    from cxrbench.engine.registry import load_encoder
    from cxrbench.features.efficiency import measure

    loaded = load_encoder(encoder, synthetic=True)
    counts = measure(loaded.module, loaded.module.preprocess)
    facts = {
        "encoder": encoder,
        **asdict(loaded.spec.card),
        "parameters": loaded.spec.parameters,
        "GFLOPs per image": round(counts.gflops_per_image, 3),
        "feature width": counts.width,
        "preprocessing": loaded.spec.preprocess,
        "weights sha256": loaded.spec.weights_sha256,
        "fingerprint": loaded.spec.fingerprint,
    }
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        print(visible(f"{name:>18}  {', '.join(value) or '-' if isinstance(value, tuple) else value}"))


@tasks_app.command("list")
def tasks_list(check: CheckOption = False, as_json: JsonOption = False) -> None:
    """The protocols: what can be asked of an encoder, and which are run only when they are named (siim:finetune).

    Example: cxrbench tasks list
    """
    from cxrbench.plugins.listing import list_tasks

    rows = [
        {"protocol": t.name, "run": "when named" if t.opt_in else "by default", "what it is": t.problem or t.summary}
        for t in list_tasks(check=check)
    ]
    show(rows, as_json)
