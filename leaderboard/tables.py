"""The board: from saved predictions to one tidy record per encoder, task, metric and label."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.leaderboard.alignment import AlignedTask, TestSet, align, by_task
from cxrbench.leaderboard.board import HEADLINE, NAN, Board, Column, Record
from cxrbench.leaderboard.bootstrap import REPLICATES, interval
from cxrbench.leaderboard.currency import current, versions
from cxrbench.leaderboard.evaluate import Estimate, Evaluation, evaluate
from cxrbench.leaderboard.families import CLASSIFICATION, FAMILIES, check_metrics, wanted_measures
from cxrbench.leaderboard.significance import (
    ALPHA,
    Difference,
    holm,
    paired_difference,
    smallest_detectable_difference,
    tie_groups,
)
from cxrbench.metrics.measure import Measure
from cxrbench.predictions import NotApplicable, Predictions

DEFAULT_BASELINE = "random"


def build(
    predictions: Sequence[Predictions],
    *,
    baseline: str | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    metrics: Sequence[str] | None = None,
    efficiency: Mapping[str, Mapping[str, Any]] | None = None,
    not_applicable: Sequence[NotApplicable] = (),
) -> Board:
    """Evaluate saved predictions: values, intervals, tests against the baseline, tie groups, detectable differences.

    ``baseline``: an encoder's name; by default ``random`` where it is present, else no encoder is tested. ``metrics``:
    those that a task has of them, the first its headline; by default all of its kind. ``not_applicable``: cells whose
    encoder could not be asked. Stale cells are left out, with a remark. Raises UserError if there is nothing to show,
    or the baseline or a metric is unknown.
    """
    if not predictions:
        raise UserError("there are no results yet: run `cxrbench run --encoder ... --tasks ...` first")
    encoders = sorted({str(one.cell["encoder"]) for one in predictions})
    if baseline is None and DEFAULT_BASELINE in encoders:
        baseline = DEFAULT_BASELINE
    if baseline is not None and baseline not in encoders:
        raise UserError(f"unknown baseline {baseline!r}: the results have {', '.join(encoders)}")
    now = current(predictions, not_applicable)
    predictions, not_applicable = now.predictions, now.not_applicable
    check_metrics(metrics, [one.kind for one in predictions])
    reasons = _reasons(not_applicable)
    records: list[Record] = []
    columns: list[Column] = []
    for task, of_task in by_task(predictions).items():
        there = {str(one.cell["encoder"]) for one in of_task}
        why = {encoder: reason for encoder, reason in reasons.pop(task, {}).items() if encoder not in there}
        column, rows = _column(align(task, of_task), of_task, why, metrics, baseline, replicates, seed)
        if column.metrics:
            columns.append(column)
            records += rows
    return Board(
        records=_correct_headlines(records),
        columns=tuple(columns),
        baseline=baseline,
        replicates=replicates,
        seed=seed,
        efficiency=dict(efficiency or {}),
        nowhere=reasons,
        remarks=(*(stale.line for stale in now.left_out), *versions(predictions)),
    )


def _column(
    tests: TestSet,
    of_task: Sequence[Predictions],
    not_applicable: Mapping[str, str],
    metrics: Sequence[str] | None,
    baseline: str | None,
    replicates: int,
    seed: int,
) -> tuple[Column, list[Record]]:
    """One task: what must be known of it, and the records of every metric that it has."""
    marks = {str(one.cell["encoder"]): contamination(one) for one in of_task}
    records: list[Record] = []
    detectable: dict[str, float] = {}
    left_out: dict[str, list[str]] = {}
    gaps: dict[tuple[str, str], list[str]] = {}
    for measure in wanted_measures(metrics, tests.kind):
        evaluation = evaluate(tests, measure, replicates, seed)
        if not evaluation.estimates:
            continue
        against = evaluation.estimates.get(baseline or "", {})
        rows = [
            replace(
                _record(tests, measure, encoder, label, one, against.get(label), baseline),
                contaminated=bool(marks[encoder]),
            )
            for encoder, by_label in evaluation.estimates.items()
            for label, one in by_label.items()
        ]
        groups, detectable[measure.name] = _ties(evaluation, measure)
        headline = [replace(r, tie_group=groups[r.encoder]) for r in rows if r.label == HEADLINE]
        records += headline + _corrected([r for r in rows if r.label != HEADLINE])
        for why in _left_out(tests, evaluation):
            left_out.setdefault(why, []).append(measure.title)
        for r in headline:
            if r.note:
                gaps.setdefault((r.encoder, r.note), []).append(measure.title)
    notes = [*tests.notes, *(f"† {name}: {why}" for name, why in marks.items() if why)]
    notes += [f"{', '.join(titles)}: {why}" for why, titles in left_out.items()]
    notes += [f"{', '.join(titles)}: {what}" for what, titles in _merged(gaps).items()]
    if tests.kind == "multiclass" and "accuracy" in detectable:
        notes.append("exclusive classes: Accuracy is the share of images put in the right class, not a mean")
    column = Column(
        task=tests.task,
        kind=tests.kind,
        labels=len(tests.groups[HEADLINE]),
        rows=int(scored(tests, HEADLINE).sum()),
        patients=patients_scored(tests, HEADLINE),
        metrics=tuple(detectable),
        detectable=detectable,
        notes=tuple(dict.fromkeys(notes)),
        not_applicable=not_applicable,
    )
    return column, records


def _reasons(not_applicable: Sequence[NotApplicable]) -> dict[AlignedTask, dict[str, str]]:
    """Why encoders could not be asked, by task and encoder, in a fixed order."""
    found: dict[AlignedTask, dict[str, str]] = {}
    for one in sorted(
        not_applicable, key=lambda r: (str(r.cell["dataset"]), str(r.cell["protocol"]), str(r.cell["encoder"]))
    ):
        task = AlignedTask(one.synthetic, one.cell["dataset"], one.cell["protocol"], float(one.cell["fraction"]))
        found.setdefault(task, {})[str(one.cell["encoder"])] = one.reason
    return found


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
    if dataset in seen and "+folds" in str(one.cell["protocol"]):
        return f"pretrained on images of {dataset}; cross-validation tests on every image, so on those, too"
    if dataset in seen:
        return (
            f"pretrained on images of {dataset}, the source of the test images; "
            "`cxrbench pretrain` keeps test patients out, others may not"
        )
    shared = ", ".join(sorted(set(seen) & set(lineage)))
    if shared:
        return f"pretrained on {shared}, where images of {dataset} come from; it may have seen test images"
    return ""


def difference(candidate: Estimate, baseline: Estimate, measure: Measure) -> Difference:
    """The paired test of two estimates that share their resamples."""
    return paired_difference(
        candidate.value - baseline.value, candidate.replicates - baseline.replicates, measure.higher_is_better
    )


def scored(tests: TestSet, label: str) -> NDArray[np.bool_]:
    """Which test rows [n] count for a label, or for any label of a group.

    Those with a known target; of queries, those that have something to find.
    """
    members = [tests.labels.index(name) for name in tests.groups.get(label, (label,))]
    targets = tests.targets[:, members]
    counts_for = targets > 0 if tests.kind == "retrieval" else ~np.isnan(targets)
    return np.asarray(counts_for.any(1))


def patients_scored(tests: TestSet, label: str) -> int:
    """How many patients have a test row that counts for a label or group."""
    return len(np.unique(tests.patients[scored(tests, label)]))


def counts(tests: TestSet, label: str) -> tuple[int, int | None]:
    """Test rows that count, and of them those with a positive target (a finding, pixels, boxes); for a group None."""
    rows = int(scored(tests, label).sum())
    if label in tests.groups:
        return rows, None
    return rows, int((tests.targets[:, tests.labels.index(label)] > 0).sum())


def _record(
    tests: TestSet,
    measure: Measure,
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
        metric=measure.name, label=label, value=one.value, lower=limits.lower, upper=limits.upper, n=n,
        patients=patients_scored(tests, label), positives=positives, seeds=len(tests.rows[encoder]),
        se_patients=one.patient_error, se_seeds=one.seed_error, undefined=limits.undefined,
        synthetic=tests.task.synthetic, note=note,
    )  # fmt: skip
    if base is None or encoder == baseline:
        return record
    gain = difference(one, base, measure)
    return replace(
        record,
        p=gain.p,
        baseline=baseline,
        gain=gain.value,
        gain_lower=gain.interval.lower,
        gain_upper=gain.interval.upper,
    )


def _ties(evaluation: Evaluation, measure: Measure) -> tuple[dict[str, str], float]:
    """Tie-group letters of each encoder's headline, and the smallest detectable difference (median over all pairs)."""
    headline = {encoder: by_label[HEADLINE] for encoder, by_label in evaluation.estimates.items()}
    names = list(headline)
    if len(names) < 2 or all(np.isnan(one.value) for one in headline.values()):
        return dict.fromkeys(names, ""), NAN
    pairs = list(combinations(range(len(names)), 2))
    tests = [difference(headline[names[i]], headline[names[j]], measure) for i, j in pairs]
    separated = np.zeros((len(names), len(names)), dtype=bool)
    for (i, j), p in zip(pairs, holm([test.p_two_sided for test in tests]), strict=True):
        separated[i, j] = separated[j, i] = p < ALPHA
    sign = 1 if measure.higher_is_better else -1
    letters = tie_groups([sign * headline[name].value for name in names], separated)
    errors = [test.standard_error for test in tests if np.isfinite(test.standard_error)]
    detectable = smallest_detectable_difference(float(np.median(errors))) if errors else NAN
    return dict(zip(names, letters, strict=True)), detectable


def _left_out(tests: TestSet, evaluation: Evaluation) -> list[str]:
    """Which labels are left out of the means, and why."""
    family = FAMILIES[tests.kind]
    reasons = {True: f"nothing to find in any of the test {family.rows}", False: "some encoder has no scores"}
    if family is CLASSIFICATION:
        reasons[True] = f"one class only among the test {family.rows}"
    found: dict[bool, list[str]] = {True: [], False: []}
    for label in evaluation.undefined:
        known, positives = counts(tests, label)
        one_class = positives == 0 or (family is CLASSIFICATION and positives == known)
        found[one_class].append(f"{label} ({positives} of {known:,} positive)")
    return [f"{reasons[k]}, so left out of every mean: {', '.join(labels)}" for k, labels in found.items() if labels]


def _corrected(records: Sequence[Record]) -> list[Record]:
    adjusted = holm([record.p for record in records])
    return [replace(record, p_holm=p) for record, p in zip(records, adjusted, strict=True)]


def _correct_headlines(records: Sequence[Record]) -> tuple[Record, ...]:
    """Holm over each table of headlines: a metric of all encoders and tasks of a protocol, synthetic and real apart."""
    result = list(records)
    families = [(r.metric, r.protocol, r.synthetic) for r in records]
    for family in dict.fromkeys(families):
        where = [i for i, r in enumerate(records) if r.label == HEADLINE and families[i] == family]
        for i, record in zip(where, _corrected([records[i] for i in where]), strict=True):
            result[i] = record
    return tuple(result)


def _fewest_positives(tests: TestSet, label: str) -> str:
    """How few positives a label has, or the rarest label of a group."""
    found = {name: counts(tests, name)[1] or 0 for name in tests.groups.get(label, (label,))}
    rarest = min(found, key=lambda name: found[name])
    among = FAMILIES[tests.kind].rows
    return f"{rarest}: {found[rarest]} positives among {counts(tests, rarest)[0]:,} {among}"
