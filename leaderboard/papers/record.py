"""One cell of a paper's table: ours, the paper's, and what tells them apart."""

import math
from dataclasses import dataclass

from cxrbench.leaderboard.board import NAN

PAPER_ALONE = "only the paper has it"
"""The reason of a cell that no run can fill: costs, counts of data, differences."""


@dataclass(frozen=True)
class PaperRecord:
    """A cell, numbers in the paper's unit.

    ``encoder``: the spec that was run, "" where none was. ``value``, ``lower``, ``upper``: ours with its 95% interval
    over patients. ``statistic``: which one the paper prints (run, seeds, folds, resamples); ``centre``, ``spread``: its
    value and SD here, of folds; ``low``, ``high``: its 95% limits, of resamples. ``published``, ``published_spread``:
    as printed; ``published_n``: its test images, "" where it does not say; ``n``: ours. ``differs``: the published
    value lies outside our interval; never of synthetic results. ``p``, ``gain``: of check marks, one-tailed, over the
    baseline. ``contaminated``: the encoder has seen images of the dataset. ``digits``: after the
    point, as printed. ``reason``: why there is no value of ours.
    """

    paper: str
    table: str
    row: str
    column: str
    encoder: str
    dataset: str
    protocol: str
    fraction: float
    metric: str
    label: str
    value: float = NAN
    lower: float = NAN
    upper: float = NAN
    n: int = 0
    seeds: int = 0
    statistic: str = "run"
    centre: float = NAN
    spread: float = NAN
    low: float = NAN
    high: float = NAN
    published: str = ""
    published_spread: str = ""
    published_n: str = ""
    source: str = ""
    differs: bool = False
    p: float = NAN
    gain: float = NAN
    contaminated: bool = False
    synthetic: bool = False
    digits: int = 3
    reason: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether there is a value of ours."""
        return not math.isnan(self.value)


def differs(lower: float, upper: float, published: float | None, rounding: float) -> bool:
    """Whether a printed number lies outside an interval by more than its ``rounding``; False where any is unknown."""
    if published is None or math.isnan(rounding):
        return False
    return published < lower - rounding or published > upper + rounding
