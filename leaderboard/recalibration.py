"""Recalibration of saved classification predictions: fitted on their validation rows, applied to all of their rows.

Nothing is trained and no image is read. Each label has a map of its own; exclusive classes have one temperature for
their softmax, or an isotonic map per class, after which the probabilities are divided by their sum (Zadrozny and Elkan
2002). A label whose validation rows do not show both classes is left as it is, with a note.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, softmax
from sklearn.isotonic import IsotonicRegression

from cxrbench.metrics_calibration import EPSILON
from cxrbench.predictions import Predictions

Array = NDArray[np.float64]
Method = Literal["temperature", "isotonic"]
METHODS: tuple[Method, ...] = get_args(Method)
COLDEST, HOTTEST = 0.1, 10.0
"""Bounds of the temperature: validation scores that happen to separate the classes ask for 0, chance for infinity."""


def recalibrate(predictions: Predictions, method: Method) -> Predictions:
    """The same predictions with recalibrated scores; notes name the labels that could not be, or hardly.

    ``predictions``: of kind multilabel or multiclass. Their ``cell`` gains ``temperatures`` (by label; empty for
    isotonic). A label that has no scores keeps having none.
    """
    rows, labels = predictions.rows, predictions.labels
    scores, targets = predictions.scores(rows), predictions.targets(rows)
    usable = (rows["split"] == "val").to_numpy()[:, None] & ~np.isnan(targets) & np.isfinite(scores)
    both = np.array([len(np.unique(t[u])) == 2 for t, u in zip(targets.T, usable.T, strict=True)])
    if predictions.kind == "multiclass":  # All or none; a class that never occurs has no isotonic map.
        both[:] = both.all() if method == "isotonic" else both.any()
    after, temperatures = scores.copy(), {}
    if method == "temperature" and predictions.kind == "multiclass" and both.all():
        known = usable.all(1)
        temperatures = dict.fromkeys(labels, temperature_of_classes(scores[known], targets[known]))
        after = softmax(np.log(_inside(scores)) / temperatures[labels[0]], axis=1)
    else:
        for i in np.flatnonzero(both):
            s, t = scores[usable[:, i], i], targets[usable[:, i], i]
            if method == "temperature":
                temperatures[labels[i]] = temperature(s, t)
                after[:, i] = expit(logit(_inside(scores[:, i])) / temperatures[labels[i]])
            else:
                after[:, i] = isotonic(s, t)(scores[:, i])
        if predictions.kind == "multiclass" and both.all():
            after /= after.sum(1, keepdims=True)
    trained = np.isfinite(scores).any(axis=0).tolist()
    left = [label for label, fitted, some in zip(labels, both, trained, strict=True) if some and not fitted]
    at_bound = [label for label, fitted in temperatures.items() if fitted in (COLDEST, HOTTEST)]
    notes = [
        f"{method}: {what}: {', '.join(which)}"
        for what, which in (
            ("scores left as they are, validation images do not show both classes", left),
            ("its bound was reached, validation images are too few or scores mean nothing", at_bound),
        )
        if which
    ]
    return replace(
        predictions,
        rows=rows.assign(**{f"score:{label}": after[:, i] for i, label in enumerate(labels)}),
        cell={**predictions.cell, "temperatures": temperatures},
        notes=(*predictions.notes, *notes),
    )


def temperature(scores: Array, targets: Array) -> float:
    """The temperature T that minimises the log loss of sigmoid(logit(score) / T). Guo et al. (2017), section 4.

    scores: [n] probabilities; targets: [n], 1 or 0, both of them present. At least 0.1 and at most 10.
    """
    margins = logit(_inside(scores))
    return _best(lambda a: float(margins @ (expit(a * margins) - targets)))


def temperature_of_classes(scores: Array, targets: Array) -> float:
    """The temperature T that minimises the log loss of softmax(log(scores) / T). Guo et al. (2017), equation 9.

    scores: [n, classes] probabilities; targets: [n, classes] one-hot.
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


def _best(slope: Callable[[float], float]) -> float:
    """The temperature at which the log loss, convex in a = 1 / T with the derivative ``slope(a)``, is least."""
    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(low) >= 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    return 1 / float(brentq(slope, low, high, xtol=1e-12, rtol=1e-12))  # pyright: ignore[reportArgumentType]


def _inside(scores: Array) -> Array:
    return np.clip(scores, EPSILON, 1 - EPSILON)
