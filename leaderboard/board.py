"""What a board holds: one tidy record per encoder, task, metric and label; one column per task."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cxrbench.leaderboard.alignment import AlignedTask
from cxrbench.predictions import Kind

HEADLINE = "macro"
NAN = float("nan")


@dataclass(frozen=True)
class Record:
    """One row of the CSV: a metric of an encoder on a task's label, or on a group of labels (``macro``: the headline).

    ``p``: one-tailed against the baseline; ``p_holm``: corrected over the table it stands in (headline: all encoders
    and datasets of the metric and protocol; else: all encoders, labels and groups of the metric and task). ``gain``:
    improvement over the baseline, positive is better, with its interval. ``tie_group``: letters, headline only.
    ``undefined``: replicates that were NaN. ``se_patients``, ``se_seeds``: standard errors from patients and from
    training seeds. ``n``: test images (or queries) with a known target; ``positives``: those where it is above 0.
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
    tie_group: str = ""
    baseline: str = ""
    gain: float = NAN
    gain_lower: float = NAN
    gain_upper: float = NAN
    patients: int = 0
    positives: int | None = None
    seeds: int = 1
    se_patients: float = NAN
    se_seeds: float = NAN
    undefined: int = 0
    synthetic: bool = False
    contaminated: bool = False
    note: str = ""


@dataclass(frozen=True)
class Column:
    """What a reader must know of one task.

    Its test set (``rows``: images, or queries), how many ``labels`` a mean is over, the ``metrics`` it has (headline
    first), what it can detect (by metric), its notes, and the encoders that could not be asked (with the reason).
    """

    task: AlignedTask
    kind: Kind
    labels: int
    rows: int
    patients: int
    metrics: tuple[str, ...]
    detectable: Mapping[str, float]
    notes: tuple[str, ...]
    not_applicable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Board:
    """Everything that the leaderboard prints.

    ``efficiency``: by encoder, then by quantity. ``nowhere``: the tasks that no encoder could be asked, and why.
    ``remarks``: what concerns the whole board: stale cells that were left out, library versions that differ.
    """

    records: tuple[Record, ...]
    columns: tuple[Column, ...]
    baseline: str | None
    replicates: int
    seed: int
    efficiency: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    nowhere: Mapping[AlignedTask, Mapping[str, str]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
