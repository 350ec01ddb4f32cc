"""A paper's table as it has come out: read from the results folder, in every form."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.api.forms import Tables
from cxrbench.api.papers.planned import PlannedRun, PlannedTable
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
    damaged file.
    """
    folded = any("folds" in one.settings for one in planned.runs)
    chosen = statistic or ("folds" if folded else planned.table.statistic)
    planned = replace(planned, table=replace(planned.table, statistic=chosen))
    table = planned.table
    alone = printed_cells(table)
    printed = of_table(planned.paper.name, table, [*alone, *(cell for one in planned.runs for cell in one.run.cells)])
    cells = {(cell.row, cell.column): _blank(planned, cell, printed.get(cell)) for cell in alone}
    lines = [*planned.lines]
    for one in planned.runs:
        reasons, found = _finished(one, failed or {})
        board = _board(planned, one, found, replicates, cache, bar) if found else None
        lines += [f"{encoder}: {why}" for encoder, why in reasons.items()]
        lines += _notes(board, named=len({run.run.dataset for run in planned.runs}) > 1) if board else []
        for cell in one.run.cells:
            cells[cell.row, cell.column] = _record(planned, one, cell, board, found, printed.get(cell))
    lines += [*_apart(cells), *_costs(planned)]
    lines += [*planned.why_not(), *_sizes(list(cells.values())), *_undefined(list(cells.values()))]
    return PaperShown(planned, cells, tuple(dict.fromkeys(lines)))


def _notes(board: "Board", *, named: bool) -> list[str]:
    """What is known of a run's data; ``named``: with the data set that it is of, in a table of several."""
    notes = [(column.task.dataset, note) for column in board.columns for note in column.notes]
    told = [note if not named or note.startswith(f"{of}:") else f"{of}: {note}" for of, note in notes]
    return [*board.remarks, *told]


def _apart(cells: "dict[tuple[int, int], PaperRecord]") -> list[str]:
    """Take synthetic values out of a table that has real ones; a line for each of their data sets."""
    ours = [record for record in cells.values() if record.is_ours]
    if {record.synthetic for record in ours} != {True, False}:
        return []
    drawn = {place: record for place, record in cells.items() if record.is_ours and record.synthetic}
    why = "a phantom in the data folder; its values are not shown in a table of real ones"
    for place, record in drawn.items():
        cells[place] = replace(record, value=math.nan, reason=why)
    return [f"{dataset}: {why}" for dataset in dict.fromkeys(record.dataset for record in drawn.values())]


def _costs(planned: PlannedTable) -> list[str]:
    """What encoders and decoders cost here, where the paper prints that: a line for each that it has a column of."""
    printed = {cell.metric for cell in printed_cells(planned.table)}
    if not printed & {"gflops", "decoder-parameters"}:
        return []
    gflops: dict[str, float] = {}
    heads: dict[str, str] = {}
    for one in planned.runs:
        _, found = _finished(one, {})
        known = one.job.request.results.load_efficiency(found) if one.job and found else {}
        for name, spec in one.specs.items():
            gflops |= {name: known[spec]["gflops_per_image"]} if known.get(spec, {}).get("gflops_per_image") else {}
        for predictions in found:
            if head := predictions.cell.get("head"):
                shape = " + ".join(map(str, head["features"]))
                heads[f"{head['name']} on {shape} channels"] = f"{head['parameters'] / 1e6:.4g} M"
    lines = {
        "gflops": ("GFLOPs of an image here, a multiply-add counting two", {k: f"{v:.1f}" for k, v in gflops.items()}),
        "decoder-parameters": ("Parameters of decoders here", heads),
    }
    return [
        f"{what}: {', '.join(f'{name} {value}' for name, value in of.items())}"
        for metric, (what, of) in lines.items()
        if metric in printed and of
    ]


def cell_key(cell: Mapping[str, Any]) -> str:
    """What tells a cell of a run from all others."""
    return f"{cell['encoder']} {cell['task']} {cell['fraction']} {cell['seed']}"


def _finished(one: PlannedRun, failed: Mapping[str, str]) -> "tuple[dict[str, str], list[Predictions]]":
    """By encoder why it has no result, and the finished predictions of a run."""
    from cxrbench.api.runs import cell_facts
    from cxrbench.predictions import Predictions

    reasons: dict[str, str] = {}
    found: list[Predictions] = []
    for cell in one.job.plan.cells if one.job else ():
        why = failed.get(cell_key(cell_facts(cell.cell)), "")
        if cell.state == "not applicable":
            why = f"{cell.cell.task} is not applicable: {cell.reason}"
        if why or cell.state == "blocked" or one.job is None:
            reasons |= {cell.cell.encoder: why} if why else {}
            continue
        path = one.job.request.results.path(cell.cell)
        if path.is_file():
            found.append(_grouped(Predictions.load(path), one.run.cells))
    return reasons, found


def _grouped(predictions: "Predictions", cells: "Sequence[PaperCell]") -> "Predictions":
    """With the groups of labels that the table has means over, where all of these labels are there."""
    groups = {cell.label: cell.members for cell in cells if cell.members and {*cell.members} <= {*predictions.labels}}
    return replace(predictions, groups={**groups, **predictions.groups})


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
    why = one.reason or one.missing.get(cell.encoder) or NOT_COMPUTED
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


def _sizes(records: "list[PaperRecord]") -> list[str]:
    """Test sets that are not as large as the paper's."""
    pairs = {(r.dataset, r.n, r.published_n) for r in records if r.is_ours and r.published_n}
    return [
        f"{dataset}: {n:,} tested here, {int(theirs):,} in the paper"
        for dataset, n, theirs in sorted(pairs)
        if n != int(theirs)
    ]


def _undefined(records: "list[PaperRecord]") -> list[str]:
    """What the data do not define, and what the results do not have."""
    why: dict[str, list[str]] = {}
    for record in records:
        if record.encoder and not record.is_ours and record.reason.startswith(("the results of", "undefined")):
            why.setdefault(record.reason, []).append(record.column)
    return [f"{', '.join(dict.fromkeys(columns))}: {reason}" for reason, columns in why.items()]
