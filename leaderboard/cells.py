"""One cell of a table in Markdown: a value, what stands beside it, its marks; and how the reader wants to see it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cxrbench.leaderboard.board import Record
from cxrbench.leaderboard.render import ABSENT, number
from cxrbench.leaderboard.statistics.significance import ALPHA
from cxrbench.metrics.measure import Measure

Spread = Literal["interval", "sd"]


@dataclass(frozen=True)
class Look:
    """How a board is shown in Markdown.

    ``names``: what encoders are called, by their whole text; all others by what tells them apart. ``labels``: those
    that have a table of their own (``all``; names; ``top:K``, the K with the most positives). ``spread``: what stands
    beside a value, its 95% interval, or the SD over training seeds (over folds, where one seed was cross-validated).
    """

    names: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    spread: Spread = "interval"


def cell(r: Record, rank: int | None, spread: Spread) -> str:
    """A value with its rank and marks and what stands beside it; a dash where it is undefined."""
    if math.isnan(r.value):
        return ABSENT
    if not math.isnan(r.by_chance):
        return f"{number(r.value)}{dagger(r)}{by_chance(r)}"
    return f"{ranked(number(r.value), rank)}{dagger(r)}{_beside(r, spread)}{significant(r)}"


def by_chance(r: Record) -> str:
    """In the place of marks and intervals, of what is not tested: what chance alone would give."""
    return f" ({number(r.by_chance)} by chance)"


def significant(r: Record) -> str:
    """The mark of an encoder that is better than the baseline."""
    return " \\*" if r.p_holm < ALPHA else ""


def dagger(r: Record) -> str:
    """The mark of an encoder that has seen images of the dataset."""
    return "†" if r.contaminated else ""


def ranks(values: Mapping[str, float], measure: Measure) -> dict[str, int]:
    """Ranks by the printed value, so that encoders that read the same are marked the same.

    None with one encoder, and of a metric that is not tested: a smaller ECE is no claim.
    """
    if not measure.tested:
        return {}
    printed = {e: round(v, 3) for e, v in values.items() if not math.isnan(v)}
    order = sorted(set(printed.values()), reverse=measure.higher_is_better)
    return {e: order.index(v) + 1 for e, v in printed.items()} if len(printed) > 1 else {}


def best_first(values: Mapping[str, float], measure: Measure) -> list[str]:
    """Encoders by their values, those without one last; what is equal by name."""
    unknown = [e for e, value in values.items() if math.isnan(value)]
    return [*sorted({*values}.difference(unknown), key=lambda e: (-measure.sign * values[e], e)), *sorted(unknown)]


def ranked(text: str, rank: int | None) -> str:
    """Best bold, second underlined."""
    return {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(rank or 0, text)


def _beside(r: Record, spread: Spread) -> str:
    if spread == "sd":
        sd = r.sd_folds if math.isnan(r.sd_seeds) else r.sd_seeds
        return "" if math.isnan(sd) else f" ± {number(sd)}"
    return "" if math.isnan(r.lower) else f" [{r.lower:.3f}, {r.upper:.3f}]"
