"""Whether a program said something in the right types: a wrong one is a line, not an exception from somewhere."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from cxrbench.errors import UserError

WANTED: Mapping[Any, str] = {
    str: "a text", int: "a whole number", float: "a number", bool: "True or False", Path: "a path", Mapping: "a dict",
    Sequence: "a list", tuple: "a tuple",
}  # fmt: skip
"""What is asked for in place of a wrong value, by type."""


def check_type(name: str, value: object, kind: Any) -> None:
    """Raise UserError unless ``value``, of the argument ``name``, is of a type that an annotation may say."""
    if not _fits(value, kind):
        raise UserError(f"{name}={value!r}: give {_told(kind)}")


def check_whole(name: str, value: object, least: int) -> None:
    """Raise UserError unless it is a whole number from ``least`` on."""
    if not _fits(value, int) or value < least:  # type: ignore[operator]
        raise UserError(f"{name}={value!r}: give a whole number of {least:,} or more")


def _fits(value: object, kind: Any) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is tuple:
        return isinstance(value, tuple | list) and len(value) == len(parts) and all(map(_fits, value, parts))
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return kind is Any or isinstance(value, origin or kind)


def _told(kind: Any) -> str:
    parts = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_told, parts))
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if get_origin(kind) is tuple:
        return f"{len(parts)} numbers"
    kind = get_origin(kind) or kind
    return WANTED.get(kind, f"a {kind.__name__}")
