"""All metrics of a table but its headline: values only, a row for each task and encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrbench.leaderboard.board import Column
from cxrbench.leaderboard.cells import ranks
from cxrbench.leaderboard.notes import Cells
from cxrbench.leaderboard.shown.headline import RankedCell, families_of, mean_over, measure_of
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.metrics.measure import Measure


@dataclass(frozen=True)
class OtherMetrics:
    """``rows``: by task and encoder, a cell for each of the ``measures``; an encoder without any is not there."""

    title: str
    measures: tuple[Measure, ...]
    rows: Mapping[tuple[AlignedTask, str], tuple[RankedCell, ...]]


def other_metrics(columns: Sequence[Column], cells: Cells) -> list[OtherMetrics]:
    """For each headline table that has other metrics, these."""
    found = []
    for title, of_table in families_of(columns).items():
        metrics = list(dict.fromkeys(m for c in of_table for m in c.metrics if m != of_table[0].metrics[0]))
        if metrics:
            named = f"{title.partition(': ')[0]}: other metrics{mean_over(of_table, metrics)}"
            measures = tuple(measure_of(of_table[0].kind, m) for m in metrics)
            rows = {key: row for column in of_table for key, row in _rows(column, measures, cells).items()}
            found.append(OtherMetrics(named, measures, rows))
    return found


def _rows(
    column: Column, measures: Sequence[Measure], cells: Cells
) -> dict[tuple[AlignedTask, str], tuple[RankedCell, ...]]:
    here = sorted({e for task, _, e in cells if task == column.task})
    of = [
        {e: cells[column.task, one.name, e] for e in here if (column.task, one.name, e) in cells}
        if one.name in column.metrics
        else {}
        for one in measures
    ]
    places = [ranks({e: r.value for e, r in records.items()}, one) for records, one in zip(of, measures, strict=True)]
    return {
        (column.task, e): tuple(
            RankedCell(records.get(e), place.get(e)) for records, place in zip(of, places, strict=True)
        )
        for e in here
    }
