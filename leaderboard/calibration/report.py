"""Are the probabilities right, and does recalibration on validation images make them better? From saved predictions."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import HEADLINE, NAN
from cxrbench.leaderboard.calibration.recalibration import METHODS, Method, recalibrate
from cxrbench.leaderboard.currency import current
from cxrbench.leaderboard.remarks import contamination
from cxrbench.leaderboard.selection import check_tasks, of_tasks
from cxrbench.leaderboard.statistics.alignment import AlignedTask, TestSet, align, by_task
from cxrbench.leaderboard.statistics.bootstrap import REPLICATES, Interval, percentile_interval
from cxrbench.leaderboard.statistics.counting import counts, patients_scored
from cxrbench.leaderboard.statistics.evaluate import Estimate, evaluate
from cxrbench.leaderboard.statistics.inference import Components, moderated
from cxrbench.leaderboard.statistics.paired import improvement
from cxrbench.leaderboard.statistics.significance import GAIN_LEVEL, VALUE_LEVEL, holm
from cxrbench.metrics.calibration import CALIBRATION, FORMULAS, Formula, Sums, nll_of_classes, prepare_sums
from cxrbench.metrics.classification import Array, Metric, Prepared, Weights, never_defined
from cxrbench.metrics.measure import Measure
from cxrbench.predictions import Predictions

AS_GIVEN = "as given"
TESTED = ("brier", "nll")
"""Metrics that "after against before" is tested in: proper scores without bins. ECE is neither: it rewards an isotonic
map for its ties alone, which leave fewer bins and so less noise."""
BINNED = ("reliability", "resolution", "ece_mass", "mce")


@dataclass(frozen=True)
class CalibrationRecord:
    """One number: a calibration metric of an encoder's scores, as given or recalibrated, on a label or ``macro``.

    ``method``: ``as given``, ``temperature`` or ``isotonic``. ``gain``: what recalibration improved, positive is
    better, with its 90% interval; ``p``: one-tailed paired bootstrap, H0: recalibrated scores are no better;
    ``p_holm`` over all means of that metric, or over all its labels. ``temperature``: the fitted one (mean over
    training seeds), for a label.
    """

    encoder: str
    dataset: str
    protocol: str
    fraction: float
    synthetic: bool
    method: str
    metric: str
    label: str
    value: float
    lower: float
    upper: float
    n: int
    patients: int
    positives: int | None
    gain: float = NAN
    gain_lower: float = NAN
    gain_upper: float = NAN
    p: float = NAN
    p_holm: float = NAN
    temperature: float = NAN
    note: str = ""

    @property
    def task(self) -> AlignedTask:
        """The task that it is about."""
        return AlignedTask(self.synthetic, self.dataset, self.protocol, self.fraction)


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


@dataclass(frozen=True)
class CalibrationReport:
    """All records, the notes of each task, and how the intervals were made."""

    records: tuple[CalibrationRecord, ...]
    notes: Mapping[AlignedTask, tuple[str, ...]]
    replicates: int
    seed: int


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


def calibration(of_tasks: Sequence[Variants], *, replicates: int = REPLICATES, seed: int = 0) -> CalibrationReport:
    """Every calibration metric of every variant with its interval, and the tests of recalibrated against given."""
    drafts = [draft for each in of_tasks for draft in _drafts(each, replicates, seed)]
    return CalibrationReport(_tested(drafts), {each.tests.task: each.notes for each in of_tasks}, replicates, seed)


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


def _drafts(each: Variants, replicates: int, seed: int) -> list[tuple[CalibrationRecord, Components | None]]:
    """A record for each metric, variant, group and label, and its gain where there is one to be tested."""
    tests = each.tests
    everything, measure = _everything(tests)
    estimates = evaluate(everything, measure, replicates, seed).estimates
    drafts = []
    for metric in CALIBRATION.values():
        for name, (encoder, method) in each.named.items():
            for label in dict.fromkeys((*tests.groups, *tests.labels)):
                one = estimates[name][f"{metric.name}:{label}"]
                limits = _interval(metric, one)
                n, positives = counts(tests, label)
                record = CalibrationRecord(
                    encoder=encoder, dataset=tests.task.dataset, protocol=tests.task.protocol,
                    fraction=tests.task.fraction, synthetic=tests.task.synthetic, method=method, metric=metric.name,
                    label=label, value=one.value, lower=limits.lower, upper=limits.upper, n=n,
                    patients=patients_scored(tests, label), positives=positives,
                    temperature=each.temperatures.get((encoder, label), NAN) if method == "temperature" else NAN,
                    note=limits.note if np.isfinite(one.value) else "undefined on this test set",
                )  # fmt: skip
                gain = None
                if method != AS_GIVEN and metric.name in TESTED:
                    gain = improvement(one, estimates[encoder][f"{metric.name}:{label}"], measure)
                drafts.append((record, gain))
    return drafts


def _everything(tests: TestSet) -> tuple[TestSet, Measure]:
    """All metrics as one measure, whose labels are ``METRIC:LABEL``: one set of resamples, and bins summed once.

    A group is the mean over its labels, also for exclusive classes (each against the rest); but their mean log loss is
    that of the softmax, minus the log of the true class's probability.
    """

    def prepare(rows: pd.DataFrame, _: Sequence[str]) -> dict[str, Prepared]:
        prepared: dict[str, Prepared] = {}
        scores, targets = (
            rows[[f"{column}:{label}" for label in tests.labels]].to_numpy(np.float64) for column in ("score", "target")
        )
        trained = [bool(np.isfinite(s[~np.isnan(t)]).all()) for s, t in zip(scores.T, targets.T, strict=True)]
        for i, label in enumerate(tests.labels):
            sums = prepare_sums(scores[:, i], targets[:, i])
            for name, formula in FORMULAS.items():
                prepared[f"{name}:{label}"] = partial(_apply, formula, sums) if trained[i] else never_defined
        if tests.kind == "multiclass":
            prepared[f"nll:{HEADLINE}"] = nll_of_classes(scores, targets) if all(trained) else never_defined
        return prepared

    groups = {
        f"{name}:{group}": tuple(f"{name}:{x}" for x in of) for name in FORMULAS for group, of in tests.groups.items()
    }
    labels = [f"{name}:{label}" for name in FORMULAS for label in tests.labels]
    targets = np.tile(tests.targets, (1, len(FORMULAS)))
    if tests.kind == "multiclass":
        del groups[f"nll:{HEADLINE}"]
        labels.append(f"nll:{HEADLINE}")
        targets = np.concatenate([targets, tests.targets[:, :1]], axis=1)
    measure = Measure("calibration", "Calibration", prepare, higher_is_better=False, share=False)
    return replace(tests, labels=tuple(labels), targets=targets, groups=groups), measure


def _apply(formula: Formula, sums: Callable[[Weights], Sums], weights: Weights) -> Array:
    return formula(sums(weights))


def _interval(metric: Metric, one: Estimate) -> Interval:
    """Value -+ t standard errors; for metrics of bins basic and not below 0 (Davison and Hinkley 1997, section 5.2).

    Resampling adds to the noise that already makes them too large, so their percentiles lie high, often wholly above
    the true value. The basic interval, 2 x value - percentiles, turns that round. It is about what endless images in
    the same bins would show, and may lie below the value itself; several training seeds widen it as they widen the
    standard error. ``benchmarks/calibration_intervals.py`` has coverages.
    """
    (value,) = moderated([one.components()])
    limits = value.interval(VALUE_LEVEL)
    if metric.name not in BINNED or math.isnan(limits.lower):
        return limits
    drawn = percentile_interval(one.replicates.mean(0), VALUE_LEVEL)
    wider = math.sqrt(1 + value.seeds / value.patients) if value.patients else 1.0
    lower, upper = (max(0.0, one.value - wider * (end - one.value)) for end in (drawn.upper, drawn.lower))
    return Interval(lower, upper)


def _tested(drafts: Sequence[tuple[CalibrationRecord, Components | None]]) -> tuple[CalibrationRecord, ...]:
    """Holm over the means of each metric, and apart from them over its labels; synthetic and real apart."""
    records = [record for record, _ in drafts]
    families: dict[tuple[object, ...], list[int]] = {}
    for i, (r, gain) in enumerate(drafts):
        if gain is not None:
            families.setdefault((r.metric, r.synthetic, r.label == HEADLINE), []).append(i)
    for members in families.values():
        gains = moderated([gain for i in members if (gain := drafts[i][1]) is not None])
        for i, gain, p in zip(members, gains, holm([gain.p() for gain in gains]), strict=True):
            ends = gain.interval(GAIN_LEVEL)
            records[i] = replace(
                records[i], gain=gain.value, gain_lower=ends.lower, gain_upper=ends.upper, p=gain.p(), p_holm=p
            )
    return tuple(records)
