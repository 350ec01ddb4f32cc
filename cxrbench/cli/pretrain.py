"""``cxrbench pretrain METHOD``: training images in, an encoder out."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench import api
from cxrbench.cli.console import counting, show, warn
from cxrbench.cli.options import CacheOption, LogOption
from cxrbench.errors import UserError
from cxrbench.files.names import visible

THEIRS = "[default: the recipe's]"
CONSTANTS = "\nConstants of the code, which no flag and no option sets:\n"


def pretrain(
    method: Annotated[str, typer.Argument(help="The method, e.g. spcl.")],
    data: Annotated[
        str, typer.Option(help="Training data, separated by commas: dataset names, dataset folders or CSV files.")
    ] = "vindr,rsna,siim",
    recipe: Annotated[
        str, typer.Option(help="Options and every number of the training: fixed, paper or official. See --dry-run.")
    ] = "fixed",
    arch: Annotated[
        str | None,
        typer.Option(help=f"nano, micro, tiny, small, base, base-512, or e.g. 192x6p16s128 {THEIRS}."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help=THEIRS)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for checkpoints and logs [default: runs/METHOD].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUT/last.ckpt.")] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help=f"Images or studies per batch, over all devices {THEIRS}."),
    ] = None,
    accumulate: Annotated[int | None, typer.Option(min=1, help=f"Batches per optimizer step {THEIRS}.")] = None,
    lr: Annotated[float | None, typer.Option(help=f"Peak learning rate {THEIRS}.")] = None,
    lr_rule: Annotated[
        str | None,
        typer.Option(
            help=f"absolute, or per-256: lr is for 256 units, and is scaled with batch x accumulate {THEIRS}."
        ),
    ] = None,
    start_lr: Annotated[float | None, typer.Option(help=f"Share of the peak before warm-up {THEIRS}.")] = None,
    final_lr: Annotated[float | None, typer.Option(help=f"Share of the peak at the end {THEIRS}.")] = None,
    warmup: Annotated[
        float | None, typer.Option(help=f"Share of the schedule with rising learning rate; cosine after it {THEIRS}.")
    ] = None,
    horizon: Annotated[
        float | None, typer.Option(help=f"Length of the schedules in runs; of 2 a run has the first half {THEIRS}.")
    ] = None,
    betas: Annotated[str | None, typer.Option(help=f"AdamW's, e.g. 0.9,0.95 {THEIRS}.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help=f"At the start {THEIRS}.")] = None,
    final_weight_decay: Annotated[
        float | None, typer.Option(help=f"Where a cosine takes the weight decay {THEIRS}.")
    ] = None,
    decayed: Annotated[
        str | None, typer.Option(help=f"What weight decay is on: matrices, matrices+tokens or all {THEIRS}.")
    ] = None,
    clip: Annotated[float | None, typer.Option(help=f"Largest norm of a gradient; 0: it is not cut {THEIRS}.")] = None,
    precision: Annotated[str | None, typer.Option(help=f"auto, 32 or bf16 {THEIRS}.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    option: Annotated[
        list[str] | None, typer.Option(help="A setting of the method's own, NAME=VALUE; repeat for several.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Weights to begin from: a file, timm:NAME or random [default: what the method's source begins from]."
        ),
    ] = None,
    list_options: Annotated[bool, typer.Option("--list-options", help="Print the method's settings and stop.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print every number of the recipe with its source and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print --list-options or --dry-run as JSON.")] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes that share each batch (DDP).")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode images.")] = 0,
    decode: Annotated[
        str, typer.Option(help="once: into one file before training; always: whenever an image is needed.")
    ] = "once",
    decode_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side of the images that random crops are cut from, in pixels [default: 1.25 to 2 x that of a crop].",
        ),
    ] = None,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time.")
    ] = False,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Replace last.ckpt every so many steps.")] = 100,
    keep_every: Annotated[int, typer.Option(min=0, help="Keep a checkpoint every so many epochs; 0: none.")] = 0,
    picture_every: Annotated[int, typer.Option(min=0, help="Draw a picture every so many epochs; 0: none.")] = 0,
    watch_every: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Look for a collapse every so many steps; 0: never [default: about 2% of the cost, and by step 150].",
        ),
    ] = None,
    probe_every: Annotated[
        int,
        typer.Option(min=0, help="Every so many steps, a linear probe of the labels of validation images; 0: never."),
    ] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only so many images, to try things.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Write the encoder as float16.")] = False,
    log: LogOption = None,
    keep_held_out: Annotated[
        bool, typer.Option("--keep-held-out", help="Train on patients whom related datasets hold out for evaluation.")
    ] = False,
    keep_splits: Annotated[
        bool,
        typer.Option("--keep-splits", help="Splits as the datasets' readers give them, not the recipe's paper."),
    ] = False,
    on_bad_image: Annotated[str, typer.Option(help="error, or skip: leave unreadable images out.")] = "error",
    data_dir: Annotated[
        Path | None,
        typer.Option(envvar="CXRBENCH_DATA", help="Folder that dataset names refer to. Without it: phantom."),
    ] = None,
    cache: CacheOption = None,
) -> None:
    """Pretrain an encoder on the training images of one or more datasets.

    What a recipe says is the default; flags and --option stand above it.

    Test and validation patients stay out, and so do those whom another dataset of the same source, in the same data
    folder, holds out.

    OUT gets encoder.safetensors, its model card encoder.md, last.ckpt, log.csv and tensorboard/; the encoder is then
    METHOD@OUT/encoder.safetensors.

    Examples:

      cxrbench pretrain spcl --data nih,rsna --data-dir /data --arch base --epochs 100 --out runs/spcl

      cxrbench pretrain spcl --data ./my/labels.csv --arch micro --epochs 60 --option ratio=0.3 --option loss=ntxent

      cxrbench pretrain spcl --recipe paper --dry-run
    """
    if list_options:
        if recipe != "fixed":
            raise UserError("--list-options has the values of fixed: leave out --recipe, or pass --dry-run to see them")
        known = api.method_options(method)
        show([{"--option": name, "what it is": line} for name, line in known.items()], as_json)
        return
    if as_json and not dry_run:
        raise UserError("--json is of --dry-run and --list-options: leave it out")
    if init is not None and not init.strip():
        raise UserError("--init is empty: give a file of weights, timm:NAME or random, or leave it out")
    settings = api.PretrainSettings(
        recipe=recipe,
        arch=arch,
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        lr=lr,
        lr_rule=lr_rule,  # type: ignore[typeddict-item]
        start_lr=start_lr,
        final_lr=final_lr,
        warmup=warmup,
        horizon=horizon,
        betas=parse_betas(betas),
        weight_decay=weight_decay,
        final_weight_decay=final_weight_decay,
        decayed=decayed,  # type: ignore[typeddict-item]
        clip=clip,
        precision=precision,  # type: ignore[typeddict-item]
        options=parse_options(option or []),
        init=init or "",
        seed=seed,
        accelerator=accelerator,  # type: ignore[typeddict-item]
        devices=devices,
        workers=workers,
        decode=decode,  # type: ignore[typeddict-item]
        decode_size=decode_size,
        gradient_checkpointing=gradient_checkpointing,
        checkpoint_every=checkpoint_every,
        keep_every=keep_every,
        picture_every=picture_every,
        watch_every=watch_every,
        probe_every=probe_every,
        limit=limit,
        half=half,
        on_bad_image=on_bad_image,  # type: ignore[typeddict-item]
    )
    if dry_run:
        show_recipe([line._asdict() for line in api.pretraining_recipe(method, note=warn, **settings)], as_json)
        return
    written = api.pretrain(
        method,
        data,
        out=out,
        data_dir=data_dir,
        cache=cache,
        resume=resume,
        keep_held_out=keep_held_out,
        keep_splits=keep_splits,
        log=log,
        command=shlex.join(["cxrbench", *(word for word in sys.argv[1:] if word != "--resume")]),
        bar=counting,
        note=warn,
        **settings,
    )
    print(visible(str(written)))


def show_recipe(lines: list[dict[str, Any]], as_json: bool) -> None:
    """What a recipe sets, and, under a heading of their own, the constants of the method's code; JSON tells which."""
    if as_json:
        show(lines, as_json)
        return
    for constant in (False, True):
        rows = [{k: v for k, v in line.items() if k != "constant"} for line in lines if line["constant"] is constant]
        if constant and rows:
            print(CONSTANTS)
        if rows:
            show(rows, as_json)


def parse_options(items: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` settings by name."""
    pairs = [item.partition("=") for item in items]
    if any(not equals for _, equals, _ in pairs):
        raise UserError(f"--option {' '.join(items)!r}: give NAME=VALUE, e.g. --option ratio=0.3")
    names = [name for name, _, _ in pairs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"--option {', '.join(repeated)} is given more than once: give it once")
    return {name: value for name, _, value in pairs}


def parse_betas(text: str | None) -> tuple[float, float] | None:
    """``A,B`` as two numbers."""
    if text is None:
        return None
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--betas {text}: give two numbers, e.g. --betas 0.9,0.95") from None
    return first, second
