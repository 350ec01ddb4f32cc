"""Which of a cell's test images are worth a look, label by label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from cxrbench.predictions import Predictions

FALSE_NEGATIVE, FALSE_POSITIVE, MEDIAN, BEST = "false negative", "false positive", "median", "best"
KINDS = (FALSE_NEGATIVE, FALSE_POSITIVE, MEDIAN, BEST)
ONLY_FIRST, ONLY_SECOND = "right by the first alone", "right by the second alone"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Scores of one label: of test images by one or two encoders, and the threshold of each, from validation images.

    ``ids``: [n], sorted; ``truth``: [n] of 1 and 0; ``scores``: [encoders, n]; ``thresholds``: [encoders].
    """

    label: str
    ids: tuple[str, ...]
    truth: Floats
    scores: Floats
    thresholds: tuple[float, ...]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether a score is on its threshold's right side: [encoders, n]; at the threshold it is positive."""
        return (self.scores >= np.array(self.thresholds)[:, None]) == (self.truth == 1)


@dataclass(frozen=True)
class PickedCase:
    """A test image to be shown: why, its score by each encoder, and its truth."""

    image_id: str
    kind: str
    scores: tuple[float, ...]
    truth: int


def youden(scores: Floats, truth: Floats) -> float:
    """The threshold with the largest sensitivity + specificity - 1 (Youden 1950); NaN with one class only.

    Halfway between two neighbouring scores, so that it is none of them; of several the lowest.
    """
    from sklearn.metrics import roc_curve

    known = ~np.isnan(truth) & ~np.isnan(scores)
    scores, truth = scores[known], truth[known]
    if len(np.unique(truth)) < 2 or len(np.unique(scores)) < 2:
        return float("nan")
    false, true, values = (of[::-1] for of in roc_curve(truth, scores, drop_intermediate=False))  # ascending scores
    index = (true - false)[1:-1]  # of all but the lowest score and the infinite one, which call all images one thing
    best = 1 + int(np.argmax(index))
    return float((values[best - 1] + values[best]) / 2)


def judged(predictions: Sequence[Predictions], label: str) -> Judged:
    """One label of the same task by one or two encoders: images whose truth and scores are known.

    Thresholds are NaN where validation images cannot choose one.
    """
    tables = []
    for one in predictions:
        rows = one.test_rows()
        tables.append(rows.set_index("image_id")[[f"score:{label}", f"target:{label}"]].astype(float).dropna())
    ids = sorted(set.intersection(*(set(table.index) for table in tables)))
    tables = [table.loc[ids] for table in tables]
    thresholds = []
    for one in predictions:
        val = (one.rows["split"] == "val").to_numpy()
        scores, truth = (one.rows[f"{what}:{label}"].to_numpy(float)[val] for what in ("score", "target"))
        thresholds.append(youden(scores, truth))
    scores = np.stack([table[f"score:{label}"].to_numpy() for table in tables])
    return Judged(label, tuple(map(str, ids)), tables[0][f"target:{label}"].to_numpy(), scores, tuple(thresholds))


def picked(of: Judged, count: int) -> list[PickedCase]:
    """Of one encoder: a fourth each of the worst false negatives and positives, of median and of best positives.

    False is what lies on the wrong side of the threshold; where less do, less are shown. Median and best are among
    the positives, by their score. No image twice.
    """
    scores, positive, right = of.scores[0], of.truth == 1, of.right[0]
    ascending = np.argsort(scores, kind="stable")
    positives = ascending[positive[ascending]]
    centre = np.argsort(np.abs(np.arange(len(positives)) - (len(positives) - 1) / 2), kind="stable")
    rankings = {
        FALSE_NEGATIVE: positives[~right[positives]],
        FALSE_POSITIVE: ascending[::-1][(~positive & ~right)[ascending[::-1]]],
        BEST: positives[::-1],
        MEDIAN: positives[centre],
    }
    shares = {kind: count // 4 + (count % 4 > i) for i, kind in enumerate(KINDS)}
    return _taken(of, rankings, shares, KINDS)


def rescued(of: Judged, count: int) -> list[PickedCase]:
    """Of two encoders: half each of the images that one alone gets right, the most clearly so first.

    How clearly: by the smaller of the two distances, in logits, of the right and of the wrong score from its threshold.
    """
    first, second = of.right
    thresholds = np.array(of.thresholds)[:, None]
    distance = np.abs(_logit(of.scores) - _logit(thresholds)).min(axis=0)
    order = np.argsort(-distance, kind="stable")
    rankings = {ONLY_FIRST: order[(first & ~second)[order]], ONLY_SECOND: order[(second & ~first)[order]]}
    shares = {ONLY_FIRST: count - count // 2, ONLY_SECOND: count // 2}
    return _taken(of, rankings, shares, (ONLY_FIRST, ONLY_SECOND))


def _taken(
    of: Judged, rankings: dict[str, NDArray[np.int64]], shares: dict[str, int], kinds: Sequence[str]
) -> list[PickedCase]:
    """The first so many of each ranking that no earlier one has taken, in the order of ``kinds``."""
    taken: dict[int, str] = {}
    for kind, ranking in rankings.items():
        for row in [int(row) for row in ranking if int(row) not in taken][: shares[kind]]:
            taken[row] = kind
    place: Callable[[int], int] = lambda row: kinds.index(taken[row])  # noqa: E731
    return [
        PickedCase(of.ids[row], taken[row], tuple(of.scores[:, row].tolist()), int(of.truth[row]))
        for row in sorted(taken, key=place)
    ]


def _logit(scores: Floats) -> Floats:
    """Of probabilities, cut to where it is finite."""
    return logit(np.clip(scores, 1e-9, 1 - 1e-9))
