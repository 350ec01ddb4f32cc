"""Weighted metrics of one label, at many weightings at once: no metric has a loop over bootstrap replicates.

A metric is *prepared* once on a label's scores and targets (sorting, binning) and then applied to weights [n, B]: all
ones for the point estimate, resample counts for the bootstrap. A missing target (NaN) has weight zero. A value that the
data do not define is NaN, never 0 or 0.5; so is a metric of scores of which one is NaN beside a known target.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cxrbench.metrics.prepared import Array, OfSums, Prepared, Sums, Weights, never_defined

ECE_BINS = 15


@dataclass(frozen=True)
class Metric:
    """A metric of one label. ``prepare(scores [n], targets [n])`` gives a function of weights [n, B] to values [B].

    ``on_decisions``: it wants decisions (1 or 0) instead of scores: score >= 0.5, or for exclusive classes whether the
    class has the highest score. ``ranks``, ``tested``: as in ``Measure``.
    """

    name: str
    title: str
    prepare: Callable[[Array, Array], Prepared]
    higher_is_better: bool = True
    on_decisions: bool = False
    ranks: bool = False
    tested: bool = True

    def __call__(self, scores: Array, targets: Array, weights: NDArray[np.generic]) -> Array:
        """Values [B] of scores [n] against targets [n] (1, 0, NaN where unknown) under weights [n, B]."""
        return self.prepare(scores, targets)(Weights.of(weights))


def _of_whole_scores(prepare: Callable[[Array, Array], Prepared]) -> Callable[[Array, Array], Prepared]:
    """``prepare``, but never defined where a score (or decision) beside a known target is NaN.

    NaN sorts above every number and is no decision, so a metric would come out, and would be wrong.
    """

    @wraps(prepare)
    def checked(scores: Array, targets: Array) -> Prepared:
        if np.isnan(scores[known_targets(targets)]).any():
            return never_defined
        return prepare(scores, targets)

    return checked


@_of_whole_scores
def auroc(scores: Array, targets: Array) -> Prepared:
    """Area under the ROC curve: P(positive scores higher) + P(tie) / 2. Hanley and McNeil (1982); ties by midranks.

    With p_j the weight of positives at the j-th distinct positive score, AUROC is the sum over j of p_j times (the
    weight of negatives below + half of those tied), over the product of both classes' weights: one pass over the
    negatives in score order. Where negatives are the rarer class the roles are swapped and the order turned, which
    gives the same sum.
    """
    positive, negative = targets == 1, targets == 0
    if positive.sum() <= negative.sum():
        rare, common, key = positive, negative, scores
    else:
        rare, common, key = negative, positive, -scores
    values, rare_sums = _by_value(key, rare)
    rows, left, right = _place(key, common, values)
    below_sums = RowSums.at(rows, left, len(key))
    tied = np.flatnonzero(left < right)
    tied_sums = RowSums.between(rows, left[tied], right[tied], len(key))

    def of_weights(weights: Weights) -> Array:
        at_value, between = rare_sums(weights.sums), below_sums(weights.sums)
        below = between.cumsum(0)
        wins = _dot(at_value, below[:-1])
        if len(tied):
            wins += _dot(at_value[tied], tied_sums(weights.sums)) / 2
        return ratio(wins, at_value.sum(0, dtype=np.float64) * below[-1])

    return of_weights


@_of_whole_scores
def auprc(scores: Array, targets: Array) -> Prepared:
    """Average precision, as scikit-learn's: the sum over thresholds of precision x the step in recall."""
    positive, negative = targets == 1, targets == 0
    values, positive_sums = _by_value(-scores, positive)
    rows, _, right = _place(-scores, negative, values)
    negative_sums = RowSums.at(rows, right, len(scores))

    def of_weights(weights: Weights) -> Array:
        steps = positive_sums(weights.sums).astype(np.float64)
        hits = steps.cumsum(0)
        false_alarms = negative_sums(weights.sums).cumsum(0)
        # A threshold with no weight has no step in recall: 0 / 0 counts 0 there.
        precision = ratio(hits, hits + false_alarms[:-1], undefined=0.0)
        total, negatives = steps.sum(0), false_alarms[-1]
        return ratio(_dot(steps, precision), np.where(negatives > 0, total, 0.0))

    return of_weights


@_of_whole_scores
def f1(decisions: Array, targets: Array) -> Prepared:
    """F1 = 2 TP / (2 TP + FP + FN) of decisions (1 or 0); NaN where no positive has weight (scikit-learn says 0)."""
    hit, wrong, positive = (
        (decisions == 1) & (targets == 1),
        (decisions != targets) & known_targets(targets),
        targets == 1,
    )

    def of_sums(sums: Array) -> Array:
        hits, errors, positives = sums
        return ratio(2 * hits, np.where(positives > 0, 2 * hits + errors, 0.0))

    return OfSums.of((hit, wrong, positive), of_sums)


@_of_whole_scores
def accuracy(decisions: Array, targets: Array) -> Prepared:
    """Weighted share of decisions (1 or 0) that equal the target."""
    return OfSums.of((decisions == targets, known_targets(targets)), lambda sums: ratio(*sums))


@_of_whole_scores
def brier(scores: Array, targets: Array) -> Prepared:
    """Brier score: weighted mean squared error of probabilities. Brier (1950), the form for one event."""
    errors = np.nan_to_num((scores - targets) ** 2)
    return OfSums.of((errors, known_targets(targets)), lambda sums: ratio(*sums))


@_of_whole_scores
def ece(scores: Array, targets: Array) -> Prepared:
    """Expected calibration error of the probability of the finding, 15 bins of equal width, (l, u] and 0 in the first.

    The sum over bins of the bin's share of the weight x |mean probability - share of positives|. Naeini et al. (2015);
    bins as Guo et al. (2017).
    """
    known = known_targets(targets)
    bins = np.clip(np.ceil(np.nan_to_num(scores) * ECE_BINS) - 1, 0, ECE_BINS - 1)
    gaps = np.where(known, scores - np.nan_to_num(targets), 0.0)
    return OfSums.of(
        (*((bins == b) * gaps for b in range(ECE_BINS)), known),
        lambda sums: ratio(np.abs(sums[:-1]).sum(0), sums[-1]),
    )


def ece_by_chance(scores: Array, targets: Array) -> float:
    """What ``ece`` is expected to be if the probabilities [n] are exactly right, for targets drawn from them.

    In a bin the sum of p - y then is nearly normal about 0 with variance sum p (1 - p), and the mean of its absolute
    value sqrt(2 / pi) times its SD. It falls with the number of images and with the bins that are used, which is why an
    encoder that says the same of every image has the smallest ECE of all calibrated ones.
    """
    known = known_targets(targets)
    p = scores[known]
    bins = np.clip(np.ceil(p * ECE_BINS) - 1, 0, ECE_BINS - 1).astype(np.int64)
    variances = np.bincount(bins, p * (1 - p), minlength=ECE_BINS)
    return float(np.sqrt(2 / np.pi) * np.sqrt(variances).sum() / max(1, len(p)))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("auroc", "AUROC", auroc, ranks=True),
        Metric("auprc", "AUPRC", auprc, ranks=True),
        Metric("f1", "F1", f1, on_decisions=True),
        Metric("accuracy", "Accuracy", accuracy, on_decisions=True),
        Metric("brier", "Brier score", brier, higher_is_better=False),
        Metric("ece", "ECE", ece, higher_is_better=False, tested=False),
    )
}


def decide(scores: Array, kind: str) -> Array:
    """Decisions [n, labels] (1 or 0): score >= 0.5 (``multilabel``), or the class of highest score (``multiclass``).

    NaN where the score is NaN; for exclusive classes, where any score of the row is.
    """
    if kind == "multiclass":
        unknown = np.isnan(scores).any(1, keepdims=True)
        return np.where(unknown, np.nan, np.eye(scores.shape[1])[scores.argmax(1)])
    return np.where(np.isnan(scores), np.nan, scores >= 0.5)


def macro(values: Array, defined: NDArray[np.bool_]) -> Array:
    """Mean [...] over labels of values [labels, ...], those that the full test set defines (``defined`` [labels]).

    A replicate in which one of them is undefined is NaN: a mean over fewer labels would be another quantity.
    """
    return values[defined].mean(0) if defined.any() else np.full(values.shape[1:], np.nan)


@dataclass(frozen=True)
class RowSums:
    """Sums of consecutive runs of rows: the matrix [n, B] to [runs, B]."""

    picked: csr_array

    @staticmethod
    def at(rows: NDArray[np.int64], cuts: NDArray[np.int64], n: int) -> "RowSums":
        """Runs between the ``cuts`` (ascending positions in ``rows``): one before each cut and one after the last."""
        # a product with a sparse matrix is "gather rows and add them up run by run", without a copy of those gathered
        ends = np.concatenate([[0], cuts, [len(rows)]])
        return RowSums(csr_array((np.ones(len(rows), np.float32), rows, ends), shape=(len(ends) - 1, n)))

    @staticmethod
    def between(rows: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64], n: int) -> "RowSums":
        """Runs [start, end) of ``rows``, dropping what lies between them."""
        kept = [rows[a:b] for a, b in zip(starts, ends, strict=True)]
        return RowSums.at(np.concatenate([rows[:0], *kept]), np.cumsum(ends - starts)[:-1], n)

    def __call__(self, matrix: Sums) -> Sums:
        """The sums."""
        return self.picked @ matrix


def _by_value(key: Array, chosen: NDArray[np.bool_]) -> tuple[Array, RowSums]:
    """The distinct keys of the chosen rows, ascending, and the row sums at each of them."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(key[rows], kind="stable")]
    values, first = np.unique(key[rows], return_index=True)
    return values, RowSums.at(rows, first[1:], len(key))


def _place(
    key: Array, chosen: NDArray[np.bool_], values: Array
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The chosen rows in order of their keys; for each value how many of them lie below it, and at or below it."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(key[rows], kind="stable")]
    return rows, np.searchsorted(key[rows], values, "left"), np.searchsorted(key[rows], values, "right")


def known_targets(targets: Array) -> NDArray[np.bool_]:
    """Which targets are known (not NaN)."""
    return ~np.isnan(targets)


def weighted_sums(rows: tuple[NDArray[np.generic], ...]) -> Prepared:
    """Of several per-image quantities [n]: a function of weights [n, B] to their weighted sums [rows, B]."""
    together = np.stack([row.astype(np.float64) for row in rows])
    return lambda weights: together @ weights.double


def _dot(a: Sums, b: Sums) -> Array:
    """Column-wise dot products [B] of two matrices [k, B], multiplied and added in float64."""
    return np.einsum("kb,kb->b", a, b, dtype=np.float64)


def ratio(numerator: Sums, denominator: Sums, undefined: float = np.nan) -> Array:
    """Quotient, float64; ``undefined`` where the denominator is not above zero."""
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), undefined)
    return np.divide(numerator, denominator, out=result, where=denominator > 0)
