"""Encoders and tasks as a program has them, names and objects, as names and what some of them stand for."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cxrbench.engine.asked.given import Given
from cxrbench.errors import UserError
from cxrbench.files.names import plain

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    EncoderLike = str | nn.Module | tuple[str, nn.Module]
    """A spec, a module (called by its class), or a name and a module."""
    TaskLike = str | Path | pd.DataFrame | tuple[str, pd.DataFrame]
    """``DATASET[:PROTOCOL]`` or a CSV's path, a DataFrame, or ``NAME[:PROTOCOL]`` and a DataFrame."""

NAME = re.compile(r"[A-Za-z0-9][\w .+-]{0,99}")
"""What a module may be called: nothing that the grammar of specs and of ``--names`` takes for something else."""


class NamesAndObjects(NamedTuple):
    """Encoders, tasks and training sets by name (texts stay as they are), and what some of the names stand for."""

    encoders: str | list[str]
    tasks: str | list[str]
    train: str | list[str] | None
    objects: Given


def separated(
    encoders: "str | EncoderLike | Sequence[EncoderLike]",
    tasks: "str | TaskLike | Sequence[TaskLike]",
    train: "str | TaskLike | Sequence[TaskLike] | None" = None,
) -> NamesAndObjects:
    """Tell names and objects apart; ``train`` names datasets alone. Raises UserError."""
    modules: dict[str, Any] = {}
    manifests: dict[str, Any] = {}
    specs: str | list[str] = encoders if isinstance(encoders, str) else []
    for one in [] if isinstance(encoders, str) else _several(encoders, "nn.Module"):
        name, module = _named(one, "nn.Module", "encoder")
        if module is not None:
            name = name or type(module).__name__
            _check_encoder(name, module, modules)
            modules[name] = module
        specs = [*specs, str(name)]
    texts = tasks if isinstance(tasks, str) else [_task(one, manifests) for one in _several(tasks, "DataFrame")]
    if train is not None and not isinstance(train, str):
        train = [_task(one, manifests) for one in _several(train, "DataFrame")]
    return NamesAndObjects(specs, texts, train, Given(modules, manifests))


def _task(one: Any, manifests: dict[str, Any]) -> str:
    """A task by name; the dataset that it is of, if that is an object, is put among ``manifests``."""
    name, frame = _named(one, "DataFrame", "task")
    if frame is None:
        return str(name)
    dataset, colon, protocol = (name or "").partition(":")
    manifest = _dataset(frame, dataset, manifests)
    manifests[manifest.name] = manifest
    return f"{manifest.name}{colon}{protocol}"


def by_name(what: str, given: object, example: str) -> str:
    """The name of an encoder or dataset, where only a name will do. Raises UserError for an object."""
    if isinstance(given, (str, Path)):
        return str(given)
    raise UserError(
        f"{what} is a {type(given).__name__}: it is named here, e.g. {example!r}; cxrbench.run takes objects"
    )


def is_a(thing: object, kind: str) -> bool:
    """Whether it is an ``nn.Module`` or a ``DataFrame``; what was not imported by anybody cannot be one."""
    package, cls = {"nn.Module": ("torch.nn", "Module"), "DataFrame": ("pandas", "DataFrame")}[kind]
    return package in sys.modules and isinstance(thing, getattr(sys.modules[package], cls))


def _several(given: Any, kind: str) -> Sequence[Any]:
    pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str) and is_a(given[1], kind)
    if pair or is_a(given, kind) or isinstance(given, (Path, type)):
        return [given]
    if not isinstance(given, Sequence):
        what = "encoders" if kind == "nn.Module" else "tasks"
        advice = f"give names in a list, or in one text separated by commas; {kind}s may stand in the list, or pairs "
        raise UserError(f"{what} are {plain(repr(given))}: {advice}(name, {kind})")
    return given


def _named(one: Any, kind: str, what: str) -> tuple[str | None, Any]:
    """A name, an object, or both of one encoder or task. Raises UserError for anything else."""
    if isinstance(one, (str, Path)):
        return str(one), None
    if is_a(one, kind):
        return None, one
    if isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str) and is_a(one[1], kind):
        return one
    if isinstance(one, type):
        raise UserError(f"{what} {one.__name__} is a class: give an object of it, {one.__name__}(...), or a name")
    article = "an" if kind == "nn.Module" else "a"
    raise UserError(
        f"{what} {type(one).__name__}: give a name, {article} {kind}, or a pair of a name and {article} {kind}"
    )


def _check_encoder(name: str, module: "nn.Module", others: "dict[str, nn.Module]") -> None:
    """Raise UserError for a name that another encoder has, or that would be read as a spec."""
    from cxrbench.engine.names import ALL
    from cxrbench.plugins.entry_points import ENCODERS, found

    if not NAME.fullmatch(name):
        raise UserError(f"a module cannot be called {name!r}: use letters, digits, blanks and . + - _")
    if name in found(ENCODERS) or name == ALL:
        raise UserError(f"a module cannot be called {name!r}, which is an installed encoder: give it another name")
    if others.get(name, module) is not module:
        raise UserError(f'two encoders are called {name!r}: name them, e.g. encoders=[("first", module), ...]')


def _dataset(frame: "pd.DataFrame", name: str, others: dict[str, Any]) -> Any:
    """The manifest of a frame. Raises UserError for one that another dataset's name would be taken for."""
    from cxrbench.engine.registry import load_frame
    from cxrbench.plugins.entry_points import DATASETS, found

    manifest = load_frame(frame, name or None)
    if manifest.name in found(DATASETS):
        raise UserError(f"a DataFrame cannot be called {manifest.name!r}, which is a dataset: give it another name")
    if manifest.name in others and others[manifest.name].fingerprint != manifest.fingerprint:
        raise UserError(f'two DataFrames are called {manifest.name!r}: name them, e.g. tasks=[("first", frame), ...]')
    return manifest
