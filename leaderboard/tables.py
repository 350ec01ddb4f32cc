"""The board: from saved predictions to one tidy record per encoder, task, metric and label."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import HEADLINE, Board, Column, Table
from cxrbench.leaderboard.currency import current, versions
from cxrbench.leaderboard.families import check_metrics, wanted_measures
from cxrbench.leaderboard.overall import overall
from cxrbench.leaderboard.records import Tested, in_families
from cxrbench.leaderboard.remarks import contamination, left_out, merged, reasons, shared_sources
from cxrbench.leaderboard.selection import check_tasks, chosen_baseline, of_tasks
from cxrbench.leaderboard.statistics.alignment import TestSet, align, by_task
from cxrbench.leaderboard.statistics.bootstrap import REPLICATES
from cxrbench.leaderboard.statistics.counting import patients_scored, scored
from cxrbench.leaderboard.statistics.kept import NOTHING_KEPT, Evaluations
from cxrbench.leaderboard.statistics.measured import Measured, measured
from cxrbench.leaderboard.statistics.signed_rank import ROPE
from cxrbench.predictions import NotApplicable, Predictions
from cxrbench.progress import Advance, Count, unheard


class _Draft(NamedTuple):
    """A column before anything is corrected: its metrics, who is marked, and who could not be asked."""

    tests: TestSet
    metrics: tuple[Measured, ...]
    marks: Mapping[str, str]
    not_applicable: Mapping[str, str]


def build(
    predictions: Sequence[Predictions],
    *,
    baseline: str | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    tasks: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    rope: float = ROPE,
    efficiency: Mapping[str, Mapping[str, Any]] | None = None,
    not_applicable: Sequence[NotApplicable] = (),
    kept: Evaluations = NOTHING_KEPT,
    advance: Advance = unheard,
) -> Board:
    """Evaluate saved predictions: values, intervals, tests against the baseline, tie groups, detectable differences.

    ``baseline``: an encoder's name; by default ``random`` where it is present, else no encoder is tested. ``tasks``:
    ``DATASET[:PROTOCOL]``, by default all. ``metrics``: those that a task has of them, the first its headline; by
    default all of its kind. ``rope``: a difference of metrics in [0, 1] that does not matter, for what is said over
    data sets. ``not_applicable``: cells whose encoder could not be asked. Stale cells are left out, with a remark.
    ``kept``: evaluations of before. ``advance``: is told how many replicates of cells are done, of how many.
    Raises UserError if there is nothing to show, or the baseline or a metric is unknown.
    """
    if not 0 < rope < math.inf:
        raise UserError(f"--rope {rope:g}: a difference that does not matter is above 0, e.g. --rope 0.01")
    if not predictions:
        raise UserError("there are no results yet: run `cxrbench run --encoder ... --tasks ...` first")
    now = current(predictions, not_applicable)
    check_tasks([*now.predictions, *now.not_applicable], tasks)
    predictions, not_applicable = of_tasks(now.predictions, tasks), of_tasks(now.not_applicable, tasks)
    if not predictions:
        raise UserError(f"no encoder could be asked {', '.join(tasks or ())}: {not_applicable[0].reason}")
    baseline = chosen_baseline(predictions, baseline)
    check_metrics(metrics, [one.kind for one in predictions])
    why_not = reasons(not_applicable)
    drafts: list[_Draft] = []
    told = Count(advance, replicates * len(predictions))
    for task, of_task in by_task(predictions).items():
        there = {str(one.cell["encoder"]) for one in of_task}
        why = {encoder: reason for encoder, reason in why_not.pop(task, {}).items() if encoder not in there}
        tests = align(task, of_task)
        wanted = wanted_measures(metrics, tests.kind)
        if found := measured(tests, wanted, baseline, replicates, seed, kept, told, first_only=True):
            marks = {str(one.cell["encoder"]): contamination(one) for one in of_task}
            drafts.append(_Draft(tests, tuple(found), marks, why))
    everything = [one for draft in drafts for one in draft.metrics]
    over = overall([draft.metrics[0] for draft in drafts], baseline, rope, seed)
    tested = in_families(everything, baseline, {id(d.tests): d.marks for d in drafts})
    return Board(
        records=tuple(record for draft in drafts for one in draft.metrics for record in tested[id(one)].records),
        columns=tuple(_column(draft, tested) for draft in drafts),
        baseline=baseline,
        replicates=replicates,
        seed=seed,
        efficiency=dict(efficiency or {}),
        nowhere=why_not,
        remarks=(*(stale.line for stale in now.left_out), *versions(predictions), *_shared(predictions, over)),
        overall=over,
        rope=rope,
    )


def _shared(predictions: Sequence[Predictions], over: Iterable[Table]) -> tuple[str, ...]:
    """Of the tables that something is said ``over`` all columns of: data sets that may share patients."""
    lines: list[str] = []
    for _, protocol, fraction, synthetic in over:
        of = (protocol, fraction, synthetic)
        here = [one for one in predictions if (one.cell["protocol"], float(one.cell["fraction"]), one.synthetic) == of]
        lines += [] if synthetic else shared_sources(here)
    return tuple(dict.fromkeys(lines))


def _column(draft: _Draft, tested: Mapping[int, Tested]) -> Column:
    """What must be known of one task."""
    tests = draft.tests
    gaps: dict[tuple[str, str], list[str]] = {}
    missing: dict[str, list[str]] = {}
    for one in draft.metrics:
        for why in left_out(tests, one.undefined, one.rare, one.measure.tested):
            missing.setdefault(why, []).append(one.measure.title)
        for record in tested[id(one)].records:
            if record.label == HEADLINE and record.note:
                gaps.setdefault((record.encoder, record.note), []).append(one.measure.title)
    notes = [*tests.notes, *(f"† {name}: {why}" for name, why in draft.marks.items() if why)]
    notes += [f"{', '.join(titles)}: {why}" for why, titles in missing.items()]
    notes += [f"{', '.join(titles)}: {what}" for what, titles in merged(gaps).items()]
    if tests.kind == "multiclass" and any(one.measure.name == "accuracy" for one in draft.metrics):
        notes.append("exclusive classes: Accuracy is the share of images put in the right class, not a mean")
    return Column(
        task=tests.task,
        kind=tests.kind,
        labels=tests.groups[HEADLINE],
        rows=int(scored(tests, HEADLINE, draft.metrics[0].counted).sum()),
        patients=patients_scored(tests, HEADLINE, draft.metrics[0].counted),
        metrics=tuple(one.measure.name for one in draft.metrics),
        detectable={one.measure.name: tested[id(one)].detectable for one in draft.metrics},
        notes=tuple(dict.fromkeys(notes)),
        not_applicable=draft.not_applicable,
    )
