"""Is encoder A better than encoder B? Differences, intervals and p for each task and label."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from cxrbench.errors import UserError
from cxrbench.leaderboard.alignment import AlignedTask, TestSet, align, by_task
from cxrbench.leaderboard.board import HEADLINE, NAN
from cxrbench.leaderboard.bootstrap import REPLICATES
from cxrbench.leaderboard.currency import current, versions
from cxrbench.leaderboard.evaluate import evaluate
from cxrbench.leaderboard.families import CLASSIFICATION, FAMILIES, check_metrics, wanted_measures
from cxrbench.leaderboard.render import (
    ABSENT,
    SYNTHETIC,
    code,
    dump_json,
    escaped,
    markdown_table,
    number,
    remark,
    task_title,
)
from cxrbench.leaderboard.significance import delong, holm_within, smallest_detectable_difference
from cxrbench.leaderboard.tables import contamination, counts, difference, patients_scored
from cxrbench.metrics.measure import Measure
from cxrbench.predictions import Predictions


@dataclass(frozen=True)
class ComparisonRow:
    """One test. ``difference`` is A minus B, turned so that positive means A is better, with its 95% interval.

    ``p``: one-tailed paired bootstrap, H0: A is no better than B; ``p_holm`` over the table's rows of the same kind
    (group means over all tasks; labels over all labels and tasks). ``p_delong``: one-tailed, for AUROC of a label;
    patients vary, training seeds do not. ``detectable``: the smallest difference that this test finds with 80% power.
    """

    dataset: str
    protocol: str
    fraction: float
    synthetic: bool
    metric: str
    label: str
    value_a: float
    value_b: float
    difference: float
    lower: float
    upper: float
    p: float
    p_two_sided: float
    p_holm: float
    p_delong: float
    detectable: float
    n: int
    positives: int | None
    patients: int
    title: str

    @property
    def task(self) -> AlignedTask:
        """The task that the row is about."""
        return AlignedTask(self.synthetic, self.dataset, self.protocol, self.fraction)


@dataclass(frozen=True)
class Comparison:
    """All tests of A against B."""

    a: str
    b: str
    rows: tuple[ComparisonRow, ...]
    notes: tuple[str, ...]
    replicates: int
    seed: int


def compare(
    predictions: Sequence[Predictions],
    a: str,
    b: str,
    *,
    tasks: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Comparison:
    """Test whether encoder ``a`` is better than ``b`` on the tasks (``DATASET[:PROTOCOL]``) that both have results for.

    ``metrics``: those that a task has of them; by default each task's headline. Raises UserError for an unknown
    encoder, task or metric, or where no task has both.
    """
    encoders = sorted({str(one.cell["encoder"]) for one in predictions})
    for name in (a, b):
        if name not in encoders:
            raise UserError(f"unknown encoder {name!r}: the results have {', '.join(encoders) or 'none'}")
    if a == b:
        raise UserError(f"cannot compare {a} with itself: name two encoders")
    now = current(predictions)
    wanted = chosen(now.predictions, tasks)
    check_metrics(metrics, [one.kind for one in wanted])
    rows: list[ComparisonRow] = []
    notes = [stale.line for stale in now.left_out if stale.encoder in (a, b)]
    notes += versions([one for one in wanted if one.cell["encoder"] in (a, b)])
    paired = False
    for task, of_task in by_task([one for one in wanted if one.cell["encoder"] in (a, b)]).items():
        missing = {a, b} - {one.cell["encoder"] for one in of_task}
        if missing:
            notes.append(f"{task_title(task)}: left out, no result of {missing.pop()}")
            continue
        tests = align(task, of_task)
        notes += [f"{task_title(task)}: {note}" for note in tests.notes]
        flattered = {f"† {one.cell['encoder']}: {why}" for one in of_task if (why := contamination(one))}
        notes += [f"{task_title(task)}: {why}" for why in sorted(flattered)]
        for measure in wanted_measures(metrics, tests.kind):
            found = _rows(tests, measure, a, b, replicates, seed)
            rows += found
            paired = True
            if found and metrics is None:
                break  # the first that a task has is its headline
    if not paired:
        raise UserError(f"no task has results of both {a} and {b}: run the missing ones first")
    if not rows:
        raise UserError(f"no task that both {a} and {b} have results for has the metric {', '.join(metrics or ())}")
    return Comparison(a, b, _corrected(rows), tuple(dict.fromkeys(notes)), replicates, seed)


def comparison_to_json(comparison: Comparison) -> str:
    """The comparison whole; NaN is null."""
    return dump_json(asdict(comparison))


def comparison_to_markdown(comparison: Comparison) -> str:
    """A table for each metric: group means first, then labels; real and synthetic tasks apart."""
    a, b = comparison.a, comparison.b
    parts = [f"# Is {code(a)} better than {code(b)}?"]
    for synthetic in (False, True):
        for metric in dict.fromkeys(row.metric for row in comparison.rows if row.synthetic == synthetic):
            rows = [r for r in comparison.rows if (r.metric, r.synthetic) == (metric, synthetic)]
            parts.append(f"## {rows[0].title}{' on synthetic data' if synthetic else ''}")
            parts += [SYNTHETIC] if synthetic else []
            with_delong = any(not math.isnan(r.p_delong) for r in rows)
            headers = ["Task", "Label", code(a), code(b), "Difference [95% interval]", "p", "p (Holm)"]
            headers += ["p (DeLong)"] * with_delong + ["Detectable", "Positives / images"]
            parts.append(markdown_table([_line(row, with_delong) for row in rows], headers))
    parts.append(
        f"Difference: {code(a)} minus {code(b)}, turned so that positive means {code(a)} is better; paired percentile "
        f"bootstrap over patients, {comparison.replicates:,} replicates. p: one-tailed, H0: {code(a)} is no better. "
        "Holm: over the table's means, and apart from them over its labels. DeLong: one-tailed, placements summed by "
        "patient. Detectable: the smallest difference that a one-tailed 5% test finds with 80% power."
    )
    parts += ["\n".join(f"- {remark(note)}." for note in comparison.notes)] if comparison.notes else []
    return "\n\n".join(parts) + "\n"


def chosen(predictions: Sequence[Predictions], tasks: Sequence[str] | None) -> list[Predictions]:
    """Predictions of the named tasks; all of them without names."""
    if tasks is None:
        return list(predictions)
    names = [{str(one.cell["dataset"]), f"{one.cell['dataset']}:{one.cell['protocol']}"} for one in predictions]
    for task in tasks:
        if not any(task in each for each in names):
            known = ", ".join(sorted({f"{one.cell['dataset']}:{one.cell['protocol']}" for one in predictions}))
            raise UserError(f"no results for task {task!r}: the results have {known}")
    return [one for one, each in zip(predictions, names, strict=True) if each & set(tasks)]


def _rows(tests: TestSet, measure: Measure, a: str, b: str, replicates: int, seed: int) -> list[ComparisonRow]:
    """A row for each label and group; none if the metric does not belong to this task."""
    estimates = evaluate(tests, measure, replicates, seed).estimates
    with_delong = measure.name == "auroc" and FAMILIES[tests.kind] is CLASSIFICATION
    rows = []
    for label, one in estimates.get(a, {}).items():
        test = difference(one, estimates[b][label], measure)
        n, positives = counts(tests, label)
        row = ComparisonRow(
            dataset=tests.task.dataset, protocol=tests.task.protocol, fraction=tests.task.fraction,
            synthetic=tests.task.synthetic, metric=measure.name, label=label, value_a=one.value,
            value_b=estimates[b][label].value, difference=test.value, lower=test.interval.lower,
            upper=test.interval.upper, p=test.p, p_two_sided=test.p_two_sided, p_holm=NAN,
            p_delong=_delong(tests, label, a, b) if with_delong else NAN,
            detectable=smallest_detectable_difference(test.standard_error), n=n, positives=positives,
            patients=patients_scored(tests, label), title=measure.title,
        )  # fmt: skip
        rows.append(row)
    return rows


def _delong(tests: TestSet, label: str, a: str, b: str) -> float:
    """One-tailed DeLong p of a label's AUROC, the mean over seeds of A against that of B; NaN for a group."""
    if label not in tests.labels:
        return NAN
    of_a, of_b = tests.scores(a, label), tests.scores(b, label)
    scores, targets = np.concatenate([of_a, of_b]), tests.targets[:, tests.labels.index(label)]
    if np.isnan(scores[:, ~np.isnan(targets)]).any():
        return NAN
    contrast = np.concatenate([np.full(len(of_a), 1 / len(of_a)), np.full(len(of_b), -1 / len(of_b))])
    return delong(scores, targets, tests.patients).contrast(contrast)[2]


def _corrected(rows: Sequence[ComparisonRow]) -> tuple[ComparisonRow, ...]:
    """Holm over each table's means, and apart from them over its labels."""
    families = [(row.metric, row.synthetic, row.positives is None) for row in rows]
    adjusted = holm_within([one.p for one in rows], families)
    return tuple(replace(one, p_holm=p) for one, p in zip(rows, adjusted, strict=True))


def _line(row: ComparisonRow, with_delong: bool) -> list[str]:
    label = f"**{row.label}**" if row.label == HEADLINE else escaped(row.label)
    if math.isnan(row.difference):
        change = ABSENT
    else:
        limits = "" if math.isnan(row.lower) else f" [{row.lower:+.3f}, {row.upper:+.3f}]"
        change = f"{row.difference:+.3f}{limits}"
    images = f"{row.n:,}" if row.positives is None else f"{row.positives:,} / {row.n:,}"
    p = [row.p, row.p_holm, *([row.p_delong] if with_delong else [])]
    values = [number(row.value_a), number(row.value_b), change, *map(_probability, p), number(row.detectable)]
    return [escaped(task_title(row.task)), label, *values, images]


def _probability(p: float) -> str:
    return ABSENT if math.isnan(p) else "< 0.0001" if p < 0.0001 else f"{p:.4f}"
