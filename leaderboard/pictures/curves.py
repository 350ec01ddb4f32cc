"""ROC and precision-recall curves from saved predictions; their areas are the board's AUROC and AUPRC."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.leaderboard.board import HEADLINE
from cxrbench.leaderboard.calibration.bins import drawable
from cxrbench.leaderboard.families import CLASSIFICATION, FAMILIES
from cxrbench.leaderboard.pictures.polylines import Array, Polyline, corners, mean_line, thinned
from cxrbench.leaderboard.statistics.alignment import TestSet
from cxrbench.leaderboard.statistics.counting import FEWEST_TESTED, rarer_patients
from cxrbench.leaderboard.statistics.in_folds import FOLD

CurveKind = Literal["roc", "pr"]
TOLERANCE = 1e-3
"""How far, at most, a point that is left out lies from the line: a curve's area changes by less than 1e-3."""


@dataclass(frozen=True)
class Curve:
    """One encoder's curve of one ``label``, or the mean over the labels that the headline counts (``macro``).

    ``x``, ``y``: points to be joined by straight lines; ROC: false positive rate and sensitivity; precision-recall:
    recall and precision, in steps whose area is the average precision. ``area``: exactly, before points were left out.
    Several training seeds, folds (each ranked by itself), and the labels of a mean are averaged at each x, so that the
    mean's area is the mean of the areas.
    """

    encoder: str
    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    area: float


@dataclass(frozen=True)
class CurvesOfTask:
    """One classification task. ``counted``: the labels that the mean is over; ``prevalence``: of each of ``labels``."""

    task: str
    protocol: str
    fraction: float
    synthetic: bool
    kind: CurveKind
    labels: tuple[str, ...]
    counted: tuple[str, ...]
    prevalence: tuple[float, ...]
    curves: tuple[Curve, ...]


def curves(
    tests: TestSet, kind: CurveKind, *, labels: Sequence[str] | None = None, tolerance: float = TOLERANCE
) -> CurvesOfTask | None:
    """The mean curve of each encoder, and those of ``labels`` (None: all); None where the task has no such curves.

    Labels without both classes, or of which some encoder has no scores, have none.
    """
    if FAMILIES[tests.kind] is not CLASSIFICATION:
        return None
    usable = [label for label in tests.labels if drawable(tests, label)]
    enough = [x for x in usable if x in tests.groups[HEADLINE] and rarer_patients(tests, x) >= FEWEST_TESTED]
    counted = enough or [x for x in usable if x in tests.groups[HEADLINE]]
    shown = [x for x in usable if labels is None or x in labels]
    found = []
    for encoder in tests.rows:
        lines = {x: _line(tests, encoder, x, _LINES[kind]) for x in dict.fromkeys((*counted, *shown))}
        lines = {x: line for x, line in lines.items() if line is not None}
        of = [lines[x] for x in counted if x in lines]
        means = {HEADLINE: mean_line(of)} if of and len(of) == len(counted) else {}
        for label, line in {**means, **{x: lines[x] for x in shown if x in lines}}.items():
            few = thinned(line, tolerance)
            found.append(Curve(encoder, label, tuple(few.x.tolist()), tuple(few.y.tolist()), line.area()))
    if not found:
        return None
    task = tests.task
    targets = {x: tests.targets[:, tests.labels.index(x)] for x in shown}
    return CurvesOfTask(
        task.title, task.protocol, task.fraction, task.synthetic, kind, tuple(shown), tuple(counted),
        tuple(float(np.nanmean(of)) for of in targets.values()), tuple(found),
    )  # fmt: skip


def roc_line(scores: Array, targets: Array) -> Polyline:
    """From (0, 0) to (1, 1): false positive rate and sensitivity at every threshold, of scores [n] and targets [n]."""
    hits, alarms = _running(scores, targets)
    return Polyline(np.append(0.0, alarms / alarms[-1]), np.append(0.0, hits / hits[-1]))


def pr_line(scores: Array, targets: Array) -> Polyline:
    """Recall and precision in steps, from recall 0 to 1: each threshold's precision holds for the recall it adds."""
    hits, alarms = _running(scores, targets)
    recall, precision = hits / hits[-1], hits / (hits + alarms)
    new = np.flatnonzero(np.diff(recall, prepend=0.0) > 0)
    ends = recall[new]
    return Polyline(np.stack([np.append(0.0, ends[:-1]), ends], axis=1).ravel(), np.repeat(precision[new], 2))


_LINES: Mapping[CurveKind, Callable[[Array, Array], Polyline]] = {"roc": roc_line, "pr": pr_line}


def _running(scores: Array, targets: Array) -> tuple[Array, Array]:
    """True and false positives at each distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ordered, positive = scores[order], targets[order] == 1
    last = np.append(np.diff(ordered) != 0, True)
    return np.cumsum(positive, dtype=np.float64)[last], np.cumsum(~positive, dtype=np.float64)[last]


def _line(tests: TestSet, encoder: str, label: str, draw: Callable[[Array, Array], Polyline]) -> Polyline | None:
    """The mean over training seeds of the mean over folds, weighted by the folds' patients as the board does it."""
    by_seed = [_of_seed(rows, label, tests.patient_codes, draw) for rows in tests.rows[encoder]]
    known = [line for line in by_seed if line is not None]
    return mean_line(known) if len(known) == len(by_seed) else None


def _of_seed(
    rows: pd.DataFrame, label: str, patients: NDArray[np.int64], draw: Callable[[Array, Array], Polyline]
) -> Polyline | None:
    """None where no fold has both classes."""
    scores, targets = (rows[f"{of}:{label}"].to_numpy(np.float64) for of in ("score", "target"))
    folds = rows[FOLD].to_numpy() if FOLD in rows else None
    lines, weights = [], []
    for fold in [None] if folds is None else np.unique(folds):
        here = np.ones(len(rows), dtype=bool) if folds is None else folds == fold
        known = here & ~np.isnan(targets)
        if 0 < targets[known].sum() < known.sum():
            lines.append(corners(draw(scores[known], targets[known])))
            weights.append(1 if folds is None else len(np.unique(patients[here])))
    return mean_line(lines, weights) if lines else None
