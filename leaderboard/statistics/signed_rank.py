"""Would it be better on another data set? The Bayesian signed-rank test with a region of practical equivalence."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.leaderboard.statistics.bootstrap import stream

ROPE = 0.01
"""Differences of metrics in [0, 1] that do not matter in practice, unless the user says otherwise (``--rope``)."""
FEWEST_DATASETS = 5
"""Below which the prior has too much of a say."""
PRIOR, DRAWS = 0.5, 50_000


class OverDatasets(NamedTuple):
    """Posterior probabilities, of data sets at large: ``better`` by more than the rope, ``equal``, ``worse``."""

    better: float
    equal: float
    worse: float


def over_datasets(gains: NDArray[np.float64], rope: float, seed: int) -> OverDatasets:
    """From one gain per data set [n], positive is better; NaN where there are fewer than ``FEWEST_DATASETS``.

    Benavoli et al. (2014; 2017, section 4.3): the distribution of gains is a Dirichlet process, its prior half a data
    set without a difference. A draw w of its weights says with which probability the mean of two random data sets'
    gains, a Walsh average, is above the rope, in it, or below; the posterior is how often each of the three is the
    largest. Data sets are exchangeable, and their gains are taken as they were measured. The rope's edge is within.
    """
    if len(gains) < FEWEST_DATASETS:
        return OverDatasets(np.nan, np.nan, np.nan)
    z = np.append(0.0, gains)
    walsh = (z[:, None] + z) / 2
    generator = np.random.default_rng(stream("", seed, "signed rank"))
    weights = generator.dirichlet(np.append(PRIOR, np.ones(len(gains))), DRAWS)
    above, below = (((weights @ side) * weights).sum(1) for side in (walsh > rope, walsh < -rope))
    largest = np.argmax([above, 1 - above - below, below], axis=0)
    return OverDatasets(*(np.bincount(largest, minlength=3) / DRAWS).tolist())
