"""Are the probabilities right, and does recalibration on validation images make them better? From saved predictions."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from cxrbench.leaderboard.board import HEADLINE, NAN
from cxrbench.leaderboard.calibration.variants import AS_GIVEN, Variants
from cxrbench.leaderboard.remarks import left_out
from cxrbench.leaderboard.statistics.alignment import AlignedTask, TestSet
from cxrbench.leaderboard.statistics.bootstrap import REPLICATES, Interval, percentile_interval
from cxrbench.leaderboard.statistics.counting import FEWEST_TESTED, Counted, counted
from cxrbench.leaderboard.statistics.evaluate import Estimate, Evaluation, evaluate
from cxrbench.leaderboard.statistics.inference import Components, moderated
from cxrbench.leaderboard.statistics.paired import improvement
from cxrbench.leaderboard.statistics.significance import GAIN_LEVEL, VALUE_LEVEL, holm
from cxrbench.metrics.calibration import CALIBRATION, FORMULAS, Formula, Sums, nll_of_classes, prepare_sums
from cxrbench.metrics.classification import Array, Metric, Prepared, Weights, never_defined
from cxrbench.metrics.measure import Measure
from cxrbench.progress import Advance, Count, unheard

TESTED = ("brier", "nll")
"""Metrics that "after against before" is tested in: proper scores without bins. ECE is neither: it rewards an isotonic
map for its ties alone, which leave fewer bins and so less noise."""
BINNED = ("reliability", "resolution", "ece_mass", "mce")
SHARES = ("brier",)
"""Metrics in [0, 1] whose intervals are made on the logit scale, as the leaderboard's are."""


@dataclass(frozen=True)
class CalibrationRecord:
    """One number: a calibration metric of an encoder's scores, as given or recalibrated, on a label or ``macro``.

    ``method``: ``as given``, ``temperature`` or ``isotonic``. ``lower``, ``upper``: 95% interval of the value, or of
    ``unbiased`` where a metric has bins: the value less its bias as resampling shows it. ``gain``: what recalibration
    improved, positive is better, with its 90% interval; ``p``: one-tailed, paired, H0: recalibrated scores are no
    better; ``p_holm`` over all means of that metric, or over all its labels. ``temperature``: the fitted one (mean over
    training seeds), for a label. ``rarer``: patients of the rarer side; as on the leaderboard, below 5 there is no
    interval, below 10 no test, and ``macro`` is over the others.
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
    rarer: int = 0
    unbiased: float = NAN
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
class CalibrationReport:
    """All records, the notes of each task, and how the intervals were made."""

    records: tuple[CalibrationRecord, ...]
    notes: Mapping[AlignedTask, tuple[str, ...]]
    replicates: int
    seed: int


def calibration(
    of_tasks: Sequence[Variants], *, replicates: int = REPLICATES, seed: int = 0, advance: Advance = unheard
) -> CalibrationReport:
    """Every calibration metric of every variant with its interval, and the tests of recalibrated against given.

    ``advance``: is told how many replicates of cells are done, of how many.
    """
    drafts: list[tuple[CalibrationRecord, Components | None]] = []
    notes: dict[AlignedTask, tuple[str, ...]] = {}
    told = Count(advance, replicates * sum(len(seeds) for each in of_tasks for seeds in each.tests.rows.values()))
    for each in of_tasks:
        everything, measure = _everything(each.tests)
        found = evaluate(everything, measure, replicates, seed, told)
        drafts += _drafts(each, found, measure)
        notes[each.tests.task] = (*each.notes, *_left_out(each.tests, found))
    return CalibrationReport(_tested(drafts), notes, replicates, seed)


def _drafts(each: Variants, found: Evaluation, measure: Measure) -> list[tuple[CalibrationRecord, Components | None]]:
    """A record for each metric, variant, group and label, and its gain where there is one to be tested."""
    tests, drafts = each.tests, []
    for metric in CALIBRATION.values():
        skipped = {*_labels_of(metric.name, found.undefined), *_labels_of(metric.name, found.rare)}
        among = [label for label in tests.labels if label not in skipped]
        rests_on = {x: counted(tests, x, among) for x in dict.fromkeys((*tests.groups, *tests.labels))}
        for name, (encoder, method) in each.named.items():
            for label, of in rests_on.items():
                one = found.estimates[name][f"{metric.name}:{label}"]
                unbiased, limits = _interval(metric, one, of)
                record = CalibrationRecord(
                    encoder=encoder, dataset=tests.task.dataset, protocol=tests.task.protocol,
                    fraction=tests.task.fraction, synthetic=tests.task.synthetic, method=method, metric=metric.name,
                    label=label, value=one.value, lower=limits.lower, upper=limits.upper, n=of.n, patients=of.patients,
                    positives=of.positives, rarer=of.rarer, unbiased=unbiased,
                    temperature=each.temperatures.get((encoder, label), NAN) if method == "temperature" else NAN,
                    note=limits.note if np.isfinite(one.value) else "undefined on this test set",
                )  # fmt: skip
                gain = None
                if method != AS_GIVEN and metric.name in TESTED and of.rarer >= FEWEST_TESTED:
                    gain = improvement(one, found.estimates[encoder][f"{metric.name}:{label}"], measure)
                drafts.append((record, gain))
    return drafts


def _labels_of(metric: str, names: Sequence[str]) -> list[str]:
    """Of names ``METRIC:LABEL`` the labels of one metric."""
    return [name.removeprefix(f"{metric}:") for name in names if name.startswith(f"{metric}:")]


def _left_out(tests: TestSet, found: Evaluation) -> list[str]:
    """Which labels are in no mean, or not tested, and why."""
    metric = next(iter(CALIBRATION))  # undefined for the same labels as all others, and rare for them
    return left_out(tests, _labels_of(metric, found.undefined), _labels_of(metric, found.rare))


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


def _interval(metric: Metric, one: Estimate, of: Counted) -> tuple[float, Interval]:
    """The leaderboard's interval of a value; for metrics of bins the value without bias, and the interval of that.

    Resampling adds as much noise to bins as already makes these metrics too large, so the mean of the replicates lies
    as far above the value as the value above the truth, about, and their percentiles often wholly above the truth.
    Both are turned round (basic interval: Davison and Hinkley 1997, section 5.2), and not below 0: it is about what
    endless images in the same bins would show. Where the truth is near 0 less than the bias is taken away. Several
    training seeds widen it as they widen the standard error. ``benchmarks/calibration_intervals.py`` has coverages.
    """
    (value,) = moderated([one.components()])
    unbiased = NAN
    limits = value.interval_of_share(VALUE_LEVEL) if metric.name in SHARES else value.interval(VALUE_LEVEL)
    if metric.name in BINNED and not math.isnan(limits.lower):
        means = one.replicates.mean(0)
        drawn, centre = percentile_interval(means, VALUE_LEVEL), float(np.nanmean(means))
        wider = math.sqrt(1 + value.seeds / value.patients) if value.patients else 1.0
        straight = 2 * one.value - centre
        unbiased = max(0.0, straight)
        lower, upper = (max(0.0, straight - wider * (end - centre)) for end in (drawn.upper, drawn.lower))
        limits = Interval(lower, upper)
    return unbiased, Interval(NAN, NAN, of.gap) if of.gap else limits


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
