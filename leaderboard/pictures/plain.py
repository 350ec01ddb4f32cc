"""Pictures as JSON has them: objects, lists, texts, short numbers."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

DIGITS = 5


def plain(value: Any) -> Any:
    """A picture's dataclasses as dicts, tuples as lists, floats to five significant digits; null for NaN and infinity.

    Raises TypeError for what no picture has.
    """
    if isinstance(value, float):
        return _short(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"no picture has a {type(value).__name__}")


def numbers(value: Any) -> int:
    """How many single values a picture has: about what it weighs."""
    if isinstance(value, (tuple, list)):
        return sum(map(numbers, value))
    if isinstance(value, Mapping):
        return sum(map(numbers, value.values()))
    if is_dataclass(value):
        return sum(numbers(getattr(value, field.name)) for field in fields(value))
    return 1


def _short(value: float) -> float | int:
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short  # 1 for 1.0
