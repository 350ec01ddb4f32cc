"""Options that several commands share, and the folders they stand for."""

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from platformdirs import user_cache_path

from cxrbench.errors import UserError

if TYPE_CHECKING:
    from cxrbench.task import TaskOptions

DataOption = Annotated[
    Path | None,
    typer.Option(envvar="CXRBENCH_DATA", help="Folder with one folder per dataset. Without it: phantom data."),
]
ResultsOption = Annotated[Path, typer.Option(help="Folder of finished cells.")]
CacheOption = Annotated[
    Path | None,
    typer.Option(envvar="CXRBENCH_CACHE", help="Folder for features and phantom data [default: user cache]."),
]
MaxPixelsOption = Annotated[int, typer.Option(min=1, help="Images with more pixels are refused before decoding.")]
MAX_PIXELS = 100_000_000  # cxrbench.data.decode.images.MAX_PIXELS; importing that takes seconds
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

DecoderOption = Annotated[
    str | None, typer.Option(help="Segmentation: linear, unet or upernet [default: the protocol's own].")
]
FinetuneOption = Annotated[bool, typer.Option("--finetune", help="Train the encoder, too, where a protocol can.")]
AugmentOption = Annotated[
    int, typer.Option(min=0, help="Augmented copies per training image, encoded once each [dense protocols].")
]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="Train for at most so many epochs.")]
FoldsOption = Annotated[
    int | None, typer.Option(help="Cross-validate trained protocols with K >= 3 folds by patient, e.g. 5.")
]
ViewsOption = Annotated[
    str | None, typer.Option(help="Classify studies: scores of 1, 2 or all of a study's views averaged.")
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        help="A paper's evaluation recipe: spcl, mvmae, pacx, radjepa or fane, or a variant, e.g. spcl:paper. It "
        "also sets --fractions and --seeds, unless they are given."
    ),
]
TextEncoderOption = Annotated[
    Path | None,
    typer.Option(help="Folder of a transformers sentence encoder, for reports [default: all-MiniLM-L6-v2]."),
]
CacheLimitOption = Annotated[
    str, typer.Option(help="Room on disk for dense maps, e.g. 500MB or 1.5TB; what does not fit is not cached.")
]
DECODERS, VIEWS = ("linear", "unet", "upernet"), ("1", "2", "all")
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
         "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}  # fmt: skip


def task_options(
    *,
    decoder: str | None,
    finetune: bool,
    augment: int,
    epochs: int | None,
    views: str | None,
    preset: str | None,
    text_encoder: Path | None,
) -> "TaskOptions":
    """What the command line says of the tasks. Raises UserError for a value that no task knows."""
    from cxrbench.task import TaskOptions

    _one_of("--decoder", decoder, DECODERS)
    _one_of("--views", views, VIEWS)
    if preset is not None:
        from cxrbench.tasks.presets.recipes import parse

        parse(preset)
    if text_encoder is not None and not text_encoder.is_dir():
        raise UserError(f"--text-encoder {text_encoder}: no such folder; give one with a transformers sentence encoder")
    return TaskOptions(decoder, finetune, augment, epochs, views, preset, text_encoder)


def runs_of(preset: str | None, fractions: str | None, seeds: int | None) -> tuple[tuple[float, ...], int]:
    """Label fractions and seeds: as typed, else as the preset's paper shows them, else 1 and 1. Raises UserError."""
    from cxrbench.tasks.presets.recipes import run_settings

    shown = run_settings(preset) if preset is not None else (None, None)
    return (parse_fractions(fractions) if fractions is not None else shown[0] or (1.0,)), seeds or shown[1] or 1


def parse_fractions(text: str) -> tuple[float, ...]:
    """``0.01,0.1,1`` as numbers in (0, 1], each once, in ascending order."""
    try:
        values = sorted({float(part) for part in text.split(",")})
    except ValueError as error:
        raise UserError(f"--fractions {text!r}: give numbers separated by commas, e.g. 0.01,0.1,1") from error
    if not all(0 < value <= 1 for value in values):
        raise UserError(f"--fractions {text!r}: a label fraction lies above 0 and is at most 1")
    return tuple(values)


def parse_folds(folds: int | None) -> int | None:
    """At least 3. Raises UserError."""
    from cxrbench.engine.folds import MIN_FOLDS

    if folds is not None and folds < MIN_FOLDS:
        raise UserError(
            f"--folds {folds}: one fold is tested, one validates, the rest trains, so give {MIN_FOLDS} or more"
        )
    return folds


def parse_bytes(text: str) -> int:
    """``20GB``, ``1.5 TB``, ``500MiB`` or ``0`` as bytes. Raises UserError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].upper() not in UNITS:
        raise UserError(f"--cache-limit {text!r}: give a number and a unit, e.g. 20GB, 500MB, 1.5TB or 100GiB")
    return int(float(match[1]) * UNITS[match[2].upper()])


def _one_of(flag: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise UserError(f"{flag} {value!r}: choose from {', '.join(known)}")


def cache_folder(cache: Path | None) -> Path:
    """The cache folder: as given, else CXRBENCH_CACHE, else the user's cache folder."""
    named = cache or os.environ.get("CXRBENCH_CACHE")
    return Path(named).expanduser() if named else user_cache_path("cxrbench")


def phantom_folder(cache: Path | None, datasets: Collection[str]) -> Path:
    """The phantom's data folder; those of the datasets that it lacks are written now."""
    from cxrbench.cli.console import counting
    from cxrbench.phantom.write import ensure

    with counting("phantom images") as progress:
        return ensure(cache_folder(cache), datasets, progress=progress)
