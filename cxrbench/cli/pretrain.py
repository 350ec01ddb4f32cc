"""``cxrbench pretrain METHOD``: training images in, an encoder out."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrbench.cli.options import CacheOption, phantom_folder
from cxrbench.errors import UserError
from cxrbench.files.folders import cache_folder
from cxrbench.files.names import visible

if TYPE_CHECKING:
    from cxrbench.data.manifest import Manifest


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
    from cxrbench.engine.names import dataset_problem
    from cxrbench.plugins.entry_points import METHODS, only_point

    only_point(METHODS, method, "method")  # wrong names before torch is imported and data read or drawn for them
    for name in () if list_options else named(data):
        if "/" not in name and (problem := dataset_problem(name, data_dir)) is not None:
            raise problem
    from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig, checked, read_method
    from cxrbench.encoders.pretraining.engine.pretrain import pretrain as start

    if list_options:
        from cxrbench.cli.console import show

        known = read_method(PretrainConfig(method=method)).options
        show([{"--option": name, "what it is": line} for name, line in known.items()], False)
        return
    if precision not in ("auto", "32", "bf16"):
        raise UserError(f"--precision is auto, 32 or bf16, not {precision!r}")
    if decode not in ("once", "always"):
        raise UserError(f"--decode is once or always, not {decode!r}")
    if on_bad_image not in ("error", "skip"):
        raise UserError(f"--on-bad-image is error or skip, not {on_bad_image!r}")
    config = PretrainConfig(
        method=method,
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
        limit=limit,
        half=half,
        on_bad_image=on_bad_image,  # type: ignore[arg-type]
    )
    if not named(data):
        raise UserError("--data names no dataset: try --data vindr,rsna,siim, or the path of a CSV")
    checked(config)  # before data is read or drawn
    manifests = [read(name, data_dir, cache) for name in named(data)]
    excluded = None if keep_held_out else held_out(manifests, data_dir, cache)
    command = shlex.join(["cxrbench", *(word for word in sys.argv[1:] if word != "--resume")])
    folder = cache_folder(cache) / "pretraining"
    target = out or Path("runs") / method
    written = start(config, manifests, target, cache=folder, resume=resume, command=command, excluded=excluded)
    print(visible(str(written)))


def named(data: str) -> list[str]:
    """What --data names, separated by commas; the path of one dataset may have commas in it."""
    if "/" in data and Path(data).expanduser().exists():
        return [data]
    return [name.strip() for name in data.split(",") if name.strip()]


def read(name: str, data_dir: Path | None, cache: Path | None) -> "Manifest":
    """A dataset by name, by the path of its folder, or by the path of a CSV."""
    from cxrbench.engine.registry import dataset_adapters, load_dataset

    folder = Path(os.path.abspath(Path(name).expanduser()))  # not resolved: a link may have another name
    if "/" in name and not folder.exists():
        raise UserError(f"--data {name}: there is no such folder or file")
    if "/" in name and folder.is_dir():
        if folder.name not in (known := dataset_adapters()) and any((folder / other).is_dir() for other in known):
            raise UserError(f"--data {name} is a folder of datasets: name them, e.g. --data mimic --data-dir {name}")
        name, data_dir = folder.name, folder.parent
    return load_dataset(name, data_dir, lambda: phantom_folder(cache, [name]), cache=cache_folder(cache))


def held_out(manifests: "list[Manifest]", data_dir: Path | None, cache: Path | None) -> dict[str, frozenset[str]]:
    """Patients of each dataset whom a related dataset beside it holds out; says so, a line each."""
    from cxrbench.cli.console import warn
    from cxrbench.data.holdout import exclusions, present
    from cxrbench.engine.registry import dataset_adapters

    known = dataset_adapters()
    ours = [m for m in manifests if m.name in known]
    folders = [*([data_dir] if data_dir is not None else []), *dict.fromkeys(m.root.parent for m in ours)]
    where = {name: folder for folder in reversed(folders) for name in present(folder, known)}  # data_dir comes first
    names = {*where, *(m.name for m in ours)}
    found = exclusions(manifests, names, known, lambda name: read(name, where[name], cache))
    for note in found.notes:
        warn(note)
    return found.patients


def parse_options(items: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` settings by name."""
    pairs = [item.partition("=") for item in items]
    if any(not equals for _, equals, _ in pairs):
        raise UserError(f"--option {' '.join(items)!r}: give NAME=VALUE, e.g. --option ratio=0.3")
    return {name: value for name, _, value in pairs}
