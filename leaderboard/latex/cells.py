"""Cells of a table in LaTeX: a value in a column that siunitx aligns, and in the next what stands beside it."""

import math
from collections.abc import Iterable

from cxrbench.leaderboard.board import Overall, Record
from cxrbench.leaderboard.cells import Spread
from cxrbench.leaderboard.render import ABSENT, NOT_APPLICABLE, number
from cxrbench.leaderboard.statistics.significance import ALPHA

NOTHING = "{--} & "
NEVER_ASKED = f"{{{NOT_APPLICABLE}}} & "
PAIR = "S[table-format={},detect-weight]@{{\\,}}l"


def pair_of(values: Iterable[float]) -> str:
    """The two columns of values with three digits after the point, as wide as the longest needs."""
    known = [value for value in values if not math.isnan(value)]
    digits = max((len(f"{abs(value):.0f}") for value in known), default=1)
    return PAIR.format(f"{'-' if any(value < 0 for value in known) else ''}{digits}.3")


def value_cell(r: Record, place: int | None, spread: Spread, letters: str) -> str:
    """A value with its place, its marks and what stands beside it. ``letters``: of its tie groups, "" for none."""
    if math.isnan(r.value):
        return NOTHING
    dagger = "$^{\\dagger}$" if r.contaminated else ""
    if not math.isnan(r.by_chance):
        return f"{number(r.value)} & {dagger}(\\num{{{number(r.by_chance)}}} by chance)"
    marks = ("*" if r.p_holm < ALPHA else "") + letters.replace(ABSENT, "--")
    raised = f"\\textsuperscript{{{marks}}}" if marks else ""
    return f"{ranked(number(r.value), place)} & {dagger}{_beside(r, spread)}{raised}"


def short_cell(r: Record, place: int | None) -> str:
    """A value with its place and its mark, in one column."""
    if math.isnan(r.value):
        return ABSENT.replace(ABSENT, "--")
    if not math.isnan(r.by_chance):
        return f"\\num{{{number(r.value)}}} (\\num{{{number(r.by_chance)}}} by chance)"
    text = f"\\num{{{number(r.value)}}}"
    text = {1: f"\\textbf{{{number(r.value)}}}", 2: f"\\underline{{{text}}}"}.get(place or 0, text)
    return text + ("\\textsuperscript{*}" if r.p_holm < ALPHA else "")


def mean_cell(value: float, place: int | None, one: Overall | None) -> str:
    """A mean over the columns with its interval and its mark."""
    if math.isnan(value):
        return NOTHING
    if one is None or math.isnan(one.lower):
        return f"{ranked(number(value), place)} & "
    mark = "\\textsuperscript{*}" if one.p_holm < ALPHA else ""
    return f"{ranked(number(value), place)} & {interval(one.lower, one.upper)}{mark}"


def ranked(text: str, place: int | None) -> str:
    """Best bold, second underlined, in a column that siunitx reads."""
    return {1: f"\\bfseries {text}", 2: f"{{\\underline{{\\num{{{text}}}}}}}"}.get(place or 0, text)


def interval(lower: float, upper: float, digits: int = 3) -> str:
    """Two limits, smaller than the value that they belong to."""
    return f"{{\\scriptsize [{signed(lower, digits)}, {signed(upper, digits)}]}}"


def signed(value: float, digits: int = 3, plus: bool = False) -> str:
    """A number for siunitx; ``plus``: with a sign in any case."""
    return f"{'$+$' if plus and value >= 0 else ''}\\num{{{value:.{digits}f}}}"


def _beside(r: Record, spread: Spread) -> str:
    if spread == "sd":
        sd = r.sd_folds if math.isnan(r.sd_seeds) else r.sd_seeds
        return "" if math.isnan(sd) else f"{{\\scriptsize $\\pm$ \\num{{{number(sd)}}}}}"
    return "" if math.isnan(r.lower) else interval(r.lower, r.upper)
