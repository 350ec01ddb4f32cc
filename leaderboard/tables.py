"""The board: from saved predictions to one tidy record per encoder, task, metric and label."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from cxrbench.errors import UserError
from cxrbench.leaderboard.alignment import TestSet, align, by_task
from cxrbench.leaderboard.board import HEADLINE, NAN, Board, Column, Record
from cxrbench.leaderboard.bootstrap import REPLICATES, interval
from cxrbench.leaderboard.evaluate import Estimate, Evaluation, evaluate
from cxrbench.leaderboard.significance import (
    ALPHA,
    Difference,
    holm,
    paired_difference,
    smallest_detectable_difference,
    tie_groups,
)
from cxrbench.metrics import METRICS, Metric
from cxrbench.predictions import Predictions

DEFAULT_BASELINE = "random"


def build(
    predictions: Sequence[Predictions],
    *,
    baseline: str | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    metrics: Sequence[str] = tuple(METRICS),
    efficiency: Mapping[str, Mapping[str, Any]] | None = None,
) -> Board:
    """Evaluate saved predictions: values, intervals, tests against the baseline, tie groups, detectable differences.

    ``baseline``: an encoder's name; by default ``random`` where it is present, else no encoder is tested. Raises
    UserError if there is nothing to show, or the baseline or a metric is unknown.
    """
    if not predictions:
        raise UserError("there are no results yet: run `cxrbench run --encoder ... --tasks ...` first")
    encoders = sorted({str(one.cell["encoder"]) for one in predictions})
    if baseline is None and DEFAULT_BASELINE in encoders:
        baseline = DEFAULT_BASELINE
    if baseline is not None and baseline not in encoders:
        raise UserError(f"unknown baseline {baseline!r}: the results have {', '.join(encoders)}")
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise UserError(f"unknown metric {unknown[0]!r}: choose from {', '.join(METRICS)}")
    records: list[Record] = []
    columns: list[Column] = []
    for task, of_task in by_task(predictions).items():
        tests = align(task, of_task)
        marks = {str(one.cell["encoder"]): contamination(one) for one in of_task}
        detectable: dict[str, float] = {}
        left_out: dict[str, list[str]] = {}
        gaps: dict[tuple[str, str], list[str]] = {}
        notes = [*tests.notes, *(f"† {name}: {why}" for name, why in marks.items() if why)]
        for name in metrics:
            metric = METRICS[name]
            evaluation = evaluate(tests, metric, replicates, seed)
            against = evaluation.estimates.get(baseline or "", {})
            rows = [
                _record(tests, metric, encoder, label, one, against.get(label), baseline)
                for encoder, by_label in evaluation.estimates.items()
                for label, one in by_label.items()
            ]
            groups, detectable[name] = _ties(evaluation, metric)
            rows = [replace(r, contaminated=bool(marks[r.encoder])) for r in rows]
            headline = [replace(r, tie_group=groups[r.encoder]) for r in rows if r.label == HEADLINE]
            records += headline + _corrected([r for r in rows if r.label != HEADLINE])
            for why in _left_out(tests, evaluation):
                left_out.setdefault(why, []).append(metric.title)
            for r in headline:
                if r.note:
                    gaps.setdefault((r.encoder, r.note), []).append(metric.title)
        notes += [f"{', '.join(titles)}: {why}" for why, titles in left_out.items()]
        notes += [f"{', '.join(titles)}: {what}" for what, titles in _merged(gaps).items()]
        if tests.kind == "multiclass" and "accuracy" in metrics:
            notes.append("exclusive classes: Accuracy is the share of images put in the right class, not a mean")
        columns.append(
            Column(task, len(tests.targets), len(np.unique(tests.patients)), detectable, tuple(dict.fromkeys(notes)))
        )
    return Board(
        records=_correct_headlines(records),
        columns=tuple(columns),
        metrics=tuple(metrics),
        baseline=baseline,
        replicates=replicates,
        seed=seed,
        efficiency=dict(efficiency or {}),
    )


def _merged(gaps: Mapping[tuple[str, str], list[str]]) -> dict[str, list[str]]:
    """(encoder, note) -> metrics as note -> metrics: encoders with the same note for the same metrics together."""
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (encoder, note), titles in gaps.items():
        together.setdefault((note, tuple(titles)), []).append(encoder)
    return {f"{note} ({', '.join(encoders)})": list(titles) for (note, titles), encoders in together.items()}


def contamination(one: Predictions) -> str:
    """Why these results may flatter the encoder: it has seen images of the dataset or of its source. Else ""."""
    dataset = str(one.dataset.get("name", one.cell["dataset"]))
    seen = [str(name) for name in one.encoder.get("pretrained_on", ())]
    lineage = [str(name) for name in one.dataset.get("lineage", ())]
    if dataset in seen:
        return (
            f"pretrained on images of {dataset}, the source of the test images; "
            "`cxrbench pretrain` keeps test patients out, others may not"
        )
    shared = ", ".join(sorted(set(seen) & set(lineage)))
    if shared:
        return f"pretrained on {shared}, where images of {dataset} come from; it may have seen test images"
    return ""


def difference(candidate: Estimate, baseline: Estimate, metric: Metric) -> Difference:
    """The paired test of two estimates that share their resamples."""
    return paired_difference(
        candidate.value - baseline.value, candidate.replicates - baseline.replicates, metric.higher_is_better
    )


def counts(tests: TestSet, label: str) -> tuple[int, int | None]:
    """Test images with a known target, and positives; for a group, images with any known target and None."""
    if label in tests.groups:
        members = [tests.labels.index(name) for name in tests.groups[label]]
        return int((~np.isnan(tests.targets[:, members])).any(1).sum()), None
    targets = tests.targets[:, tests.labels.index(label)]
    return int((~np.isnan(targets)).sum()), int((targets == 1).sum())


def _record(
    tests: TestSet,
    metric: Metric,
    encoder: str,
    label: str,
    one: Estimate,
    base: Estimate | None,
    baseline: str | None,
) -> Record:
    limits = interval(one.replicates)
    n, positives = counts(tests, label)
    note = limits.note if np.isfinite(one.value) else "undefined on this test set"
    if note:
        note += f" ({_fewest_positives(tests, label)})"
    record = Record(
        encoder=encoder, dataset=tests.task.dataset, protocol=tests.task.protocol, fraction=tests.task.fraction,
        metric=metric.name, label=label, value=one.value, lower=limits.lower, upper=limits.upper, n=n,
        patients=len(np.unique(tests.patients)), positives=positives, seeds=len(tests.scores[encoder]),
        se_patients=one.patient_error, se_seeds=one.seed_error, undefined=limits.undefined,
        synthetic=tests.task.synthetic, note=note,
    )  # fmt: skip
    if base is None or encoder == baseline:
        return record
    gain = difference(one, base, metric)
    return replace(
        record,
        p=gain.p,
        baseline=baseline,
        gain=gain.value,
        gain_lower=gain.interval.lower,
        gain_upper=gain.interval.upper,
    )


def _ties(evaluation: Evaluation, metric: Metric) -> tuple[dict[str, str], float]:
    """Tie-group letters of each encoder's headline, and the smallest detectable difference (median over all pairs)."""
    headline = {encoder: by_label[HEADLINE] for encoder, by_label in evaluation.estimates.items()}
    names = list(headline)
    if len(names) < 2 or all(np.isnan(one.value) for one in headline.values()):
        return dict.fromkeys(names, ""), NAN
    pairs = list(combinations(range(len(names)), 2))
    tests = [difference(headline[names[i]], headline[names[j]], metric) for i, j in pairs]
    separated = np.zeros((len(names), len(names)), dtype=bool)
    for (i, j), p in zip(pairs, holm([test.p_two_sided for test in tests]), strict=True):
        separated[i, j] = separated[j, i] = p < ALPHA
    sign = 1 if metric.higher_is_better else -1
    letters = tie_groups([sign * headline[name].value for name in names], separated)
    errors = [test.standard_error for test in tests if np.isfinite(test.standard_error)]
    detectable = smallest_detectable_difference(float(np.median(errors))) if errors else NAN
    return dict(zip(names, letters, strict=True)), detectable


def _left_out(tests: TestSet, evaluation: Evaluation) -> list[str]:
    """Which labels are left out of the means, and why."""
    one_class, untrained = [], []
    for label in evaluation.undefined:
        known, positives = counts(tests, label)
        which = one_class if positives in (0, known) else untrained
        which.append(f"{label} ({positives} of {known:,} positive)")
    reasons = (("one class only among the test images", one_class), ("some encoder has no scores", untrained))
    return [f"{why}, so left out of every mean: {', '.join(labels)}" for why, labels in reasons if labels]


def _corrected(records: Sequence[Record]) -> list[Record]:
    adjusted = holm([record.p for record in records])
    return [replace(record, p_holm=p) for record, p in zip(records, adjusted, strict=True)]


def _correct_headlines(records: Sequence[Record]) -> tuple[Record, ...]:
    """Holm over each table of headlines: all encoders and tasks of a metric, synthetic and real apart."""
    result = list(records)
    for family in dict.fromkeys((r.metric, r.synthetic) for r in records):
        where = [i for i, r in enumerate(records) if r.label == HEADLINE and (r.metric, r.synthetic) == family]
        for i, record in zip(where, _corrected([records[i] for i in where]), strict=True):
            result[i] = record
    return tuple(result)


def _fewest_positives(tests: TestSet, label: str) -> str:
    """How few positives a label has, or the rarest label of a group."""
    found = {name: counts(tests, name)[1] or 0 for name in tests.groups.get(label, (label,))}
    rarest = min(found, key=lambda name: found[name])
    return f"{rarest}: {found[rarest]} positives among {counts(tests, rarest)[0]:,} images"
