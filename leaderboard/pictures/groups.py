"""Subgroup gaps: each encoder within groups of patients, and how far its worst lies below its best."""

from collections.abc import Sequence
from dataclasses import dataclass

from cxrbench.leaderboard.board import NAN
from cxrbench.leaderboard.pictures.about import About
from cxrbench.leaderboard.subgroups.evaluate import ByGroup, GroupRecord
from cxrbench.leaderboard.subgroups.tables import measure_called

Grid = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class GroupsOfTask:
    """One task's groups; ``value``, ``lower``, ``upper`` (95%) and ``p_holm``: [encoders][groups], NaN where unknown.

    ``images``, ``patients``: of each group. ``encoders``: the smallest gap first. ``worst``, ``best``: of each encoder
    the names of its worst and best group, "" where there are not two; ``gap`` between them, with its 95% interval, on
    the same resamples; not tested. ``notes``: which groups or labels are left out, and why.
    """

    task: str
    groups: tuple[str, ...]
    images: tuple[int, ...]
    patients: tuple[int, ...]
    encoders: tuple[str, ...]
    value: Grid
    lower: Grid
    upper: Grid
    p_holm: Grid
    worst: tuple[str, ...]
    best: tuple[str, ...]
    gap: tuple[float, ...]
    gap_lower: tuple[float, ...]
    gap_upper: tuple[float, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Groups:
    """A table's tasks, grouped ``by`` something (sex, age, ...)."""

    about: About
    by: str
    tasks: tuple[GroupsOfTask, ...]


def groups_of(found: ByGroup) -> tuple[Groups, ...]:
    """By metric, protocol and label fraction (real before synthetic) the tasks that have two groups or more."""
    tables: dict[tuple[str, str, float, bool], list[GroupRecord]] = {}
    for r in sorted(found.records, key=lambda r: r.synthetic):
        tables.setdefault((r.metric, r.protocol, r.fraction, r.synthetic), []).append(r)
    pictures = []
    for (metric, protocol, fraction, synthetic), records in tables.items():
        measure = measure_called(metric)
        of = About(
            metric=metric, title=measure.title, protocol=protocol, fraction=fraction, synthetic=synthetic,
            higher=measure.higher_is_better, share=measure.share, tested=measure.tested,
            baseline=found.baseline or "", row="encoder",
        )  # fmt: skip
        tasks = dict.fromkeys(r.task for r in records)
        pictures.append(
            Groups(
                of,
                found.by,
                tuple(_task([r for r in records if r.task == task], found.notes.get(task, ())) for task in tasks),
            )
        )
    return tuple(pictures)


def _task(records: Sequence[GroupRecord], notes: tuple[str, ...]) -> GroupsOfTask:
    groups = {r.group: r for r in records}
    by = {(r.encoder, r.group): r for r in records}
    worst = {r.encoder: r for r in records if r.worst}
    encoders = sorted(
        dict.fromkeys(r.encoder for r in records),
        key=lambda e: (e not in worst, worst[e].gap if e in worst else 0.0, e),
    )

    def grid(what: str) -> Grid:
        return tuple(tuple(getattr(by[e, g], what) if (e, g) in by else NAN for g in groups) for e in encoders)

    return GroupsOfTask(
        task=records[0].task.title,
        groups=tuple(groups),
        images=tuple(r.n for r in groups.values()),
        patients=tuple(r.patients for r in groups.values()),
        encoders=tuple(encoders),
        value=grid("value"),
        lower=grid("lower"),
        upper=grid("upper"),
        p_holm=grid("p_holm"),
        worst=tuple(worst[e].group if e in worst else "" for e in encoders),
        best=tuple(worst[e].best_group if e in worst else "" for e in encoders),
        gap=tuple(worst[e].gap if e in worst else NAN for e in encoders),
        gap_lower=tuple(worst[e].gap_lower if e in worst else NAN for e in encoders),
        gap_upper=tuple(worst[e].gap_upper if e in worst else NAN for e in encoders),
        notes=notes,
    )
