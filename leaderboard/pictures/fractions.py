"""Label efficiency: what each encoder makes of fewer training labels, with bands."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cxrbench.leaderboard.board import HEADLINE, NAN, Board, Record
from cxrbench.leaderboard.cells import best_first
from cxrbench.leaderboard.pictures.about import About, about
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.metrics.kinds import KINDS
from cxrbench.predictions import Kind

Records = dict[tuple[AlignedTask, str], dict[str, Record]]
"""Headlines by task and metric, then by encoder."""


@dataclass(frozen=True)
class FractionsOfTask:
    """One data set's curves; numbers are [encoders][fractions], NaN where a cell was not run.

    ``fractions``: of the training labels, rising, two or more. ``encoders``: the best at the most labels first.
    ``lower``, ``upper``: 95% intervals, which cover patients, and training seeds (which draw the labelled patients)
    where several were run: ``seeds``.
    """

    task: str
    fractions: tuple[float, ...]
    encoders: tuple[str, ...]
    value: tuple[tuple[float, ...], ...]
    lower: tuple[tuple[float, ...], ...]
    upper: tuple[tuple[float, ...], ...]
    seeds: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class LabelEfficiency:
    """A metric's curves of one protocol, a data set each. ``about.fraction`` is NaN: all of them are on the picture."""

    about: About
    tasks: tuple[FractionsOfTask, ...]


def label_efficiency(board: Board, *, headlines_only: bool = False) -> tuple[LabelEfficiency, ...]:
    """By metric and protocol (real before synthetic) the data sets that were run at several label fractions.

    ``headlines_only``: without a column's further metrics.
    """
    found: dict[tuple[str, str, bool], dict[str, dict[float, AlignedTask]]] = {}
    for column in sorted(board.columns, key=lambda c: (c.task.synthetic, c.task.dataset)):
        task = column.task
        for metric in column.metrics[:1] if headlines_only else column.metrics:
            datasets = found.setdefault((metric, task.protocol, task.synthetic), {})
            datasets.setdefault(task.dataset, {})[task.fraction] = task
    records: Records = {}
    for r in board.records:
        if r.label == HEADLINE:
            records.setdefault((r.task, r.metric), {})[r.encoder] = r
    kinds: dict[AlignedTask, Kind] = {c.task: c.kind for c in board.columns}
    pictures = []
    for (metric, protocol, synthetic), datasets in found.items():
        several = {name: of for name, of in datasets.items() if len(of) > 1}
        if not several:
            continue
        task = next(iter(next(iter(several.values())).values()))
        curves = tuple(_curves(dict(sorted(of.items())), metric, records, kinds) for of in several.values())
        of = about(board, (metric, protocol, task.fraction, synthetic))
        pictures.append(LabelEfficiency(replace(of, fraction=NAN), curves))
    return tuple(pictures)


def _curves(
    tasks: Mapping[float, AlignedTask],
    metric: str,
    records: Records,
    kinds: Mapping[AlignedTask, Kind],
) -> FractionsOfTask:
    """The curves of one data set, whose task is given by fraction, rising."""
    of_tasks = [*tasks.values()]
    by_fraction = [records.get((task, metric), {}) for task in of_tasks]
    names = dict.fromkeys(e for of in by_fraction for e in of)
    most = {e: by_fraction[-1][e].value if e in by_fraction[-1] else NAN for e in names}
    encoders = best_first(most, KINDS[kinds[of_tasks[-1]]].measures[metric])
    rows = {e: [of.get(e) for of in by_fraction] for e in encoders}
    return FractionsOfTask(
        task=of_tasks[0].title,
        fractions=tuple(tasks),
        encoders=tuple(encoders),
        value=tuple(tuple(r.value if r else NAN for r in row) for row in rows.values()),
        lower=tuple(tuple(r.lower if r else NAN for r in row) for row in rows.values()),
        upper=tuple(tuple(r.upper if r else NAN for r in row) for row in rows.values()),
        seeds=tuple(tuple(r.seeds if r else 0 for r in row) for row in rows.values()),
    )
