"""Recalibration of saved classification predictions: fitted on their validation rows, applied to all of their rows.

Nothing is trained and no image is read. Each label has a map of its own; exclusive classes have one temperature for
their softmax, or an isotonic map per class, after which the probabilities are divided by their sum (Zadrozny and Elkan
2002). A label whose validation rows do not show both classes is left as it is, with a note.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, softmax
from sklearn.isotonic import IsotonicRegression

from cxrbench.metrics.calibration import EPSILON
from cxrbench.predictions import Predictions

Array = NDArray[np.float64]
Method = Literal["temperature", "isotonic"]
METHODS: tuple[Method, ...] = get_args(Method)
COLDEST, HOTTEST = 0.1, 10.0
"""Bounds of the temperature. Few validation images that the scores happen to separate ask for 0, which makes every
later error a disaster; scores that mean nothing ask for infinity. Both keep their scores."""


ONE_CLASS = "validation images do not show both classes"
NO_TEMPERATURE = f"no temperature from {COLDEST:g} to {HOTTEST:g} fits the validation images best"


@dataclass(frozen=True)
class _Fitted:
    """Recalibrated scores [n, labels]; by label the temperature, or why the scores are as they were."""

    scores: Array
    temperatures: dict[str, float]
    problems: dict[str, str]


def recalibrate(predictions: Predictions, method: Method) -> Predictions:
    """The same predictions with recalibrated scores; notes name the labels whose scores are left as they are, and why.

    ``predictions``: of kind multilabel or multiclass. Their ``cell`` gains ``temperatures`` (by label; empty for
    isotonic). A label that has no scores keeps having none.
    """
    rows, labels = predictions.rows, predictions.labels
    val = (rows["split"] == "val").to_numpy()
    scores, targets = predictions.scores(rows), predictions.targets(rows)
    fit = _fit_classes if predictions.kind == "multiclass" else _fit_labels
    fitted = fit(method, labels, scores, scores[val], targets[val])
    by_reason: dict[str, list[str]] = {}
    for label, why in fitted.problems.items():
        by_reason.setdefault(why, []).append(label)
    notes = [f"{method}: scores left as they are, {why}: {', '.join(of)}" for why, of in by_reason.items()]
    return replace(
        predictions,
        rows=rows.assign(**{f"score:{label}": fitted.scores[:, i] for i, label in enumerate(labels)}),
        cell={**predictions.cell, "temperatures": fitted.temperatures},
        notes=(*predictions.notes, *notes),
    )


def _fit_labels(method: Method, labels: Sequence[str], scores: Array, val: Array, truth: Array) -> _Fitted:
    """Independent labels: scores [n, labels] recalibrated as the validation rows ``val`` [m, labels] ask for."""
    after, temperatures, problems = scores.copy(), {}, {}
    for i, label in enumerate(labels):
        known = ~np.isnan(truth[:, i]) & np.isfinite(val[:, i])
        s, t = val[known, i], truth[known, i]
        if not np.isfinite(scores[:, i]).any():
            continue  # Could not be trained, which is said elsewhere.
        if len(np.unique(t)) < 2:
            problems[label] = ONE_CLASS
        elif method == "isotonic":
            after[:, i] = isotonic(s, t)(scores[:, i])
        elif (best := temperature(s, t)) is None:
            problems[label] = NO_TEMPERATURE
        else:
            temperatures[label] = best
            after[:, i] = expit(logit(_inside(scores[:, i])) / best)
    return _Fitted(after, temperatures, problems)


def _fit_classes(method: Method, labels: Sequence[str], scores: Array, val: Array, truth: Array) -> _Fitted:
    """Exclusive classes, all or none of them: a class that never occurs in validation has no isotonic map."""
    known = ~np.isnan(truth).any(1) & np.isfinite(val).all(1)
    s, t = val[known], truth[known]
    shown = [len(np.unique(column)) == 2 for column in t.T]
    if not np.isfinite(scores).any():
        return _Fitted(scores, {}, {})
    if not (all(shown) if method == "isotonic" else any(shown)):
        return _Fitted(scores, {}, dict.fromkeys(labels, ONE_CLASS))
    if method == "isotonic":
        after = np.stack([isotonic(s[:, i], t[:, i])(scores[:, i]) for i in range(len(labels))], axis=1)
        return _Fitted(after / after.sum(1, keepdims=True), {}, {})
    best = temperature_of_classes(s, t)
    if best is None:
        return _Fitted(scores, {}, dict.fromkeys(labels, NO_TEMPERATURE))
    return _Fitted(softmax(np.log(_inside(scores)) / best, axis=1), dict.fromkeys(labels, best), {})


def temperature(scores: Array, targets: Array) -> float | None:
    """The temperature T that minimises the log loss of sigmoid(logit(score) / T). Guo et al. (2017), section 4.

    scores: [n] probabilities; targets: [n], 1 or 0, both of them present. None if it is not between 0.1 and 10.
    """
    margins = logit(_inside(scores))
    return _best(lambda a: float(margins @ (expit(a * margins) - targets)))


def temperature_of_classes(scores: Array, targets: Array) -> float | None:
    """The temperature T that minimises the log loss of softmax(log(scores) / T). Guo et al. (2017), section 4.

    scores: [n, classes] probabilities; targets: [n, classes] one-hot. None if it is not between 0.1 and 10.
    """
    margins = np.log(_inside(scores))
    return _best(lambda a: float((margins * (softmax(a * margins, axis=1) - targets)).sum()))


def isotonic(scores: Array, targets: Array) -> Callable[[Array], Array]:
    """The rising step function of least squared error (pool adjacent violators), linear between the scores seen.

    scores: [n] probabilities; targets: [n], 1 or 0. Kept between 1 / (n + 2) and (n + 1) / (n + 2), Laplace's estimates
    from n images of one class, so that no image that the map is wrong about costs an infinite log loss.
    """
    n = len(scores)
    fitted = IsotonicRegression(y_min=1 / (n + 2), y_max=(n + 1) / (n + 2), out_of_bounds="clip").fit(scores, targets)

    def of_scores(new: Array) -> Array:
        known = np.isfinite(new)
        mapped = np.full(len(new), np.nan)
        mapped[known] = fitted.predict(new[known])
        return mapped

    return of_scores


def _best(slope: Callable[[float], float]) -> float | None:
    """The temperature at which the log loss, convex in a = 1 / T with the derivative ``slope(a)``, is least."""
    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(low) >= 0 or slope(high) <= 0:
        return None
    return 1 / float(brentq(slope, low, high, xtol=1e-12, rtol=1e-12))  # pyright: ignore[reportArgumentType]


def _inside(scores: Array) -> Array:
    return np.clip(scores, EPSILON, 1 - EPSILON)
