"""Check marks as Markdown, in the shape of RadJEPA's Table 6."""

from collections.abc import Sequence

from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.display import encoders_of, key_to_names, renamed, shown_names
from cxrbench.leaderboard.marks.grid import MarkGrid, mark_grids
from cxrbench.leaderboard.render import ABSENT, SYNTHETIC, code, escaped, markdown_table, remark
from cxrbench.leaderboard.shown.by_label import check_labels
from cxrbench.leaderboard.statistics.significance import ALPHA

SIGNS = {"better": "✓✓", "above": "✓", "below": "✗", "worse": "✗✗", "untested": ABSENT, "": ""}


def to_grid(board: Board, look: Look = Look()) -> str:  # noqa: B008  frozen
    """A grid for each encoder against the board's baseline: real results first.

    Raises UserError as ``mark_grids`` does, and for an encoder or a label that the board does not have.
    """
    shown = shown_names(encoders_of(board), look.names)
    check_labels(board, look.labels)
    board = renamed(board, shown)
    grids = mark_grids(board, look.labels)
    parts = [f"# Against {code(board.baseline or '')}"]
    if board.remarks:
        parts.append("\n".join(f"- {remark(one)}." for one in board.remarks))
    for synthetic in (False, True):
        of = [grid for grid in grids if grid.synthetic == synthetic]
        parts += ["## Results on synthetic data", SYNTHETIC] if of and synthetic else []
        parts += [part for grid in of for part in (f"### {code(grid.encoder)}", _table(grid), _counts(grid))]
    parts.append("\n".join(f"- {line}" for line in _legend(board)))
    if key := key_to_names(shown):
        parts += [f"## {board.row.title()}s", key]
    return "\n\n".join(parts) + "\n"


def _table(grid: MarkGrid) -> str:
    body = [[escaped(name), *(SIGNS[mark] for mark in row)] for name, row in grid.rows.items()]
    return markdown_table(body, ["Metric", *map(escaped, grid.columns)])


def _counts(grid: MarkGrid) -> str:
    """As the paper counts them."""
    counts = grid.counts
    tested = [mark for mark in SIGNS if mark not in ("untested", "")]
    said = ", ".join(f"{counts.get(mark, 0)} {SIGNS[mark]}" for mark in tested)
    left = f", {counts['untested']} not tested" if counts.get("untested") else ""
    undefined = f" Without a value: {', '.join(map(escaped, grid.undefined))}." if grid.undefined else ""
    return f"Tested: {sum(counts.get(mark, 0) for mark in tested)}: {said}{left}.{undefined}"


def _legend(board: Board) -> Sequence[str]:
    against = code(board.baseline or "")
    family = "all datasets and encoders of the metric, protocol and label fraction"
    return (
        f"✓✓: better than {against}, p < {ALPHA:g}; ✓: above it, ✗: below it, neither separated from it; ✗✗: worse "
        f"than it, p < {ALPHA:g}. {ABSENT}: not tested; blank: no such value.",
        f"Tests are the leaderboard's: one-tailed, paired, Holm over {family}; of labels over all labels, groups and "
        "encoders of the task and metric, shown or not. In each direction a false mark has a probability of at most 5% "
        "in such a family; ✓✓ and ✗✗ together 10%.",
        "Rows of metrics are means over a column's labels; rows of labels are of the metric in the column's heading.",
        f"RadJEPA's Table 6 has ✗ for what is ✗ or ✗✗ here, and corrects for nothing. Patients were resampled "
        f"{board.replicates:,} times.",
    )
