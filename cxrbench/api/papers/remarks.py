"""What is said below a paper's table: of its data, of what encoders cost, of what has no value."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cxrbench.api.papers.finished import finished
from cxrbench.api.papers.one_run import PlannedRun
from cxrbench.api.papers.planned import PlannedTable
from cxrbench.papers.paper import printed_cells

if TYPE_CHECKING:
    from cxrbench.leaderboard.board import Board
    from cxrbench.leaderboard.papers.record import PaperRecord
    from cxrbench.predictions import Predictions


def data_notes(boards: "Sequence[tuple[PlannedRun, Board]]", *, named: bool) -> list[str]:
    """What is known of the runs' data, each thing once; ``named``: with the data sets that it is of, in a table of
    several. What is said of a set that is trained on stands with that set, whatever is tested.
    """
    of_note: dict[str, list[str]] = {}
    for run, board in boards:
        for remark in board.remarks:
            of_note.setdefault(remark, [])
        trained = run.run.trained_on if named else ()
        for tested, note in ((column.task.dataset, note) for column in board.columns for note in column.notes):
            of = next((name for name in trained if note.startswith(f"{name}: ")), tested)
            of_note.setdefault(note.removeprefix(f"{of}: ") if named else note, []).append(of)
    sets = {note: ", ".join(dict.fromkeys(of)) for note, of in of_note.items()}
    return [f"{of}: {note}" if of and named else note for note, of in sets.items()]


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


def empty_masks(one: PlannedRun, found: "Sequence[Predictions]") -> list[str]:
    """A line on encoders whose masks are all empty: their Dice is that of the images where nothing is to be found."""
    by_encoder: dict[str, list[str]] = {}
    for predictions in found:
        marked = [f"predicted:{label}" for label in predictions.labels]
        if predictions.kind == "segmentation" and not predictions.rows[marked].to_numpy().any():
            share = f"{100 * float(predictions.cell['fraction']):g}%"
            by_encoder.setdefault(str(predictions.cell["encoder"]), []).append(share)
    return [
        f"{one.run.dataset}: {encoder} at {', '.join(dict.fromkeys(shares))} predicts no pixel of any test image: "
        "those where nothing is to be found count 1, all others 0"
        for encoder, shares in by_encoder.items()
    ]


def undefined(records: "Sequence[PaperRecord]") -> list[str]:
    """What the data do not define, and what the results do not have: a line per reason, with its labels or columns."""
    several = len({record.dataset for record in records if record.encoder}) > 1
    why: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.encoder and not record.is_ours and record.reason.startswith(("the results of", "undefined")):
            reason = record.reason.replace(f"({record.label}: ", "(")
            of = f"{record.dataset}: " if several and reason != record.reason else ""
            named = record.column if reason == record.reason else record.label
            why.setdefault((of, reason), []).append(named)
    return [f"{of}{', '.join(dict.fromkeys(named))}: {reason}" for (of, reason), named in why.items()]
