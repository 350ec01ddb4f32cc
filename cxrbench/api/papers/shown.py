"""A paper's table as it has come out: read from the results folder, in every form."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.api.forms import Tables
from cxrbench.api.papers.finished import finished
from cxrbench.api.papers.one_run import PlannedRun
from cxrbench.api.papers.planned import PlannedTable
from cxrbench.api.papers.remarks import costs, data_notes, empty_masks, set_apart, sizes, undefined
from cxrbench.papers.paper import PaperCell, Statistic, printed_cells
from cxrbench.papers.published import PublishedValue
from cxrbench.papers.values import of_table
from cxrbench.progress import Bar, unseen

if TYPE_CHECKING:
    from cxrbench.leaderboard.board import Board, Record
    from cxrbench.leaderboard.papers.record import PaperRecord
    from cxrbench.leaderboard.papers.statistics import PaperStatistic
    from cxrbench.predictions import Predictions

NOT_COMPUTED = "not computed yet: run without --dry-run"


@dataclass(frozen=True)
class PaperShown(Tables):
    """A paper's table: ours beside the published figures. ``records``: see ``PaperRecord``; ``lines``: notes."""

    planned: PlannedTable
    cells: Mapping[tuple[int, int], "PaperRecord"]
    lines: tuple[str, ...]

    @property
    def records(self) -> "Sequence[PaperRecord]":
        """One per cell, row by row."""
        return [self.cells[place] for place in sorted(self.cells)]

    def to_markdown(self) -> str:
        """The table in the paper's shape, and below it what was not run and why."""
        from cxrbench.leaderboard.papers.shape import to_markdown

        return to_markdown(self.planned.paper, self.planned.table, self.cells, self.lines)

    def to_csv(self) -> str:
        """A row per record."""
        from cxrbench.leaderboard.papers.record import PaperRecord
        from cxrbench.leaderboard.render import dump_csv

        return dump_csv(PaperRecord, self.records)

    def to_json(self) -> str:
        """Records, commands and notes; NaN is null."""
        from dataclasses import asdict

        from cxrbench.leaderboard.render import dump_json

        return dump_json(
            {
                "paper": self.planned.paper.name, "table": self.planned.table.number,
                "records": [asdict(record) for record in self.records], "commands": self.planned.commands(),
                "notes": list(self.lines),
            }
        )  # fmt: skip


def show_table(
    planned: PlannedTable,
    failed: Mapping[str, str] | None = None,
    *,
    statistic: Statistic | None = None,
    replicates: int = 10_000,
    cache: Path | str | None = None,
    bar: Bar = unseen,
) -> PaperShown:
    """The table from what is finished of its runs. ``failed``: by ``cell_key``, why a cell has no result.

    ``statistic``: what stands beside our value and interval (None: the paper's own; the mean of folds, where these are
    cross-validated). ``replicates``: of the bootstrap; ``cache``: where evaluations are kept. Raises UserError for a
    damaged file, and for a statistic that the runs cannot give.
    """
    planned.refuse_statistic(statistic)
    folded = any("folds" in one.settings for one in planned.runs)
    chosen = statistic or ("folds" if folded else planned.table.statistic)
    planned = replace(planned, table=replace(planned.table, statistic=chosen))
    table = planned.table
    alone = printed_cells(table)
    printed = of_table(planned.paper.name, table, [*alone, *(cell for one in planned.runs for cell in one.run.cells)])
    cells = {(cell.row, cell.column): _blank(planned, cell, printed.get(cell)) for cell in alone}
    lines = [*planned.lines]
    boards: list[tuple[PlannedRun, Board]] = []
    empty: list[str] = []
    for one in planned.runs:
        reasons, found = finished(one, failed or {})
        board = _board(planned, one, found, replicates, cache, bar) if found else None
        lines += [f"{encoder}: {why}" for encoder, why in reasons.items()]
        boards += [(one, board)] if board else []
        empty += empty_masks(one, found)
        for cell in one.run.cells:
            cells[cell.row, cell.column] = _record(planned, one, cell, board, found, printed.get(cell))
    lines += data_notes(boards, named=len({one.run.dataset for one in planned.runs}) > 1)
    lines += [*empty, *set_apart(cells), *costs(planned)]
    lines += [*planned.why_not(), *sizes(list(cells.values())), *undefined(list(cells.values()))]
    return PaperShown(planned, cells, tuple(dict.fromkeys(lines)))


def _board(
    planned: PlannedTable,
    one: PlannedRun,
    found: "list[Predictions]",
    replicates: int,
    cache: Path | str | None,
    bar: Bar,
) -> "Board":
    """The board of one run: the metrics that its cells show, against the table's baseline where it has one."""
    from cxrbench.api.saved import kept_in
    from cxrbench.leaderboard.tables import build
    from cxrbench.metrics.kinds import KINDS

    known = {metric for predictions in found for metric in KINDS[predictions.kind].measures}
    metrics = tuple(dict.fromkeys(cell.metric for cell in one.run.cells if cell.metric in known))
    there = {str(predictions.cell["encoder"]) for predictions in found}
    baseline = one.specs.get(planned.table.baseline, "")
    with bar("evaluating") as advance:
        return build(
            found, baseline=baseline if baseline in there else None, metrics=metrics or None, replicates=replicates,
            kept=kept_in(cache), advance=advance,
        )  # fmt: skip


def _blank(planned: PlannedTable, cell: PaperCell, printed: PublishedValue | None) -> "PaperRecord":
    """A cell as the paper has it."""
    from cxrbench.leaderboard.papers.record import PAPER_ALONE, PaperRecord

    table = planned.table
    return PaperRecord(
        planned.paper.name, table.number, table.rows[cell.row].name, _name(table.columns[cell.column]), "",
        cell.dataset, cell.protocol, cell.fraction, cell.metric, cell.label, statistic=table.statistic,
        published=printed.value if printed else "", published_spread=printed.spread if printed else "",
        published_n=printed.n if printed else "", source=printed.source if printed else "", digits=cell.digits,
        reason=PAPER_ALONE,
    )  # fmt: skip


def _record(
    planned: PlannedTable,
    one: PlannedRun,
    cell: PaperCell,
    board: "Board | None",
    found: "list[Predictions]",
    printed: PublishedValue | None,
) -> "PaperRecord":
    from cxrbench.leaderboard.papers.record import differs

    table, spec = planned.table, one.specs.get(cell.encoder, "")
    why = one.missing.get(cell.encoder) or one.reason or NOT_COMPUTED
    empty = replace(_blank(planned, cell, printed), encoder=spec, synthetic=one.synthetic, reason=why)
    ours = _found(board, spec, cell) if board else None
    if ours is None:
        missing = f"the results of {cell.task} have no {cell.metric} of {cell.label}" if board else empty.reason
        has = board is not None and any(record.encoder == spec for record in board.records)
        return replace(empty, reason=missing) if has else empty
    scale = cell.scale
    special = _statistic(table.statistic, ours, [p for p in found if _is(p, spec, cell)], cell)
    lower, upper = scale * ours.lower, scale * ours.upper
    return replace(
        empty, value=scale * ours.value, lower=lower, upper=upper, n=ours.n, seeds=ours.seeds,
        centre=scale * special.centre, spread=scale * special.spread, low=scale * special.low,
        high=scale * special.high, p=ours.p, gain=scale * ours.gain, contaminated=ours.contaminated,
        synthetic=ours.synthetic, reason=ours.note if math.isnan(ours.value) else "",
        differs=not ours.synthetic
        and printed is not None
        and differs(lower, upper, printed.number, printed.resolution),
    )  # fmt: skip


def _statistic(name: str, ours: "Record", cells: "list[Predictions]", cell: PaperCell) -> "PaperStatistic":
    """The paper's own statistic of a cell."""
    from cxrbench.leaderboard.papers.statistics import PaperStatistic, over_folds, over_resamples

    if name == "seeds":
        return PaperStatistic(ours.value, ours.sd_seeds)
    if name == "folds":
        return over_folds(cells, cell.metric, ours.label)
    if name == "resamples" and cells:
        return over_resamples(cells[0], cell.metric, ours.label)
    return PaperStatistic()


def _found(board: "Board", spec: str, cell: PaperCell) -> "Record | None":
    """The record of a cell: of its label, or of the group of labels that it names."""
    for record in board.records:
        if (record.encoder, record.metric, record.label) == (spec, cell.metric, cell.label) and math.isclose(
            record.fraction, cell.share
        ):
            return record
    return None


def _is(predictions: "Predictions", spec: str, cell: PaperCell) -> bool:
    return predictions.cell["encoder"] == spec and math.isclose(float(predictions.cell["fraction"]), cell.share)


def _name(column: Any) -> str:
    return " ".join(part for part in (column.group, column.name) if part)
