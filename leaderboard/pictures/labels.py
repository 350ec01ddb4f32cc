"""The heat map and the radar: each encoder's value on each label of a task, beside the mean over them."""

from dataclasses import dataclass

from cxrbench.leaderboard.board import HEADLINE, NAN, Board, Table
from cxrbench.leaderboard.cells import best_first
from cxrbench.leaderboard.pictures.about import About, about, columns_of, measure_of, records_of

Grid = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class LabelsOfTask:
    """One task's labels by its encoders; numbers are [encoders][labels].

    ``labels``: with their positive test images in ``positives`` (of numbers to be predicted: the known ones) and the
    ``patients`` of the rarer side. ``encoders``: the best ``mean`` (the headline) first. ``lower``, ``upper``: 95%
    intervals. ``p_holm``: one-tailed against the baseline, Holm over all labels and groups of the metric and task; NaN
    of the baseline and of labels of too few patients.
    """

    task: str
    labels: tuple[str, ...]
    positives: tuple[int, ...]
    patients: tuple[int, ...]
    images: tuple[int, ...]
    encoders: tuple[str, ...]
    mean: tuple[float, ...]
    value: Grid
    lower: Grid
    upper: Grid
    p_holm: Grid


@dataclass(frozen=True)
class LabelMaps:
    """The tasks of a table that have several labels."""

    about: About
    tasks: tuple[LabelsOfTask, ...]


def labels_of(board: Board, table: Table) -> LabelMaps:
    """The labels of a table (one of ``about.tables_of(board)``); tasks of one label are left out."""
    of_metric = records_of(board, table[0])
    measure = measure_of(board, table)
    tasks = []
    for column in columns_of(board, table):
        here = of_metric.get(column.task, {})
        first = {label: r for (_, label), r in here.items() if r.positives is not None}
        if len(first) < 2:
            continue
        names = {e for e, _ in here}
        means = {e: here[e, HEADLINE].value if (e, HEADLINE) in here else NAN for e in names}
        encoders = best_first(means, measure)

        def grid(what: str, here=here, encoders=encoders, labels=tuple(first)) -> Grid:
            return tuple(tuple(getattr(here[e, x], what) if (e, x) in here else NAN for x in labels) for e in encoders)

        tasks.append(
            LabelsOfTask(
                task=column.task.title,
                labels=tuple(first),
                positives=tuple(r.positives or 0 for r in first.values()),
                patients=tuple(r.rarer for r in first.values()),
                images=tuple(r.n for r in first.values()),
                encoders=tuple(encoders),
                mean=tuple(means[e] for e in encoders),
                value=grid("value"),
                lower=grid("lower"),
                upper=grid("upper"),
                p_holm=grid("p_holm"),
            )
        )
    return LabelMaps(about(board, table), tuple(tasks))
