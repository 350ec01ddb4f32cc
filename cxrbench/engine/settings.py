"""What may be said of a run beside encoders and tasks, and whether a program said it in the right types."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from cxrbench.errors import OnBadImage, UserError
from cxrbench.files.names import plain
from cxrbench.plugins.entry_points import unknown
from cxrbench.task import DecoderName, DetectorName, Views


class Settings(TypedDict, total=False):
    """What may be said of a run beside encoders and tasks; the help of ``cxrbench run`` explains each.

    ``data``: the folder with one folder per dataset (None: the phantom). ``train``: datasets to train on, in a list or
    joined by ``+``, where these are not those that are tested on. ``budget``: training units (``budget_unit``:
    image, study or patient) instead of label fractions. ``cache_limit``: bytes, or a text as ``20GB``.
    ``executor``: who computes, ``local:2`` or a table as ``{"kind": "local", "workers": 2}`` with options of its own
    (None: this process). ``retries``: how often a cell that failed is tried again (None: 2 with an executor, else 0).
    """

    data: Path | str | None
    results: Path | str
    train: str | Sequence[Any] | None
    fractions: Sequence[float] | float | None
    budget: Sequence[int] | int | None
    budget_unit: str | None
    seeds: int | None
    folds: int | None
    decoder: DecoderName | None
    detector: DetectorName | None
    finetune: bool
    augment: int
    epochs: int | None
    views: Views | None
    preset: str | None
    text_encoder: Path | str | None
    ecg_teacher: Path | str | None
    labs_teacher: Path | str | None
    device: str
    precision: str
    batch_size: int
    workers: int
    on_bad_image: OnBadImage
    max_pixels: int
    cache: Path | str | None
    cache_limit: int | str
    log: str | None
    executor: str | Mapping[str, Any] | None
    retries: int | None


PATHS = ("data", "results", "text_encoder", "ecg_teacher", "labs_teacher", "cache")
TEXTS = ("decoder", "detector", "views", "budget_unit", "preset", "device", "precision", "on_bad_image", "log")
SMALLEST = {
    "seeds": 1, "folds": 1, "augment": 0, "epochs": 1, "batch_size": 1, "workers": 0, "max_pixels": 1, "cache_limit": 0,
    "retries": 0,
}  # fmt: skip
"""The whole numbers, and the least that each may be."""
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
         "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}  # fmt: skip


def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are not None, folders as paths, label fractions in a tuple. Raises UserError."""
    known = Settings.__annotations__
    for name in settings:
        if name not in known:
            raise UserError(unknown("setting", name, known))
    return {name: _checked(name, value) for name, value in settings.items() if value is not None}


def parse_bytes(text: str, option: str = "--cache-limit") -> int:
    """``20GB``, ``1.5 TB``, ``500MiB`` or ``0`` as bytes. Raises UserError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].upper() not in UNITS:
        raise UserError(f"{option} {text!r}: give a number and a unit, e.g. 20GB, 500MB, 1.5TB or 100GiB")
    return int(float(match[1]) * UNITS[match[2].upper()])


def names(given: str | Sequence[str], what: str) -> list[str]:
    """Names in a list, or in one text separated by commas; none that is empty. Raises UserError for anything else."""
    several = given.split(",") if isinstance(given, str) else given
    if not isinstance(several, Sequence) or not all(isinstance(name, str) for name in several):
        raise UserError(f"{what} are {plain(repr(given))}: give names in a list, or in one text separated by commas")
    return [name.strip() for name in several if name.strip()]


def training_sets(given: str | Sequence[str]) -> tuple[str, ...]:
    """The datasets of ``--train``: joined by ``+``, or in a list; a path that is there is one. Raises UserError."""
    found = []
    for text in [given] if isinstance(given, str) and Path(given).is_file() else names(given, "train"):
        found += [text] if Path(text).is_file() else [part.strip() for part in text.split("+")]
    if not found or "" in found:
        raise UserError(
            f"--train {given!r} has an empty part: the grammar is DATASET+DATASET, e.g. --train nih+./own.csv"
        )
    return tuple(dict.fromkeys(found))


def _checked(name: str, value: Any) -> Any:
    if name in PATHS:
        return _of_type(name, value, (str, Path), "a path", Path)
    if name == "train":
        return training_sets(value)
    if name in TEXTS:
        return _of_type(name, value, (str,), "a text", str)
    if name == "fractions":
        several = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        return tuple(_of_type(name, one, (float, int), "numbers, e.g. [0.1, 1]", float) for one in several)
    if name == "budget":
        several = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        return tuple(_of_type(name, one, (int,), "whole numbers, e.g. [5000, 20000]", int) for one in several)
    if name == "executor":
        return _of_type(name, value, (str, Mapping), "a name, e.g. local:2, or a table with its kind", _as_it_is)
    if name == "cache_limit" and isinstance(value, str):
        value = parse_bytes(value)
    if name in SMALLEST:
        if isinstance(value, bool) or not isinstance(value, int) or value < SMALLEST[name]:
            raise UserError(f"{name}={value!r}: give a whole number of {SMALLEST[name]} or more")
        return value
    return _of_type(name, value, (bool,), "True or False", bool)


def _of_type(name: str, value: Any, types: tuple[type, ...], wanted: str, made: Callable[[Any], Any]) -> Any:
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types) or value == "":
        raise UserError(f"{name}={value!r}: give {wanted}")
    return made(value)


def _as_it_is(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
