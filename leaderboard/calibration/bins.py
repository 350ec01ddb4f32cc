"""The bins of a reliability diagram: what was said against what was so, in 15 bins of equal mass."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from cxrbench.leaderboard.statistics.alignment import TestSet
from cxrbench.metrics.calibration import CALIBRATION, mass_bins

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """The bins that have images: mean score, share of positives, and its 95% interval, each [bins]."""

    said: Array
    observed: Array
    lower: Array
    upper: Array


def pooled(tests: TestSet, name: str, labels: Sequence[str]) -> tuple[Array, Array, NDArray[np.str_]]:
    """Scores and targets of all labels and training seeds in one row [m], and whose (patient and label) each is [m]."""
    scores = np.concatenate([rows[f"score:{x}"].to_numpy(np.float64) for rows in tests.rows[name] for x in labels])
    targets = np.concatenate([rows[f"target:{x}"].to_numpy(np.float64) for rows in tests.rows[name] for x in labels])
    whose = np.concatenate([np.char.add(f"{x}|", tests.patients) for _ in tests.rows[name] for x in labels])
    known = ~np.isnan(targets)
    return scores[known], targets[known], whose[known]


def binned(scores: Array, targets: Array, whose: NDArray[np.str_]) -> Bins:
    """The bins of pooled scores [m]: means, and Wilson's interval (1927) of the share of positives.

    Its number of trials is that of different patients (per label) in the bin, not of images: a patient's images are
    alike. Unlike a bootstrap it says something of a bin without positives.
    """
    bins = mass_bins(scores, targets)
    rows = []
    for b in np.unique(bins):
        inside = bins == b
        share, trials = targets[inside].mean(), len(np.unique(whose[inside]))
        limits = _wilson(float(share), trials)
        rows.append((scores[inside].mean(), share, *limits))
    return Bins(*np.array(rows).T)


def _wilson(share: float, trials: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share that need not be a whole number of trials."""
    z = float(norm.ppf(0.975))
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def errors(scores: Array, targets: Array) -> tuple[float, float]:
    """ECE over bins of equal mass, and the log loss, of pooled scores [m]."""
    once = np.ones((len(scores), 1))
    ece, loss = (CALIBRATION[name](scores, targets, once)[0] for name in ("ece_mass", "nll"))
    return float(ece), float(loss)


def drawable(tests: TestSet, label: str) -> bool:
    """Whether every encoder has scores of the label, and both classes occur."""
    targets = tests.targets[:, tests.labels.index(label)]
    known = ~np.isnan(targets)
    trained = all(np.isfinite(rows[f"score:{label}"][known]).all() for of in tests.rows.values() for rows in of)
    return trained and len(np.unique(targets[known])) == 2
