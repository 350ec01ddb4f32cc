"""What is calibrated: each task's scores as they are, and after each recalibration, on one test set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxrbench.errors import UserError
from cxrbench.leaderboard.calibration.recalibration import METHODS, Method, recalibrate
from cxrbench.leaderboard.currency import current
from cxrbench.leaderboard.remarks import contamination
from cxrbench.leaderboard.selection import check_tasks, of_tasks
from cxrbench.leaderboard.statistics.alignment import AlignedTask, TestSet, align, by_task
from cxrbench.predictions import Predictions

AS_GIVEN = "as given"


@dataclass(frozen=True)
class Variants:
    """One task's test set, on which each encoder stands once as it is and once per method of recalibration.

    ``named``: (encoder, method) of each name in ``tests.rows``. ``temperatures``: by (encoder, label). ``notes``: what
    a reader must be told.
    """

    tests: TestSet
    named: Mapping[str, tuple[str, str]]
    temperatures: Mapping[tuple[str, str], float]
    notes: tuple[str, ...]


def variants(
    predictions: Sequence[Predictions],
    *,
    tasks: Sequence[str] | None = None,
    encoders: Sequence[str] | None = None,
    methods: Sequence[Method] = METHODS,
) -> list[Variants]:
    """The chosen classification results of each task, as they are and recalibrated.

    ``tasks``: ``DATASET[:PROTOCOL]``; ``encoders``: names as the leaderboard prints them; None is all. Raises UserError
    for one that has no results, or where none of the results are of classification.
    """
    now = current(predictions)
    known = sorted({str(one.cell["encoder"]) for one in predictions})
    for name in encoders or ():
        if name not in known:
            raise UserError(f"unknown encoder {name!r}: the results have {', '.join(known) or 'none'}")
    check_tasks(now.predictions, tasks)
    wanted = [
        one
        for one in of_tasks(now.predictions, tasks)
        if one.kind in ("multilabel", "multiclass") and (encoders is None or one.cell["encoder"] in encoders)
    ]
    if not wanted:
        raise UserError("none of these results are probabilities of labels: only classification can be calibrated")
    return [
        _variants(task, of_task, methods, [stale.line for stale in now.left_out if task.title in stale.tasks])
        for task, of_task in by_task(wanted).items()
    ]


def _variants(
    task: AlignedTask, of_task: Sequence[Predictions], methods: Sequence[Method], remarks: Sequence[str]
) -> Variants:
    named: dict[str, tuple[str, str]] = {}
    fitted: dict[tuple[str, str], list[float]] = {}
    everything: list[Predictions] = []
    notes = [*align(task, of_task).notes, *remarks]
    told: dict[str, list[str]] = {}
    for one in of_task:
        encoder = str(one.cell["encoder"])
        named[encoder] = (encoder, AS_GIVEN)
        everything.append(one)
        for method in methods:
            after = recalibrate(one, method)
            name = f"{encoder} ({method})"
            named[name] = (encoder, method)
            everything.append(replace(after, cell={**after.cell, "encoder": name}, notes=one.notes))
            for note in after.notes[len(one.notes) :]:
                told.setdefault(note, []).append(encoder)
            for label, t in after.cell["temperatures"].items():
                fitted.setdefault((encoder, label), []).append(t)
        if why := contamination(one):
            notes.append(f"† {encoder}: {why}")
    notes += [f"{note} ({', '.join(dict.fromkeys(who))})" for note, who in told.items()]
    return Variants(
        tests=align(task, everything),
        named=named,
        temperatures={key: float(np.mean(ts)) for key, ts in fitted.items()},
        notes=tuple(dict.fromkeys(notes)),
    )
