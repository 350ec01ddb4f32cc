"""Reliability diagrams: what each encoder's probabilities said against what was so, pooled and label by label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrbench.leaderboard.calibration.bins import binned, drawable, errors, pooled
from cxrbench.leaderboard.calibration.variants import Variants

SCORE_BINS = 20


@dataclass(frozen=True)
class ReliabilityPanel:
    """One encoder's scores, as given or after a recalibration (``method``), of one ``label`` ("": all labels pooled).

    ``said``, ``observed``: mean score and share of positives of each of up to 15 bins of equal mass, rising;
    ``lower``, ``upper``: Wilson's 95% interval of the share, patients as trials. ``counts``: how many scores lie in
    each of ``SCORE_BINS`` equal parts of [0, 1]. ``ece``: over these bins; ``nll``: log loss in nats.
    """

    encoder: str
    method: str
    label: str
    said: tuple[float, ...]
    observed: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    counts: tuple[int, ...]
    ece: float
    nll: float


@dataclass(frozen=True)
class ReliabilityOfTask:
    """One classification task. ``labels``: those that every encoder has scores of and that have both classes."""

    task: str
    protocol: str
    fraction: float
    synthetic: bool
    labels: tuple[str, ...]
    panels: tuple[ReliabilityPanel, ...]


def reliability(of_tasks: Sequence[Variants], *, by_label: bool = True) -> tuple[ReliabilityOfTask, ...]:
    """The diagrams of ``variants(predictions, methods=())``, or with recalibrations beside what was given.

    ``by_label``: also of each label by itself, where there are several. A task without a usable label is left out.
    """
    found = []
    for each in of_tasks:
        tests = each.tests
        usable = tuple(label for label in tests.labels if drawable(tests, label))
        if not usable:
            continue
        pictures = {"": usable, **({x: (x,) for x in usable} if by_label and len(tests.labels) > 1 else {})}
        panels = tuple(_panel(each, name, x, of) for name in each.named for x, of in pictures.items())
        task = tests.task
        found.append(ReliabilityOfTask(task.title, task.protocol, task.fraction, task.synthetic, usable, panels))
    return tuple(found)


def _panel(each: Variants, name: str, label: str, labels: Sequence[str]) -> ReliabilityPanel:
    scores, targets, whose = pooled(each.tests, name, labels)
    bins = binned(scores, targets, whose)
    encoder, method = each.named[name]
    ece, nll = errors(scores, targets)
    return ReliabilityPanel(
        encoder=encoder, method=method, label=label, said=tuple(bins.said.tolist()),
        observed=tuple(bins.observed.tolist()), lower=tuple(bins.lower.tolist()), upper=tuple(bins.upper.tolist()),
        counts=tuple(np.histogram(scores, SCORE_BINS, (0, 1))[0].tolist()), ece=ece, nll=nll,
    )  # fmt: skip
