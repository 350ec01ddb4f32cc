"""Are the probabilities right? Calibration metrics of one label, weighted and prepared as in ``classification.py``.

**Bins.** Reliability, resolution and ECE need bins of like scores. Here they are 15 bins of equal *mass*: their edges
are the quantiles of the scores of all images with a known target, each counted once, and they stay there when the
weights change. Scores of rare findings crowd near zero, where bins of equal width put nearly all images into one. Edges
that moved with every resample would make the interval partly one of the choice of bins, and would cost a sort per
replicate. So a repeated image is not the same as a weight of two: it may move an edge when the metric is prepared.

**Bias.** Reliability, resolution, ECE and MCE of a finite sample are too large on average, because every bin's share of
positives is noisy (Broecker 2012; Kumar et al. 2019), and resamples add as much noise again: percentile intervals of
them lie high, too (``leaderboard/calibration/report.py`` uses others). Brier score, skill and log loss have no bins
and no such bias.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cxrbench.metrics.classification import (
    Array,
    Metric,
    Prepared,
    Weights,
    known_targets,
    never_defined,
    ratio,
    weighted_sums,
)

MASS_BINS = 15
EPSILON = float(np.finfo(np.float64).eps)  # scikit-learn's log_loss keeps probabilities this far from 0 and 1


def mass_bins(scores: Array, targets: Array) -> NDArray[np.int64]:
    """The bin [n] of each score, 0 to 14: (edge, edge], edges at the quantiles of the scores with a known target.

    The bins of scikit-learn's ``calibration_curve`` with ``strategy="quantile"``. Equal scores share a bin, so bins
    are unequal, or empty, where many scores are equal.
    """
    known = scores[known_targets(targets)]
    if len(known) == 0:
        return np.zeros(len(scores), np.int64)
    edges = np.percentile(known, np.linspace(0, 1, MASS_BINS + 1)[1:-1] * 100)
    return np.searchsorted(edges, scores)


@dataclass(frozen=True)
class Sums:
    """Weighted sums over the images with a known target: all that the metrics below need.

    By bin [bins, B]: ``weight``, ``forecast`` (of the scores), ``positive`` (of the targets). Over all [B]: ``error``
    (of squared errors), ``loss`` (of minus the log of the probability of what came true).
    """

    weight: Array
    forecast: Array
    positive: Array
    error: Array
    loss: Array

    @property
    def total(self) -> Array:
        """Total weight [B]."""
        return self.weight.sum(0)

    def over_weight(self, products: Array) -> Array:
        """Products [bins, B] over the bin's weight, 0 where it has none, added up to [B]."""
        return ratio(products, self.weight, undefined=0.0).sum(0)


def prepare_sums(scores: Array, targets: Array) -> Callable[[Weights], Sums]:
    """From scores [n] and targets [n] to a function of weights [n, B]. It remembers the sums of the last weights.

    So nine metrics of the same scores cost one matrix product.
    """
    known = known_targets(targets)
    f, o = np.where(known, scores, 0.5), np.nan_to_num(targets)
    if np.isnan(f).any():  # a score is missing: nothing is defined
        known, f = np.full(len(f), np.nan), np.full(len(f), 0.5)
    inside = (mass_bins(f, targets) == np.arange(MASS_BINS)[:, None]) * known
    p = np.clip(f, EPSILON, 1 - EPSILON)
    loss = known * np.where(o == 1, -np.log(p), -np.log1p(-p))
    rows = np.concatenate([inside, inside * f, inside * o, [known * (f - o) ** 2, loss]])
    last: tuple[Weights, Sums] | None = None

    def of_weights(weights: Weights) -> Sums:
        nonlocal last
        if last is None or last[0] is not weights:
            *binned, overall = np.split(rows @ weights.double, [MASS_BINS, 2 * MASS_BINS, 3 * MASS_BINS])
            last = (weights, Sums(*binned, *overall))
        return last[1]

    return of_weights


def brier(s: Sums) -> Array:
    """Brier score (1950), as in ``classification.py``."""
    return ratio(s.error, s.total)


def reliability(s: Sums) -> Array:
    """Reliability: the sum over bins of the bin's share x (mean forecast - share of positives)^2; lower is better.

    Murphy (1973), with the bin's mean forecast in place of one forecast value (Stephenson et al. 2008).
    """
    return ratio(s.over_weight((s.forecast - s.positive) ** 2), s.total)


def resolution(s: Sums) -> Array:
    """Resolution: the sum over bins of the bin's share x (its share of positives - prevalence)^2. Murphy (1973)."""
    prevalence = ratio(s.positive.sum(0), s.total, undefined=0.0)
    return ratio(s.over_weight((s.positive - s.weight * prevalence) ** 2), s.total)


def uncertainty(s: Sums) -> Array:
    """Uncertainty: p (1 - p) of the prevalence p, the Brier score of always saying p. Murphy (1973)."""
    positive = s.positive.sum(0)
    return ratio(positive * (s.total - positive), s.total**2)


def within_bins(s: Sums) -> Array:
    """What bins hide: within-bin variance of the scores minus twice their covariance with the targets.

    Stephenson, Coelho and Jolliffe (2008), two terms in one: with them the sum is exact for scores that are not all
    equal inside a bin: Brier score = reliability - resolution + uncertainty + this. Negative where scores still tell
    positives from negatives inside bins.
    """
    # Targets are 0 or 1, so the sum of f^2 - 2 f o over images is that of (f - o)^2 minus the positives.
    whole = s.error - s.positive.sum(0)
    return ratio(whole - s.over_weight(s.forecast * (s.forecast - 2 * s.positive)), s.total)


def brier_skill(s: Sums) -> Array:
    """Brier skill score, 1 - BS / BS_ref; 1 is perfect, 0 is no better than always saying the prevalence.

    The reference says the *test* prevalence under the same weights, which no forecaster knows beforehand, so the score
    is slightly strict. Its Brier score is the uncertainty; NaN where that is 0 (one class only).
    """
    bs, bs_ref = brier(s), uncertainty(s)
    return ratio(bs_ref - bs, bs_ref)


def ece_mass(s: Sums) -> Array:
    """Expected calibration error over bins of equal mass: the bin's share x |mean forecast - share of positives|.

    Naeini et al. (2015); equal mass: Nguyen and O'Connor (2015), "adaptive" in Nixon et al. (2019).
    """
    return ratio(np.abs(s.forecast - s.positive).sum(0), s.total)


def mce(s: Sums) -> Array:
    """Maximum calibration error: the largest |mean forecast - share of positives| of a bin. Naeini et al. (2015)."""
    gaps = ratio(np.abs(s.forecast - s.positive), s.weight, undefined=0.0)
    return np.where(s.total > 0, gaps.max(0), np.nan)


def nll(s: Sums) -> Array:
    """Negative log-likelihood (log loss) in nats per image; probabilities are kept 2^-52 from 0 and 1.

    scikit-learn's ``log_loss``: a certain and wrong forecast costs 36 nats, not infinity.
    """
    return ratio(s.loss, s.total)


def nll_of_classes(scores: Array, targets: Array) -> Prepared:
    """The same for exclusive classes, scores and targets [n, classes]: minus the log of the true class's probability.

    A row with an unknown target has weight zero.
    """
    known = known_targets(targets.sum(1))
    if np.isnan(scores[known]).any():
        return never_defined
    true = np.where(known, np.nan_to_num(scores * targets).sum(1), 1.0)
    losses = -np.log(np.clip(true, EPSILON, 1 - EPSILON))
    sums = weighted_sums((np.where(known, losses, 0.0), known))
    return lambda weights: ratio(*sums(weights))


Formula = Callable[[Sums], Array]


def prepare(scores: Array, targets: Array, formula: Formula) -> Prepared:
    """One metric of scores [n] against targets [n]."""
    sums = prepare_sums(scores, targets)
    return lambda weights: formula(sums(weights))


def _metric(title: str, formula: Formula, higher_is_better: bool = False) -> Metric:
    return Metric(formula.__name__, title, partial(prepare, formula=formula), higher_is_better)


FORMULAS: dict[str, Formula] = {
    formula.__name__: formula
    for formula in (brier, reliability, resolution, uncertainty, within_bins, brier_skill, ece_mass, mce, nll)
}

CALIBRATION: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _metric("Brier score", brier),
        _metric("Reliability", reliability),
        _metric("Resolution", resolution, higher_is_better=True),
        _metric("Uncertainty", uncertainty),
        _metric("Within bins", within_bins),
        _metric("Brier skill", brier_skill, higher_is_better=True),
        _metric("ECE (equal mass)", ece_mass),
        _metric("MCE", mce),
        _metric("NLL", nll),
    )
}
"""Not among ``METRICS``: the board compares encoders by the probabilities as they are, where the Brier score and the
papers' ECE say it already, and these numbers mean most beside what recalibration makes of them."""
