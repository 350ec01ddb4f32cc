"""Are the probabilities right? Calibration metrics of one label, weighted and prepared as in ``cxrbench.metrics``.

**Bins.** Reliability, resolution and ECE need bins of like scores. Here they are 15 bins of equal *mass*: their edges
are the quantiles of the scores of all images with a known target, each counted once, and they stay there when the
weights change. Scores of rare findings crowd near zero, where bins of equal width put nearly all images into one. Edges
that moved with every resample would make the interval partly one of the choice of bins, and would cost a sort per
replicate. So a repeated image is not the same as a weight of two: it may move an edge when the metric is prepared.

**Bias.** Reliability, resolution and ECE of a finite sample are too large on average, because every bin's share of
positives is noisy (Broecker 2012; Kumar et al. 2019), and resamples add as much noise again: their percentile intervals
lie high, too. Brier score, skill and log loss have no bins and no such bias.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.metrics import METRICS, Array, Metric, Prepared, Weights, brier, known_targets, ratio, weighted_sums

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
class _BinSums:
    """Weighted sums [bins, B]: ``total`` of ones, ``forecast`` of scores, ``positive`` of targets."""

    total: Tensor
    forecast: Tensor
    positive: Tensor

    @staticmethod
    def prepare(scores: Array, targets: Array) -> Callable[[Weights], "_BinSums"]:
        """From weights to sums, over the images with a known target."""
        known = known_targets(targets)
        inside = (mass_bins(scores, targets) == np.arange(MASS_BINS)[:, None]) & known
        rows = np.concatenate([inside, inside * np.nan_to_num(scores), inside * np.nan_to_num(targets)])

        def of_weights(weights: Weights) -> "_BinSums":
            return _BinSums(*weighted_sums(rows, weights).split(MASS_BINS))

        return of_weights

    @property
    def overall(self) -> Tensor:
        """Total weight [B]."""
        return self.total.sum(0)

    def squares(self, sums: Tensor) -> Tensor:
        """Sums [bins, B] squared over the bin's weight; 0 where a bin has none."""
        return torch.where(self.total > 0, sums**2 / self.total, 0.0)


def reliability(scores: Array, targets: Array) -> Prepared:
    """Reliability: the sum over bins of the bin's share x (mean forecast - share of positives)^2; lower is better.

    Murphy (1973), with the bin's mean forecast in place of one forecast value (Stephenson et al. 2008).
    """
    prepared = _BinSums.prepare(scores, targets)

    def of_weights(weights: Weights) -> Array:
        sums = prepared(weights)
        return ratio(sums.squares(sums.forecast - sums.positive).sum(0), sums.overall)

    return of_weights


def resolution(scores: Array, targets: Array) -> Prepared:
    """Resolution: the sum over bins of the bin's share x (its share of positives - prevalence)^2. Murphy (1973)."""
    prepared = _BinSums.prepare(scores, targets)

    def of_weights(weights: Weights) -> Array:
        sums = prepared(weights)
        overall = sums.overall
        prevalence = torch.where(overall > 0, sums.positive.sum(0) / overall, 0.0)
        return ratio(sums.squares(sums.positive - sums.total * prevalence).sum(0), overall)

    return of_weights


def uncertainty(scores: Array, targets: Array) -> Prepared:
    """Uncertainty: p (1 - p) of the prevalence p, the Brier score of always saying p. Murphy (1973)."""
    del scores
    rows = (np.nan_to_num(targets), known_targets(targets))

    def of_weights(weights: Weights) -> Array:
        positive, total = weighted_sums(rows, weights)
        return ratio(positive * (total - positive), total**2)

    return of_weights


def within_bins(scores: Array, targets: Array) -> Prepared:
    """What bins hide: within-bin variance of the scores minus twice their covariance with the targets.

    Stephenson, Coelho and Jolliffe (2008), two terms in one: with them the sum is exact for scores that
    are not all equal inside a bin: Brier score = reliability - resolution + uncertainty + this. Negative where scores
    still tell positives from negatives inside bins.
    """
    binned = _BinSums.prepare(scores, targets)
    f, o = np.where(known_targets(targets), scores, 0.0), np.nan_to_num(targets)
    whole = (f * f - 2 * f * o,)

    def of_weights(weights: Weights) -> Array:
        sums = binned(weights)
        between = torch.where(sums.total > 0, sums.forecast * (sums.forecast - 2 * sums.positive) / sums.total, 0.0)
        return ratio(weighted_sums(whole, weights)[0] - between.sum(0), sums.overall)

    return of_weights


def brier_skill(scores: Array, targets: Array) -> Prepared:
    """Brier skill score, 1 - BS / BS_ref; 1 is perfect, 0 is no better than always saying the prevalence.

    The reference says the *test* prevalence under the same weights, which no forecaster knows beforehand, so the score
    is slightly strict. Its Brier score is the uncertainty; NaN where that is 0 (one class only).
    """
    score, reference = brier(scores, targets), uncertainty(scores, targets)

    def of_weights(weights: Weights) -> Array:
        bs, bs_ref = (torch.from_numpy(each(weights)) for each in (score, reference))
        return ratio(bs_ref - bs, bs_ref)

    return of_weights


def nll(scores: Array, targets: Array) -> Prepared:
    """Negative log-likelihood (log loss) in nats per image; probabilities are kept 2^-52 from 0 and 1.

    scikit-learn's ``log_loss``: a certain and wrong forecast costs 36 nats, not infinity.
    """
    known = known_targets(targets)
    p = np.clip(np.where(known, scores, 0.5), EPSILON, 1 - EPSILON)
    losses = np.where(known, np.where(targets == 1, -np.log(p), -np.log1p(-p)), 0.0)
    return lambda weights: ratio(*weighted_sums((losses, known), weights))


def nll_of_classes(scores: Array, targets: Array) -> Prepared:
    """The same for exclusive classes, scores and targets [n, classes]: minus the log of the true class's probability.

    A row with an unknown target has weight zero.
    """
    known = known_targets(targets.sum(1))
    true = np.where(known, np.nan_to_num(scores * targets).sum(1), 1.0)
    losses = -np.log(np.clip(true, EPSILON, 1 - EPSILON))
    return lambda weights: ratio(*weighted_sums((np.where(known, losses, 0.0), known), weights))


def ece_mass(scores: Array, targets: Array) -> Prepared:
    """Expected calibration error over bins of equal mass: the bin's share x |mean forecast - share of positives|.

    Naeini et al. (2015); equal mass: Nguyen and O'Connor (2015), "adaptive" in Nixon et al. (2019).
    """
    prepared = _BinSums.prepare(scores, targets)

    def of_weights(weights: Weights) -> Array:
        sums = prepared(weights)
        return ratio((sums.forecast - sums.positive).abs().sum(0), sums.overall)

    return of_weights


def mce(scores: Array, targets: Array) -> Prepared:
    """Maximum calibration error: the largest |mean forecast - share of positives| of a bin that has weight.

    Naeini et al. (2015).
    """
    prepared = _BinSums.prepare(scores, targets)

    def of_weights(weights: Weights) -> Array:
        sums = prepared(weights)
        gaps = torch.where(sums.total > 0, (sums.forecast - sums.positive).abs() / sums.total, 0.0)
        return torch.where(sums.overall > 0, gaps.amax(0), torch.nan).numpy()

    return of_weights


CALIBRATION: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        METRICS["brier"],
        Metric("reliability", "Reliability", reliability, higher_is_better=False),
        Metric("resolution", "Resolution", resolution),
        Metric("uncertainty", "Uncertainty", uncertainty, higher_is_better=False),
        Metric("within_bins", "Within bins", within_bins, higher_is_better=False),
        Metric("brier_skill", "Brier skill", brier_skill),
        Metric("ece_mass", "ECE (equal mass)", ece_mass, higher_is_better=False),
        Metric("mce", "MCE", mce, higher_is_better=False),
        Metric("nll", "NLL", nll, higher_is_better=False),
    )
}
"""Not among ``METRICS``: the board compares encoders by the probabilities as they are, where the Brier score and the
papers' ECE say it already, and these numbers mean most beside what recalibration makes of them."""
