"""What a board holds: one tidy record per encoder, task, metric and label; one column per task."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cxrbench.leaderboard.columns.heads import Head
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.predictions import Kind

HEADLINE = "macro"
NAN = float("nan")


@dataclass(frozen=True)
class Record:
    """One row of the CSV: a metric of an encoder on a task's label, or on a group of labels (``macro``: the headline).

    ``lower``, ``upper``: 95% interval. ``p``: one-tailed against the baseline; ``p_holm``: corrected over its family
    (headline: all encoders and datasets of the metric, protocol and label fraction; else: all encoders, labels and
    groups of the metric and task); ``p_percentile``: the percentile bootstrap's, which knows no seeds. ``gain``:
    improvement over the baseline, positive is better, with its 90% interval: the lower limit is where the one-tailed
    test ends. ``tie_group``: letters, headline only. ``se_patients``, ``se_seeds``: standard errors from patients and
    from training seeds. ``n``: test images (or queries) with a known target; ``positives``: those where it is above 0;
    ``rarer``: patients of the rarer side. ``sd_folds``: over the folds of a cross-validation; ``sd_seeds``: over the
    training seeds, as papers print it. ``by_chance``: what a perfectly calibrated encoder with these scores would be
    expected to have (ECE). ``assumed``: what nobody said of the encoder and was taken for granted, e.g. how it wants
    its images.
    """

    encoder: str
    dataset: str
    protocol: str
    fraction: float
    metric: str
    label: str
    value: float
    lower: float
    upper: float
    n: int
    p: float = NAN
    p_holm: float = NAN
    p_percentile: float = NAN
    tie_group: str = ""
    baseline: str = ""
    gain: float = NAN
    gain_lower: float = NAN
    gain_upper: float = NAN
    patients: int = 0
    positives: int | None = None
    rarer: int = 0
    seeds: int = 1
    se_patients: float = NAN
    se_seeds: float = NAN
    sd_folds: float = NAN
    sd_seeds: float = NAN
    by_chance: float = NAN
    synthetic: bool = False
    contaminated: bool = False
    note: str = ""
    assumed: str = ""

    @property
    def task(self) -> AlignedTask:
        """The column that it stands in."""
        return AlignedTask(self.synthetic, self.dataset, self.protocol, self.fraction)


@dataclass(frozen=True)
class Column:
    """What a reader must know of one task.

    Its test set (``rows``: images, or queries), the ``labels`` of its headline, the ``metrics`` it has (headline
    first), what it can detect (by metric), its notes, and the encoders that could not be asked (with the reason).
    ``apart``: by metric, of each pair of encoders the two-sided p of the headline's difference, Holm over all pairs of
    the metric, protocol and label fraction; NaN where no test was made. Where it is below 5% they share no letter.
    """

    task: AlignedTask
    kind: Kind
    labels: tuple[str, ...]
    rows: int
    patients: int
    metrics: tuple[str, ...]
    detectable: Mapping[str, float]
    notes: tuple[str, ...]
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    apart: Mapping[str, Mapping[tuple[str, str], float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Overall:
    """One encoder over the columns of a table, all of which it has.

    ``value``: mean over the columns, with its 95% interval; ``gain``: of the mean over the baseline's, with its 90%
    interval and one-tailed p, Holm over the table's encoders. ``rank``: mean over the columns, with the 95% percentile
    interval over the replicates; ``best``: share of the replicates in which its mean is the best of all. The columns'
    test sets are resampled by themselves, so all of that is about these test sets' patients. ``better``, ``equal``,
    ``worse``: about data sets at large, the posterior of the Bayesian signed-rank test that the gain over the baseline
    is above the board's ``rope``, within it, or below; from five data sets on, of metrics in [0, 1]. ``apart``: by each
    other encoder the two-sided p of the difference of the means, Holm over all pairs of the table; NaN: not tested.
    """

    encoder: str
    value: float
    lower: float
    upper: float
    rank: float
    rank_lower: float
    rank_upper: float
    best: float
    wins: Mapping[str, float]
    gain: float = NAN
    gain_lower: float = NAN
    gain_upper: float = NAN
    p: float = NAN
    p_holm: float = NAN
    better: float = NAN
    equal: float = NAN
    worse: float = NAN
    apart: Mapping[str, float] = field(default_factory=dict)


Table = tuple[str, str, float, bool]
"""Metric, protocol, label fraction, whether synthetic: what a headline table, and a family of tests, is of."""


@dataclass(frozen=True)
class Board:
    """Everything that the leaderboard prints.

    ``efficiency``: by encoder, then by quantity. ``heads``: decoders and detection heads. ``nowhere``: the tasks that
    no encoder could be asked, and why. ``remarks``: what concerns the whole board: stale cells that were left out,
    library versions that differ. ``overall``: of tables with several columns, their encoders over all of them;
    ``rope``: differences that do not matter in them. ``encoder``: the one encoder, where its protocols stand in the
    place of encoders.
    """

    records: tuple[Record, ...]
    columns: tuple[Column, ...]
    baseline: str | None
    replicates: int
    seed: int
    efficiency: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    heads: tuple[Head, ...] = ()
    nowhere: Mapping[AlignedTask, Mapping[str, str]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    overall: Mapping[Table, tuple[Overall, ...]] = field(default_factory=dict)
    rope: float = NAN
    encoder: str = ""

    @property
    def row(self) -> str:
        """What a row of its tables is: an encoder, or a protocol of one."""
        return "protocol" if self.encoder else "encoder"
