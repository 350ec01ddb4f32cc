"""What is said below a paper's table: of its data, of what encoders cost, of what has no value."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from cxrbench.api.papers.finished import finished
from cxrbench.api.papers.planned import PlannedTable
from cxrbench.papers.paper import printed_cells

if TYPE_CHECKING:
    from cxrbench.leaderboard.board import Board
    from cxrbench.leaderboard.papers.record import PaperRecord


def data_notes(board: "Board", *, named: bool) -> list[str]:
    """What is known of a run's data; ``named``: with the data set that it is of, in a table of several."""
    notes = [(column.task.dataset, note) for column in board.columns for note in column.notes]
    told = [note if not named or note.startswith(f"{of}:") else f"{of}: {note}" for of, note in notes]
    return [*board.remarks, *told]


def set_apart(cells: "dict[tuple[int, int], PaperRecord]") -> list[str]:
    """Take synthetic values out of a table that has real ones; a line for each of their data sets."""
    ours = [record for record in cells.values() if record.is_ours]
    if {record.synthetic for record in ours} != {True, False}:
        return []
    drawn = {place: record for place, record in cells.items() if record.is_ours and record.synthetic}
    why = "a phantom in the data folder; its values are not shown in a table of real ones"
    for place, record in drawn.items():
        cells[place] = replace(record, value=math.nan, reason=why)
    return [f"{dataset}: {why}" for dataset in dict.fromkeys(record.dataset for record in drawn.values())]


def costs(planned: PlannedTable) -> list[str]:
    """What encoders and decoders cost here, where the paper prints that: a line for each that it has a column of."""
    printed = {cell.metric for cell in printed_cells(planned.table)}
    if not printed & {"gflops", "decoder-parameters"}:
        return []
    gflops: dict[str, float] = {}
    heads: dict[str, str] = {}
    for one in planned.runs:
        _, found = finished(one, {})
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


def sizes(records: "list[PaperRecord]") -> list[str]:
    """Test sets that are not as large as the paper's."""
    pairs = {(r.dataset, r.n, r.published_n) for r in records if r.is_ours and r.published_n}
    return [
        f"{dataset}: {n:,} tested here, {int(theirs):,} in the paper"
        for dataset, n, theirs in sorted(pairs)
        if n != int(theirs)
    ]


def undefined(records: "list[PaperRecord]") -> list[str]:
    """What the data do not define, and what the results do not have."""
    why: dict[str, list[str]] = {}
    for record in records:
        if record.encoder and not record.is_ours and record.reason.startswith(("the results of", "undefined")):
            why.setdefault(record.reason, []).append(record.column)
    return [f"{', '.join(dict.fromkeys(columns))}: {reason}" for reason, columns in why.items()]
