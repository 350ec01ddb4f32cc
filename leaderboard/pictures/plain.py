"""Pictures as JSON has them: objects, lists, texts, short numbers."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from cxrbench.files.names import visible
from cxrbench.leaderboard.statistics.significance import ALPHA


def plain(value: Any) -> Any:
    """A picture's dataclasses as dicts, tuples as lists; null for NaN and infinity. Raises TypeError for anything else.

    Texts are as they may be shown (``visible``): no character in them hides or reorders its neighbours.
    Floats have five digits after the point, small ones three that count, and more where the third after the point would
    else be rounded another way than in a table, or a p stand on the other side of 5%.
    """
    if isinstance(value, float):
        return _short(value)
    if isinstance(value, str):
        return visible(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, (tuple, list)):
        floats = value and isinstance(value[0], float) and all(type(one) is float for one in value)
        return [_short(one) if floats else plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"no picture has a {type(value).__name__}")


def numbers(value: Any) -> int:
    """How many single values a picture has: about what it weighs."""
    if isinstance(value, (tuple, list)):
        return len(value) if not value or isinstance(value[0], (str, int, float)) else sum(map(numbers, value))
    if isinstance(value, Mapping):
        return sum(map(numbers, value.values()))
    if is_dataclass(value):
        return sum(numbers(getattr(value, field.name)) for field in fields(value))
    return 1


def _short(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    if 0.49 < abs(value) * 1000 % 1 < 0.51:  # shorter, its third digit after the point might become another
        short = round(value, 9)
    else:
        short = round(value, 5) if abs(value) >= 0.01 else float(f"{value:.3g}")
    if (short < ALPHA) != (value < ALPHA):
        short = value
    return int(short) if short.is_integer() else short  # 1 for 1.0
