"""``cxrbench pretrain METHOD``: training images in, an encoder out."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.cli.console import counting, show, warn
from cxrbench.cli.options import CacheOption
from cxrbench.errors import UserError
from cxrbench.files.names import visible


def pretrain(
    method: Annotated[str, typer.Argument(help="The method, e.g. spcl.")],
    data: Annotated[
        str, typer.Option(help="Training data, separated by commas: dataset names, dataset folders or CSV files.")
    ] = "vindr,rsna,siim",
    arch: Annotated[
        str, typer.Option(help="nano, micro, tiny, small, base, base-512, or e.g. 192x6p16s128.")
    ] = "small",
    epochs: Annotated[int | None, typer.Option(min=1, help="[default: the method's own]")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for checkpoints and logs [default: runs/METHOD].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUT/last.ckpt.")] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images or studies per batch, over all devices [default: the method's own]."),
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate [default: the method's own].")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="[default: the method's own]")] = None,
    warmup: Annotated[
        float | None,
        typer.Option(help="Share of the steps with rising learning rate; cosine after it [default: the method's own]."),
    ] = None,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches per optimizer step.")] = 1,
    precision: Annotated[str, typer.Option(help="auto, 32 or bf16.")] = "auto",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    option: Annotated[
        list[str] | None, typer.Option(help="A setting of the method's own, NAME=VALUE; repeat for several.")
    ] = None,
    list_options: Annotated[bool, typer.Option("--list-options", help="Print the method's settings and stop.")] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes that share each batch (DDP).")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode images.")] = 0,
    decode: Annotated[
        str, typer.Option(help="once: into one file before training; always: whenever an image is needed.")
    ] = "once",
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time.")
    ] = False,
    keep_every: Annotated[int, typer.Option(min=0, help="Keep a checkpoint every so many epochs; 0: none.")] = 0,
    picture_every: Annotated[int, typer.Option(min=0, help="Draw a picture every so many epochs; 0: none.")] = 0,
    watch_every: Annotated[
        int | None,
        typer.Option(
            min=0, help="Look for a collapse every so many steps; 0: never [default: so that it costs about 2%]."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only so many images, to try things.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Write the encoder as float16.")] = False,
    keep_held_out: Annotated[
        bool, typer.Option("--keep-held-out", help="Train on patients whom related datasets hold out for evaluation.")
    ] = False,
    on_bad_image: Annotated[str, typer.Option(help="error, or skip: leave unreadable images out.")] = "error",
    data_dir: Annotated[
        Path | None,
        typer.Option(envvar="CXRBENCH_DATA", help="Folder that dataset names refer to. Without it: phantom."),
    ] = None,
    cache: CacheOption = None,
) -> None:
    """Pretrain an encoder on the training images of one or more datasets.

    Test and validation patients stay out, and so do those whom another dataset of the same source, in the same data
    folder, holds out.

    OUT gets encoder.safetensors, its model card encoder.md, last.ckpt, log.csv and tensorboard/; the encoder is then
    METHOD@OUT/encoder.safetensors.

    Examples:

      cxrbench pretrain spcl --data nih,rsna --data-dir /data --arch base --epochs 100 --out runs/spcl

      cxrbench pretrain spcl --data ./my/labels.csv --arch micro --epochs 60 --option ratio=0.3 --option loss=ntxent
    """
    if list_options:
        known = api.method_options(method)
        show([{"--option": name, "what it is": line} for name, line in known.items()], False)
        return
    written = api.pretrain(
        method,
        data,
        out=out,
        data_dir=data_dir,
        cache=cache,
        resume=resume,
        keep_held_out=keep_held_out,
        command=shlex.join(["cxrbench", *(word for word in sys.argv[1:] if word != "--resume")]),
        bar=counting,
        note=warn,
        arch=arch,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        weight_decay=weight_decay,
        warmup=warmup,
        options=parse_options(option or []),
        precision=precision,  # type: ignore[arg-type]
        accumulate=accumulate,
        seed=seed,
        accelerator=accelerator,  # type: ignore[arg-type]
        devices=devices,
        workers=workers,
        decode=decode,  # type: ignore[arg-type]
        gradient_checkpointing=gradient_checkpointing,
        keep_every=keep_every,
        picture_every=picture_every,
        watch_every=watch_every,
        limit=limit,
        half=half,
        on_bad_image=on_bad_image,  # type: ignore[arg-type]
    )
    print(visible(str(written)))


def parse_options(items: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` settings by name."""
    pairs = [item.partition("=") for item in items]
    if any(not equals for _, equals, _ in pairs):
        raise UserError(f"--option {' '.join(items)!r}: give NAME=VALUE, e.g. --option ratio=0.3")
    return {name: value for name, _, value in pairs}
