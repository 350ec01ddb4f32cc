"""Plugins by the names of their entry points. Built-in ones are plugins like anybody else's."""

import difflib
import functools
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any

from cxrbench.errors import THEIRS, UserError

ENCODERS, DATASETS, TASKS, METHODS = "cxrbench.encoders", "cxrbench.datasets", "cxrbench.tasks", "cxrbench.methods"
LOGGERS = "cxrbench.loggers"
ALIKE = 0.7  # difflib's ratio from which a name is suggested: a slip of the finger in four letters, not another word


def found(group: str) -> dict[str, list[EntryPoint]]:
    """Entry points of a group by name. A package seen twice (editable and in the current folder) counts once."""
    by_name: dict[str, dict[str, EntryPoint]] = {}
    for point in _installed(group, _path()):
        by_name.setdefault(point.name, {})[point.value] = point
    return {name: list(points.values()) for name, points in by_name.items()}


def _path() -> tuple[tuple[str, int], ...]:
    """Where Python looks for packages, and when something was last put there or taken away (0: it is not there)."""
    stamps = []
    for folder in sys.path:
        try:
            stamps.append((folder, Path(folder).stat().st_mtime_ns))
        except OSError:
            stamps.append((folder, 0))
    return tuple(stamps)


@functools.lru_cache(maxsize=8)  # there are five groups
def _installed(group: str, path: tuple[tuple[str, int], ...]) -> EntryPoints:
    """Entry points, read once while ``path`` is the same: a file per installed package, asked hundreds of times."""
    del path
    return entry_points(group=group)


def loadable(group: str, what: str) -> dict[str, Any]:
    """Every plugin of a group that can be imported, by name, sorted."""
    plugins = {}
    for name in sorted(found(group)):
        with suppress(UserError):
            plugins[name] = load_plugin(group, name, what)
    return plugins


def only_point(group: str, name: str, what: str) -> EntryPoint:
    """The entry point of a name, not imported. Raises UserError: unknown, or offered by several packages."""
    points = found(group)
    if name not in points:
        raise UserError(unknown(what, name, points))
    if len(points[name]) > 1:
        values = ", ".join(sorted(point.value for point in points[name]))
        raise UserError(f"several installed packages offer {what} {name!r} ({values}): uninstall all but one")
    return points[name][0]


def load_plugin(group: str, name: str, what: str) -> Any:
    """Import the plugin ``name`` of an entry-point group. Raises UserError: unknown, ambiguous, or broken."""
    point = only_point(group, name, what)
    try:
        return point.load()
    except THEIRS as error:
        raise cannot_import(what, point, f"{type(error).__name__}: {error}") from error


def cannot_import(what: str, point: EntryPoint, reason: str) -> UserError:
    """The one line of a broken plugin."""
    first = (reason.splitlines() or [""])[0]
    return UserError(f"{what} plugin {point.name} ({point.value}) cannot be imported: {first}")


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """``unknown encoder 'spcI': did you mean 'spcl'? Known: ...``."""
    names = sorted(set(known))
    close = nearest(name, names)
    return f"unknown {what} {name!r}{f': did you mean {close!r}?' if close else ';'} known: {', '.join(names)}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that may have been meant, or None if none is alike."""
    return next(iter(difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=ALIKE)), None)
