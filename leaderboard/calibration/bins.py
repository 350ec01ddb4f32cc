"""The bins of a reliability diagram: what was said against what was so, in 15 bins of equal mass."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrbench.leaderboard.statistics.alignment import TestSet
from cxrbench.leaderboard.statistics.significance import NORMAL, VALUE_LEVEL
from cxrbench.metrics.calibration import ece_mass, mass_bins, nll, prepare_sums
from cxrbench.metrics.prepared import Weights

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """The bins that have images: mean score, share of positives, and its 95% interval, each [bins]."""

    said: Array
    observed: Array
    lower: Array
    upper: Array


def pooled(tests: TestSet, name: str, labels: Sequence[str]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Scores and targets of all labels and training seeds in one row [m], and whose (patient and label) each is [m]."""
    scores = np.concatenate([rows[f"score:{x}"].to_numpy(np.float64) for rows in tests.rows[name] for x in labels])
    targets = np.concatenate([rows[f"target:{x}"].to_numpy(np.float64) for rows in tests.rows[name] for x in labels])
    of_label = tests.patient_codes + tests.patient_count * np.arange(len(labels))[:, None]
    whose = np.tile(of_label.ravel(), len(tests.rows[name]))
    known = ~np.isnan(targets)
    return scores[known], targets[known], whose[known]


def binned(scores: Array, targets: Array, whose: NDArray[np.generic]) -> Bins:
    """The bins of pooled scores [m]: means, and Wilson's interval (1927) of the share of positives.

    Its number of trials is that of different patients (per label) in the bin, not of images: a patient's images are
    alike. Unlike a bootstrap it says something of a bin without positives.
    """
    places, bins = np.unique(mass_bins(scores, targets), return_inverse=True)
    images = np.bincount(bins)
    said, observed = (np.bincount(bins, of) / images for of in (scores, targets))
    patients = np.unique(whose, return_inverse=True)[1]
    trials = np.bincount(np.unique(bins + len(places) * patients) % len(places))
    limits = [_wilson(share, count) for share, count in zip(observed.tolist(), trials.tolist(), strict=True)]
    return Bins(said, observed, *np.array(limits).T)


def _wilson(share: float, trials: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share that need not be a whole number of trials."""
    z = NORMAL.inv_cdf((1 + VALUE_LEVEL) / 2)
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def errors(scores: Array, targets: Array) -> tuple[float, float]:
    """ECE over bins of equal mass, and the log loss, of pooled scores [m]."""
    sums = prepare_sums(scores, targets)(Weights.of(np.ones((len(scores), 1), np.uint16)))
    return float(ece_mass(sums)[0]), float(nll(sums)[0])


def drawable(tests: TestSet, label: str) -> bool:
    """Whether every encoder has scores of the label, and both classes occur."""
    targets = tests.targets[:, tests.labels.index(label)]
    known = ~np.isnan(targets)
    trained = all(
        np.isfinite(rows[f"score:{label}"].to_numpy()[known]).all() for of in tests.rows.values() for rows in of
    )
    return trained and len(np.unique(targets[known])) == 2
