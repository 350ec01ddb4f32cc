"""The forest plot: each encoder's value with its interval, column by column, and where the baseline stands."""

from collections.abc import Sequence
from dataclasses import dataclass

from cxrbench.leaderboard.board import NAN, Board, Overall, Record, Table
from cxrbench.leaderboard.cells import best_first
from cxrbench.leaderboard.pictures.about import About, about, columns_of, headlines_of, measure_of


@dataclass(frozen=True)
class ForestColumn:
    """One column: a value per encoder, the best first, those without one (NaN) last.

    ``task``: ``DATASET:PROTOCOL``, "" of the mean over all columns. ``lower``, ``upper``: 95% intervals. ``gain``: over
    the baseline, positive is better, with its 90% interval (``gain_lower`` is where the one-tailed test ends) and
    ``p_holm``; NaN of the baseline and where there was no test. ``ties``: letters, "" of the mean. ``contaminated``:
    the encoder has seen images of the data set. ``by_chance``: what is not tested would have this by chance.
    ``baseline``: the baseline's value, NaN if there is none. ``detectable``: the smallest gain that its marks would
    find with 80% power. ``notes``: why an encoder has no interval, "" if it has.
    """

    task: str
    encoders: tuple[str, ...]
    value: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    gain: tuple[float, ...]
    gain_lower: tuple[float, ...]
    gain_upper: tuple[float, ...]
    p_holm: tuple[float, ...]
    ties: tuple[str, ...]
    contaminated: tuple[bool, ...]
    by_chance: tuple[float, ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...]
    images: int
    patients: int
    baseline: float
    detectable: float


@dataclass(frozen=True)
class Forest:
    """A table's columns, and its means over them where they are tested (headline metrics of several columns)."""

    about: About
    columns: tuple[ForestColumn, ...]
    mean: ForestColumn | None


def forest(board: Board, table: Table) -> Forest:
    """The forest plot of a table (one of ``about.tables_of(board)``)."""
    headlines = headlines_of(board, table)
    columns = []
    for column in columns_of(board, table):
        of = headlines[column.task]
        base = of.get(board.baseline or "")
        columns.append(
            _of_records(
                [*of.values()], column.task.title, column.rows, column.patients, base.value if base else NAN,
                column.detectable.get(table[0], NAN),
            )
        )  # fmt: skip
    over = board.overall.get(table, ())
    return Forest(about(board, table), tuple(columns), _of_means(board, table, over) if over else None)


def _of_records(
    records: Sequence[Record], task: str, images: int, patients: int, baseline: float, detectable: float
) -> ForestColumn:
    return ForestColumn(
        task=task,
        encoders=tuple(r.encoder for r in records),
        value=tuple(r.value for r in records),
        lower=tuple(r.lower for r in records),
        upper=tuple(r.upper for r in records),
        gain=tuple(r.gain for r in records),
        gain_lower=tuple(r.gain_lower for r in records),
        gain_upper=tuple(r.gain_upper for r in records),
        p_holm=tuple(r.p_holm for r in records),
        ties=tuple(r.tie_group for r in records),
        contaminated=tuple(r.contaminated for r in records),
        by_chance=tuple(r.by_chance for r in records),
        seeds=tuple(r.seeds for r in records),
        notes=tuple(r.note for r in records),
        images=images,
        patients=patients,
        baseline=baseline,
        detectable=detectable,
    )


def _of_means(board: Board, table: Table, over: Sequence[Overall]) -> ForestColumn:
    by_name = {one.encoder: one for one in over}
    order = best_first({e: one.value for e, one in by_name.items()}, measure_of(board, table))
    ordered = [by_name[e] for e in order]
    base = by_name.get(board.baseline or "")
    columns = columns_of(board, table)
    return ForestColumn(
        task="",
        encoders=tuple(order),
        value=tuple(one.value for one in ordered),
        lower=tuple(one.lower for one in ordered),
        upper=tuple(one.upper for one in ordered),
        gain=tuple(one.gain for one in ordered),
        gain_lower=tuple(one.gain_lower for one in ordered),
        gain_upper=tuple(one.gain_upper for one in ordered),
        p_holm=tuple(one.p_holm for one in ordered),
        ties=("",) * len(ordered),
        contaminated=(False,) * len(ordered),
        by_chance=(NAN,) * len(ordered),
        seeds=(0,) * len(ordered),
        notes=("",) * len(ordered),
        images=sum(c.rows for c in columns),
        patients=sum(c.patients for c in columns),
        baseline=base.value if base else NAN,
        detectable=NAN,
    )
