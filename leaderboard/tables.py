"""The board: from saved predictions to one tidy record per encoder, task, metric and label."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import HEADLINE, Board, Column, Record, Table
from cxrbench.leaderboard.columns.aggregated import Aggregated
from cxrbench.leaderboard.columns.drafts import Draft, drafted
from cxrbench.leaderboard.columns.elsewhere import beside, chosen_metrics, efficiency_of, encoders_of, told_of
from cxrbench.leaderboard.columns.heads import heads_of
from cxrbench.leaderboard.currency import current, versions
from cxrbench.leaderboard.families import check_metrics
from cxrbench.leaderboard.overall import overall
from cxrbench.leaderboard.records import Tested, in_families
from cxrbench.leaderboard.remarks import merged, reasons, shared_sources
from cxrbench.leaderboard.selection import check_tasks, chosen_baseline, of_tasks
from cxrbench.leaderboard.statistics.alignment import by_task
from cxrbench.leaderboard.statistics.bootstrap import REPLICATES
from cxrbench.leaderboard.statistics.kept import NOTHING_KEPT, Evaluations
from cxrbench.leaderboard.statistics.signed_rank import ROPE
from cxrbench.memory import settled
from cxrbench.predictions import NotApplicable, Predictions
from cxrbench.progress import Advance, Count, unheard


@settled()
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
    aggregates: Sequence[Aggregated] = (),
    kept: Evaluations = NOTHING_KEPT,
    advance: Advance = unheard,
) -> Board:
    """Evaluate saved predictions: values, intervals, tests against the baseline, tie groups, detectable differences.

    ``baseline``: an encoder's name; by default ``random`` where it is present, else no encoder is tested. ``tasks``:
    ``DATASET[:PROTOCOL]``, by default all. ``metrics``: those that a task has of them, the first its headline; by
    default all of its kind. ``rope``: a difference of metrics in [0, 1] that does not matter, for what is said over
    data sets. ``not_applicable``: cells whose encoder could not be asked. ``aggregates``: columns of which no cell is
    here. Stale cells are left out, with a remark. ``kept``: evaluations of before. ``advance``: is told how many
    replicates of cells are done, of how many.
    Raises UserError if there is nothing to show, or the baseline or a metric is unknown.
    """
    if not 0 < rope < math.inf:
        raise UserError(f"--rope {rope:g}: a difference that does not matter is above 0, e.g. --rope 0.01")
    if not predictions and not aggregates:
        raise UserError("there are no results yet: run `cxrbench run --encoder ... --tasks ...` first")
    now = current(predictions, not_applicable)
    check_tasks([*now.predictions, *now.not_applicable], tasks, [one.task for one in aggregates])
    predictions, not_applicable = of_tasks(now.predictions, tasks), of_tasks(now.not_applicable, tasks)
    elsewhere, unread = beside(predictions, aggregates, tasks)
    if not predictions and not elsewhere:
        raise UserError(f"no encoder could be asked {', '.join(tasks or ())}: {not_applicable[0].reason}")
    baseline = chosen_baseline(predictions, baseline, encoders_of(elsewhere))
    check_metrics(metrics, [*(one.kind for one in predictions), *(one.draft.tests.kind for one in elsewhere)])
    why_not = reasons(not_applicable)
    drafts: list[Draft] = []
    told = Count(advance, replicates * len(predictions))
    for task, of_task in by_task(predictions).items():
        draft = drafted(
            task, of_task, baseline, replicates, seed, metrics=metrics, not_applicable=why_not.pop(task, {}),
            kept=kept, told=told,
        )  # fmt: skip
        drafts += [draft] if draft else []
    for one in elsewhere:
        why_not.pop(one.task, None)
        drafts += [draft] if (draft := chosen_metrics(one, baseline, metrics)) else []
    drafts.sort(key=lambda draft: draft.tests.task)
    everything = [one for draft in drafts for one in draft.metrics]
    over = overall([draft.metrics[0] for draft in drafts], baseline, rope, seed)
    tested = in_families(everything, baseline, {id(d.tests): d.marks for d in drafts})
    remarks = [*(stale.line for stale in now.left_out), *versions(predictions), *unread]
    remarks += told_of(elsewhere, predictions, baseline, replicates)
    return Board(
        records=tuple(record for draft in drafts for record in _records(draft, tested)),
        columns=tuple(_column(draft, tested) for draft in drafts),
        baseline=baseline,
        replicates=replicates,
        seed=seed,
        efficiency={**efficiency_of(elsewhere), **(efficiency or {})},
        heads=heads_of(predictions),
        nowhere=why_not,
        remarks=(*remarks, *_shared(predictions, over)),
        overall=over,
        rope=rope,
    )


def _records(draft: Draft, tested: Mapping[int, Tested]) -> Iterator[Record]:
    """Of all metrics of a task, with what was assumed of their encoders."""
    for one in draft.metrics:
        for record in tested[id(one)].records:
            assumed = draft.assumed.get(record.encoder)
            yield replace(record, assumed=assumed) if assumed else record


def _shared(predictions: Sequence[Predictions], over: Iterable[Table]) -> tuple[str, ...]:
    """Of the tables that something is said ``over`` all columns of: data sets that may share patients."""
    lines: list[str] = []
    for _, protocol, fraction, synthetic in over:
        of = (protocol, fraction, synthetic)
        here = [one for one in predictions if (one.cell["protocol"], float(one.cell["fraction"]), one.synthetic) == of]
        lines += [] if synthetic else shared_sources(here)
    return tuple(dict.fromkeys(lines))


def _column(draft: Draft, tested: Mapping[int, Tested]) -> Column:
    """What must be known of one task."""
    tests = draft.tests
    gaps: dict[tuple[str, str], list[str]] = {}
    missing: dict[str, list[str]] = {}
    for one in draft.metrics:
        for why in draft.left_out[one.measure.name]:
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
        rows=draft.rows,
        patients=draft.patients,
        metrics=tuple(one.measure.name for one in draft.metrics),
        detectable={one.measure.name: tested[id(one)].detectable for one in draft.metrics},
        notes=tuple(dict.fromkeys(notes)),
        not_applicable=draft.not_applicable,
        apart={one.measure.name: tested[id(one)].apart for one in draft.metrics},
    )
