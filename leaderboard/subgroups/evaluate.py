"""Each encoder within groups of patients, and how far the groups lie apart. From saved predictions alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import HEADLINE, NAN, Record
from cxrbench.leaderboard.currency import current
from cxrbench.leaderboard.families import CLASSIFICATION, FAMILIES, REGRESSION, check_metrics, wanted_measures
from cxrbench.leaderboard.records import in_families
from cxrbench.leaderboard.render import task_title
from cxrbench.leaderboard.selection import check_tasks, chosen_baseline, of_tasks
from cxrbench.leaderboard.statistics.alignment import AlignedTask, TestSet, align, by_task
from cxrbench.leaderboard.statistics.bootstrap import REPLICATES
from cxrbench.leaderboard.statistics.counting import FEWEST_TESTED, rarer_patients
from cxrbench.leaderboard.statistics.inference import Components, moderated
from cxrbench.leaderboard.statistics.kept import NOTHING_KEPT, Evaluations
from cxrbench.leaderboard.statistics.measured import Measured, measured
from cxrbench.leaderboard.statistics.paired import improvement
from cxrbench.leaderboard.statistics.significance import VALUE_LEVEL
from cxrbench.metrics.measure import NO_MEAN, Measure
from cxrbench.predictions import Kind, Predictions
from cxrbench.progress import Advance, unheard

FOR_GROUPS = (CLASSIFICATION, REGRESSION)
"""Whose truth can be unknown for single images, so that a group is the test set with the others masked."""
GroupOf = Mapping[str, str]
"""The group of each test image (or study) by its id; "" where it is unknown."""
ENOUGH = 1 / 3
"""Share of the labels that the test set can be asked, of which a group must have enough patients."""


@dataclass(frozen=True)
class GroupRecord(Record):
    """A record of the headline within a ``group`` of the patients, grouped ``by`` something.

    p is corrected over all groups, encoders and datasets of the metric, protocol and label fraction. ``worst``: it is
    the encoder's worst group; its row has the ``gap`` to its best one, with its 95% interval.
    """

    by: str = ""
    group: str = ""
    worst: bool = False
    best_group: str = ""
    gap: float = NAN
    gap_lower: float = NAN
    gap_upper: float = NAN


@dataclass(frozen=True)
class ByGroup:
    """All encoders within all groups, and for each task what a reader must know."""

    by: str
    records: tuple[GroupRecord, ...]
    notes: Mapping[AlignedTask, tuple[str, ...]]
    baseline: str | None
    replicates: int
    seed: int


class _Part(NamedTuple):
    """One metric of one group of one task."""

    group: str
    one: Measured


def by_group(
    predictions: Sequence[Predictions],
    groups: Mapping[str, GroupOf],
    by: str,
    *,
    baseline: str | None = None,
    tasks: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    kept: Evaluations = NOTHING_KEPT,
    advance: Advance = unheard,
) -> ByGroup:
    """Evaluate encoders within groups of the test images.

    ``groups``: by a dataset's fingerprint, the group of its images. Every group has the same resampled patients, so
    that gaps are paired, and its mean is over the same labels: those of which each group has ``FEWEST_TESTED``
    patients. ``metrics``: by default each task's headline. ``kept``: evaluations of before; ``advance``: is told how
    many tasks are done, of how many. Raises UserError where no task has two groups, and for a metric
    that is not tested.
    """
    now = current(predictions)
    check_tasks(now.predictions, tasks)
    chosen = of_tasks(now.predictions, tasks)
    baseline = chosen_baseline(chosen, baseline)
    check_metrics(metrics, [one.kind for one in chosen])
    if untested := _untested(metrics, chosen):
        raise UserError(f"--by shows metrics that can be tested: leave out {', '.join(untested)} of --metrics")
    parts: list[list[_Part]] = []
    notes: dict[AlignedTask, tuple[str, ...]] = {}
    by_column = by_task(chosen)
    for at, (task, of_task) in enumerate(by_column.items()):
        advance(at, len(by_column))
        if FAMILIES[of_task[0].kind] not in FOR_GROUPS:
            notes[task] = (f"not by {by}: only classification and regression are",)
            continue
        tests = align(task, of_task)
        of_images = groups.get(str(of_task[0].cell.get("parts", {}).get("dataset", "")))
        if of_images is None:
            notes[task] = (
                f"its manifest, which knows the {by}, is not beside the results: run it again to have it there",
            )
            continue
        of_rows = [of_images.get(image, "") for image in image_ids(tests)]
        if not any(of_rows):
            notes[task] = (f"the {by} of no image is known",)
            continue
        within, told = split(tests, of_rows)
        wanted = _measures(metrics, tests)
        measures = [one for one in wanted if all(one.has_mean(t.groups[HEADLINE]) for t in within.values())]
        notes[task] = (*told, *(f"{one.title}: {NO_MEAN}" for one in wanted if one not in measures))
        several = within if len(within) > 1 and measures else {}
        found = {n: measured(t, measures, baseline, replicates, seed, kept) for n, t in several.items()}
        for measure in measures:
            each = [_Part(name, one) for name, of in found.items() for one in of if one.measure.name == measure.name]
            parts += [each] if each else []
    if not parts:
        why = "; ".join(f"{task_title(task)}: {', '.join(of)}" for task, of in notes.items())
        raise UserError(f"no task has two groups by {by} that can be compared ({why})")
    tested = in_families([part.one for of in parts for part in of], baseline, {})
    gaps = _gaps(parts)
    records = [
        _record(part, record, by, gaps.get((id(of[0].one), record.encoder)))
        for of in parts
        for part in of
        for record in tested[id(part.one)].records
        if record.label == HEADLINE
    ]
    return ByGroup(by, tuple(records), notes, baseline, replicates, seed)


def split(tests: TestSet, groups: Sequence[str]) -> tuple[dict[str, TestSet], tuple[str, ...]]:
    """The test set once for each group: all patients, the truth of the others unknown; and notes on what is left out.

    ``groups``: of each test row; "" is unknown. Targets that are unknown count for nothing, so the bootstrap draws the
    same patients for every group.
    """
    rows = np.array(groups, dtype=np.str_)
    names = sorted({*groups} - {""})
    unknown = int((rows == "").sum())
    notes = [f"{unknown:,} of {len(rows):,} images are of no known group"] if unknown else []
    if len(names) == 1:
        notes.append(f"all {'others' if unknown else 'images'} are of one group, {names[0]}")
    whole = tests.groups[HEADLINE]
    asked = [label for label in whole if rarer_patients(tests, label) >= FEWEST_TESTED]
    masked = {name: _only(tests, rows == name, whole) for name in names}
    enough = {
        name: [label for label in asked if rarer_patients(one, label) >= FEWEST_TESTED] for name, one in masked.items()
    }
    kept = [name for name in names if enough[name] and len(enough[name]) >= ENOUGH * len(asked)]
    for name in (name for name in names if name not in kept):
        who = "with a known number" if FAMILIES[tests.kind] is REGRESSION else "with, and without, the finding"
        notes.append(
            f"{name} is left out: {FEWEST_TESTED} patients {who} in {len(enough[name])} of {len(asked)} labels only"
        )
    labels = tuple(label for label in asked if all(label in enough[name] for name in kept))
    if len(kept) > 1 and len(labels) < len(whole):
        notes.append(f"means are over the labels of which every group has enough: {', '.join(labels) or 'none'}")
    if not labels:
        return {}, tuple(notes)
    return {name: _only(tests, rows == name, labels) for name in kept}, tuple(notes)


def image_ids(tests: TestSet) -> list[str]:
    """The ids of the test rows, in order."""
    return next(iter(tests.rows.values()))[0]["image_id"].astype(str).tolist()


def _only(tests: TestSet, member: NDArray[np.bool_], labels: tuple[str, ...]) -> TestSet:
    """The test set with these labels, in which the truth of other rows than the members [n] is unknown."""
    columns = [f"target:{label}" for label in tests.labels]
    return replace(
        tests,
        groups={HEADLINE: labels},
        targets=np.where(member[:, None], tests.targets, np.nan),
        rows={
            encoder: tuple(rows.assign(**{c: rows[c].where(member) for c in columns}) for rows in seeds)
            for encoder, seeds in tests.rows.items()
        },
    )


def _measures(metrics: Sequence[str] | None, tests: TestSet) -> list[Measure]:
    wanted = wanted_measures(metrics, tests.kind)
    return wanted if metrics is not None else wanted[:1]


def _untested(metrics: Sequence[str] | None, cells: Sequence[Predictions]) -> list[str]:
    """Which of the metrics are shown elsewhere without a test."""
    kinds: dict[Kind, None] = dict.fromkeys(one.kind for one in cells if FAMILIES[one.kind] in FOR_GROUPS)
    of = [measure for kind in kinds for measure in wanted_measures(metrics or (), kind)]
    return list(dict.fromkeys(measure.name for measure in of if not measure.tested)) if metrics else []


def _gaps(parts: Sequence[Sequence[_Part]]) -> dict[tuple[int, str], tuple[str, str, float, float, float]]:
    """By task and metric, and encoder: worst and best group, and the gap with its interval."""
    found: dict[tuple[int, str], tuple[str, str, Components]] = {}
    for of in parts:
        measure = of[0].one.measure
        for encoder in of[0].one.headlines:
            values = {p.group: p.one.headlines[encoder] for p in of if not math.isnan(p.one.headlines[encoder].value)}
            if len(values) < 2:
                continue
            order = sorted(values, key=lambda name: (measure.sign * values[name].value, name))
            gap = improvement(values[order[-1]], values[order[0]], measure)
            found[id(of[0].one), encoder] = (order[0], order[-1], gap)
    sure = moderated([gap for *_, gap in found.values()])
    return {
        key: (worst, best, gap.value, (ends := one.interval(VALUE_LEVEL)).lower, ends.upper)
        for (key, (worst, best, gap)), one in zip(found.items(), sure, strict=True)
    }


def _record(part: _Part, record: Record, by: str, gap: tuple[str, str, float, float, float] | None) -> GroupRecord:
    if gap is None or gap[0] != part.group:
        return GroupRecord(**vars(record), by=by, group=part.group)
    _, best, value, lower, upper = gap
    return GroupRecord(
        **vars(record),
        by=by,
        group=part.group,
        worst=True,
        best_group=best,
        gap=value,
        gap_lower=lower,
        gap_upper=upper,
    )
