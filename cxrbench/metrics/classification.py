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

from cxrbench.metrics.prepared import Array, Binned, OfSums, Prepared, Sums, Weights, never_defined, running
from cxrbench.metrics.ranking import OfRanks, OneLabel, RankSums

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
    of_column: Callable[[OneLabel], Prepared] | None = None

    def of(self, column: OneLabel) -> Prepared:
        """``prepare``; metrics of the same column share its ranking."""
        return self.of_column(column) if self.of_column else self.prepare(column.scores, column.targets)

    def __call__(self, scores: Array, targets: Array, weights: NDArray[np.generic]) -> Array:
        """Values [B] of scores [n] against targets [n] (1, 0, NaN where unknown) under weights [n, B]."""
        return self.prepare(scores, targets)(Weights.of(weights))


def _of_whole_scores(prepare: Callable[[Array, Array], Prepared]) -> Callable[[Array, Array], Prepared]:
    """``prepare``, but never defined where a score (or decision) beside a known target is NaN.

    NaN sorts above every number and is no decision, so a metric would come out, and would be wrong.
    """

    @wraps(prepare)
    def checked(scores: Array, targets: Array) -> Prepared:
        return prepare(scores, targets) if _whole(scores, targets) else never_defined

    return checked


def _whole(scores: Array, targets: Array) -> bool:
    """Whether every row with a known target has a score."""
    return not np.isnan(scores[known_targets(targets)]).any()


def _wrong(decisions: Array, targets: Array) -> NDArray[np.bool_]:
    """Which known targets [n] the decisions miss."""
    return (decisions != targets) & known_targets(targets)


def auroc(scores: Array, targets: Array) -> Prepared:
    """Area under the ROC curve: P(positive scores higher) + P(tie) / 2. Hanley and McNeil (1982); ties by midranks.

    With p_j the weight of positives at the j-th distinct positive score, AUROC is the sum over j of p_j times (the
    weight of negatives below + half of those tied), over the product of both classes' weights: one pass over the
    negatives in score order. Where negatives are the rarer class the roles are swapped and the order turned, which
    gives the same sum.
    """
    return auroc_of_column(OneLabel(scores, targets))


def auroc_of_column(column: OneLabel) -> Prepared:
    """``auroc``."""
    if not _whole(column.scores, column.targets):
        return never_defined
    few = (column.targets == 1).sum() <= (column.targets == 0).sum()
    return OfRanks(column.of_positives if few else column.of_negatives, _auroc)


def _auroc(sums: RankSums) -> Array:
    wins = _dot(sums.chosen, sums.below[:-1])
    if len(sums.ties):
        wins += _dot(sums.chosen[sums.ties], sums.tied) / 2
    return ratio(wins, sums.chosen.sum(0, dtype=np.float64) * sums.below[-1])


def auprc(scores: Array, targets: Array) -> Prepared:
    """Average precision, as scikit-learn's: the sum over thresholds of precision x the step in recall."""
    return auprc_of_column(OneLabel(scores, targets))


def auprc_of_column(column: OneLabel) -> Prepared:
    """``auprc``."""
    return OfRanks(column.of_positives, _auprc) if _whole(column.scores, column.targets) else never_defined


def _auprc(sums: RankSums) -> Array:
    steps = sums.chosen[::-1].astype(np.float64)
    hits, negatives = running(steps), sums.below[-1]
    precision = hits + (negatives - sums.below[:-1])[::-1]
    # A threshold with no weight has no step in recall: 0 / 0 counts 0 there.
    np.divide(hits, np.maximum(precision, np.finfo(np.float64).tiny, out=precision), out=precision)
    return ratio(_dot(steps, precision), np.where(negatives > 0, steps.sum(0), 0.0))


@_of_whole_scores
def f1(decisions: Array, targets: Array) -> Prepared:
    """F1 = 2 TP / (2 TP + FP + FN) of decisions (1 or 0); NaN where no positive has weight (scikit-learn says 0)."""
    positive = targets == 1

    def of_sums(counts: Array, positives: Array, _bins: Array, _real: Array) -> Array:
        hits, errors = counts
        return ratio(2 * hits, np.where(positives[0] > 0, 2 * hits + errors, 0.0))

    return OfSums(of_sums, (positive,), ((decisions == 1) & positive, _wrong(decisions, targets)))


@_of_whole_scores
def accuracy(decisions: Array, targets: Array) -> Prepared:
    """Weighted share of decisions (1 or 0) that equal the target."""
    return OfSums(
        lambda wrong, known, _bins, _real: ratio(known[0] - wrong[0], known[0]),
        (known_targets(targets),),
        (_wrong(decisions, targets),),
    )


@_of_whole_scores
def brier(scores: Array, targets: Array) -> Prepared:
    """Brier score: weighted mean squared error of probabilities. Brier (1950), the form for one event."""
    errors = np.nan_to_num((scores - targets) ** 2)
    return OfSums(
        lambda _counts, known, _bins, real: ratio(real[0], known[0]), (known_targets(targets),), real=(errors,)
    )


@_of_whole_scores
def ece(scores: Array, targets: Array) -> Prepared:
    """Expected calibration error of the probability of the finding, 15 bins of equal width, (l, u] and 0 in the first.

    The sum over bins of the bin's share of the weight x |mean probability - share of positives|. Naeini et al. (2015);
    bins as Guo et al. (2017).
    """
    known = known_targets(targets)
    images = np.flatnonzero(known)
    return OfSums(
        lambda _counts, total, gaps, _real: ratio(np.abs(gaps).sum(0), total[0]),
        (known,),
        binned=Binned(ECE_BINS, _bins(scores[images]), images, scores[images] - targets[images]),
    )


def _bins(probabilities: Array) -> NDArray[np.int64]:
    """Which of the bins of ``ece`` each probability [n] is in."""
    return np.clip(np.ceil(probabilities * ECE_BINS) - 1, 0, ECE_BINS - 1).astype(np.int64)


def ece_by_chance(scores: Array, targets: Array) -> float:
    """What ``ece`` is expected to be if the probabilities [n] are exactly right, for targets drawn from them.

    In a bin the sum of p - y then is nearly normal about 0 with variance sum p (1 - p), and the mean of its absolute
    value sqrt(2 / pi) times its SD. It falls with the number of images and with the bins that are used, which is why an
    encoder that says the same of every image has the smallest ECE of all calibrated ones.
    """
    known = known_targets(targets)
    p = scores[known]
    variances = np.bincount(_bins(p), p * (1 - p), minlength=ECE_BINS)
    return float(np.sqrt(2 / np.pi) * np.sqrt(variances).sum() / max(1, len(p)))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("auroc", "AUROC", auroc, ranks=True, of_column=auroc_of_column),
        Metric("auprc", "AUPRC", auprc, ranks=True, of_column=auprc_of_column),
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
    result = np.full(np.broadcast(numerator, denominator).shape, undefined)
    return np.divide(numerator, denominator, out=result, where=denominator > 0)
