"""Options that several commands share, and what their words stand for."""

from pathlib import Path
from typing import Annotated

import typer

from cxrbench.errors import UserError

DataOption = Annotated[
    Path | None,
    typer.Option(envvar="CXRBENCH_DATA", help="Folder with one folder per dataset. Without it: phantom data."),
]
ResultsOption = Annotated[Path, typer.Option(help="Folder of finished cells.")]
TasksOption = Annotated[
    str, typer.Option(help="DATASET[:PROTOCOL] or ./labels.csv[:PROTOCOL], separated by commas [default: all].")
]
NamesOption = Annotated[
    list[str] | None,
    typer.Option("--names", help="ENCODER=NAME: what the tables call it; repeatable, or separated by commas."),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(envvar="CXRBENCH_CACHE", help="Folder for features and phantom data [default: user cache]."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
PrecisionOption = Annotated[str, typer.Option(help="auto (bf16 where the hardware has it), fp32 or bf16.")]
BatchSizeOption = Annotated[int, typer.Option(min=1, help="Images per encoder call.")]
DecodingOption = Annotated[int, typer.Option(min=0, help="Decoding threads; 0: one per CPU core, at most 16.")]
SkipOption = Annotated[str, typer.Option(help="error, or skip: drop unreadable images and count them.")]
FailFastOption = Annotated[
    bool, typer.Option("--fail-fast", help="Stop at the first cell that fails, instead of going on with the others.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing.")]
MaxPixelsOption = Annotated[int, typer.Option(min=1, help="Images with more pixels are refused before decoding.")]
MAX_PIXELS = 100_000_000  # cxrbench.data.decode.images.MAX_PIXELS; importing that takes a second
LogOption = Annotated[
    str | None, typer.Option(help="Send numbers to an experiment logger, too: wandb, mlflow or trackio.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
CheckOption = Annotated[
    bool, typer.Option("--check", help="Import each one to see whether it can be (takes seconds), not just read it.")
]

BudgetOption = Annotated[
    str | None,
    typer.Option(help="Train on so many patients, studies or images instead of label fractions, e.g. 5000,20000."),
]
BudgetUnitOption = Annotated[
    str | None,
    typer.Option(help="What --budget counts, or --fractions are of: image, study or patient [default: patient]."),
]
DecoderOption = Annotated[
    str | None,
    typer.Option(
        help="Segmentation: linear, unet or upernet; at published widths unet-wide, upernet-wide, vitdet or transposed "
        "[default: unet, or the preset's]."
    ),
]
DetectorOption = Annotated[
    str | None, typer.Option(help="Detection: yolo, yolov3, retinanet or fcos [default: yolo, or the preset's].")
]
FinetuneOption = Annotated[bool, typer.Option("--finetune", help="Train the encoder, too, where a protocol can.")]
AugmentOption = Annotated[
    int, typer.Option(min=0, help="Augmented copies per training image, encoded once each [dense protocols].")
]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="Train for at most so many epochs.")]
TrainOption = Annotated[
    str | None,
    typer.Option(
        help="Train and select on these datasets (nih, or nih+./labels.csv), over the labels that all share, and test "
        "on those of --tasks; `all` there is the test sets of all of them together [default: each on itself]."
    ),
]
FoldsOption = Annotated[
    int | None, typer.Option(help="Cross-validate trained protocols with K >= 3 folds by patient, e.g. 5.")
]
ViewsOption = Annotated[
    str | None,
    typer.Option(
        help="Classify studies: scores of 1, 2 or all of a study's views averaged; 1of2, 2of2: of studies with two."
    ),
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
EcgTeacherOption = Annotated[
    Path | None,
    typer.Option(help="Of physiology: weights of ECGFounder (or a Net1D), to predict its embeddings of the ECGs."),
]
LabsTeacherOption = Annotated[
    Path | None,
    typer.Option(help="Of physiology: weights of an autoencoder of laboratory values, to predict its codes."),
]
CacheLimitOption = Annotated[
    str, typer.Option(help="Room on disk for dense maps, e.g. 500MB or 1.5TB; what does not fit is not cached.")
]


def parse_budget(text: str | None) -> tuple[int, ...] | None:
    """``5000,20000`` as whole numbers. Raises UserError."""
    try:
        return tuple(int(part) for part in text.split(",")) if text is not None else None
    except ValueError as error:
        raise UserError(f"--budget {text!r}: give whole numbers separated by commas, e.g. 5000,20000") from error


def parse_fractions(text: str | None) -> tuple[float, ...] | None:
    """``0.01,0.1,1`` as numbers. Raises UserError."""
    try:
        return tuple(float(part) for part in text.split(",")) if text is not None else None
    except ValueError as error:
        raise UserError(f"--fractions {text!r}: give numbers separated by commas, e.g. 0.01,0.1,1") from error
