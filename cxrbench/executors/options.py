"""Options of executors, as they were typed or stand in a run file's table: which there are, and what is a number."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from cxrbench.errors import UserError
from cxrbench.files.names import plain
from cxrbench.plugins.entry_points import unknown

Default = TypeVar("Default", int, float, None)


def refuse_unknown(kind: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Raises UserError for the first option that an executor does not know; ``workers`` is one of each."""
    known = (*known, "workers")
    for name in options:
        if name not in known:
            raise UserError(unknown(f"option of executor {kind}", name, known))


def whole(kind: str, options: Mapping[str, Any], name: str, default: Default, *, least: int = 0) -> int | Default:
    """A whole number, or ``default`` where nothing is said. Raises UserError."""
    value = options.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", str(value)) or int(value) < least:
        raise UserError(f"executor {kind}: {name}={plain(repr(value))}: give a whole number of {least} or more")
    return int(value)


def number(kind: str, options: Mapping[str, Any], name: str, default: Default) -> float | Default:
    """A number of 0 or more, or ``default`` where nothing is said. Raises UserError."""
    value = options.get(name)
    if value is None:
        return default
    try:
        found = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = -1.0
    if not 0 <= found < float("inf"):
        raise UserError(f"executor {kind}: {name}={plain(repr(value))}: give a number of 0 or more, e.g. 0.5")
    return found
