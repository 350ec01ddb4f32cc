"""Names before anything else: a slip of the pen is told at once, before data is read, drawn or downloaded."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cxrbench.engine.asked.given import Given
from cxrbench.errors import UserError
from cxrbench.plugins import entry_points
from cxrbench.plugins.entry_points import DATASETS, ENCODERS, TASKS, only_point, unknown
from cxrbench.plugins.specs import parse_encoder

ALL = "all"  # in place of encoders: every one that needs nothing more than its name
TOGETHER = "all"  # in place of a dataset to test on: the test sets of all training sets together
PREPARED = "manifest.parquet"
SPLITS = "splits.json"
TABLES = {"labels.csv": "your own CSV", PREPARED: "a prepared copy", SPLITS: "another dataset in imported splits"}
"""What makes a folder of the data folder a dataset of one's own, and what it is called then."""


def refuse_wrong_names(
    encoders: Sequence[str],
    tasks: Sequence[tuple[str, str | None]],
    data: Path | None,
    train: Sequence[str] = (),
    given: Given = Given(),  # noqa: B008  frozen
) -> None:
    """Raise UserError for a protocol or a training set that does not exist, or if no encoder, or no dataset, does.

    Where some encoders and datasets do, the run can go on with those. Looks at syntax and entry points; a missing file
    is found by the plan. ``given``: names that stand for objects.
    """
    for _, protocol in tasks:
        if protocol is not None:
            only_point(TASKS, protocol, "protocol")
    _refuse_if_all_wrong(None if name in given.encoders else encoder_problem(name) for name in encoders)
    for name in train:
        _refuse_if_all_wrong([None if name in given.datasets else dataset_problem(name, data)])
    tested = [dataset for dataset, _ in tasks if not (train and dataset == TOGETHER)]
    _refuse_if_all_wrong(
        None if name in given.datasets or is_path(name) else dataset_problem(name, data) for name in tested
    )


def encoder_problem(text: str) -> UserError | None:
    """What is wrong with an encoder's name, as far as that is seen without loading it."""
    try:
        request = parse_encoder(text)
        if text != ALL and not request.name.endswith(".py"):
            only_point(ENCODERS, request.name, "encoder")
    except UserError as error:
        return error
    return None


def is_path(dataset: str) -> bool:
    """Whether a dataset is named by the path of its table."""
    return dataset.endswith((".csv", ".json"))


def is_folder(dataset: str) -> bool:
    """Whether a dataset is named by the path of its folder: one that is there, with a slash in what it is called."""
    return "/" in dataset and Path(dataset).expanduser().is_dir()


def dataset_problem(name: str, data: Path | None) -> UserError | None:
    """What is wrong with a dataset's name: no adapter, no file and no folder of the data folder is called that."""
    path = Path(name).expanduser()
    if path.is_file():
        return None
    if is_folder(name):
        return None
    if is_path(name):
        return UserError(f"no {path.suffix[1:].upper()} file {path} (looked from {Path.cwd()})")
    if data is not None and not data.is_dir():
        return UserError(f"no data folder {data}: give the folder that holds one folder per dataset")
    adapters = entry_points.found(DATASETS)
    if name in adapters or (data and any((data / name / table).is_file() for table in TABLES)):
        return None
    hint = f", or ./{name} for the folder of images" if path.is_dir() else ""
    others = [path.parent.name for table in TABLES for path in data.glob(f"*/{table}")] if data else []
    return UserError(unknown("dataset", name, [*adapters, *others]) + f"; or give the path of your own CSV{hint}")


def _refuse_if_all_wrong(problems: Iterable[UserError | None]) -> None:
    """Raise the first of the problems if there is one for each name."""
    found_problems = list(problems)
    if found_problems and all(found_problems):
        raise found_problems[0]  # type: ignore[misc]
