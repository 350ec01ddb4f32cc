"""One column of a table for the page: numbers of all encoders beside each other, in whole thousandths."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cxrbench.leaderboard.board import Record
from cxrbench.leaderboard.statistics.significance import ALPHA

P_UNIT = 10_000
Numbers = list[int | None]


def thousandths(value: float) -> int | None:
    """A number as tables print it, without the point: the page shows the same three digits and rounds nothing again."""
    return round(float(f"{value:.3f}") * 1000) if math.isfinite(value) else None


def ten_thousandths(p: float) -> int | None:
    """A p-value with four digits, on its side of ``ALPHA``: whoever compares it finds what the test found."""
    if math.isnan(p):
        return None
    near, limit = round(p * P_UNIT), round(ALPHA * P_UNIT)
    return min(near, limit - 1) if p < ALPHA else max(near, limit)


def part(records: Sequence[Record], places: Mapping[str, int], *, spread: str) -> dict[str, Any]:
    """The records of one label or group, an encoder each: ``who`` by its place, then a list per quantity.

    What all have alike is said once (``n``, ``positives``, ``patients``), what none has is not said.
    """
    known = sorted(records, key=lambda r: places[r.encoder])
    first = known[0]

    def each(of: Callable[[Record], float]) -> Numbers:
        return [thousandths(of(r)) for r in known]

    lists: dict[str, Sequence[Any]] = {
        "v": each(lambda r: r.value),
        "lo": each(lambda r: r.lower),
        "hi": each(lambda r: r.upper),
        "g": each(lambda r: r.gain),
        "gl": each(lambda r: r.gain_lower),
        "gh": each(lambda r: r.gain_upper),
        "p": [ten_thousandths(r.p_holm) for r in known],
        "chance": each(lambda r: r.by_chance),
        "ties": [r.tie_group or None for r in known],
        "note": [r.note or None for r in known],
        "seen": [1 if r.contaminated else None for r in known],
        "seeds": [r.seeds if r.seeds > 1 else None for r in known],
    }
    if spread == "sd":
        lists["sd"] = each(lambda r: r.sd_folds if math.isnan(r.sd_seeds) else r.sd_seeds)
    facts = {"who": [places[r.encoder] for r in known], "n": first.n, "patients": first.patients}
    if first.positives is not None:
        facts["positives"] = first.positives
    return facts | {name: values for name, values in lists.items() if any(v is not None for v in values)}
