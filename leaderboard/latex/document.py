"""The board as LaTeX, to be read into a paper: its tables, each with its legend, and its notes."""

import math
from collections.abc import Sequence

from cxrbench.leaderboard.board import Board, Column
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.display import encoders_of, key_to_names, renamed, shown_names
from cxrbench.leaderboard.latex.floats import Float
from cxrbench.leaderboard.latex.markdown import latex_of_markdown
from cxrbench.leaderboard.latex.tables import by_label, efficiency, headline, heads, others, overall
from cxrbench.leaderboard.notes import notes
from cxrbench.leaderboard.published.figure import NOTHING_PUBLISHED, Published
from cxrbench.leaderboard.published.rows import in_tables
from cxrbench.leaderboard.render import remark
from cxrbench.leaderboard.shown.by_label import check_labels, label_tables
from cxrbench.leaderboard.shown.headline import headline_cells, headline_tables, sorted_columns
from cxrbench.leaderboard.shown.other_metrics import other_metrics

PREAMBLE = """% cxrbench leaderboard. The preamble needs:
%   \\usepackage[T1]{fontenc}
%   \\usepackage{amssymb,booktabs,adjustbox}
%   \\usepackage{siunitx}
% Best is bold, second underlined; legends stand below the tables, notes behind them. Take what you need."""
STAMP = "SYNTHETIC DATA. These X-rays were drawn by a program: the numbers say nothing of patients."
FLOATS = 10
"""Tables between two page breaks: LaTeX gives up with more floats than it can hold."""


def to_latex(board: Board, look: Look = Look(), published: Published | None = None) -> str:  # noqa: B008  frozen
    """A fragment to be read by ``\\input``: real results first, synthetic ones stamped in every caption.

    ``published``: printed figures, in the real tables. Raises UserError for an encoder or a label that the board does
    not have.
    """
    shown = shown_names(encoders_of(board), look.names)
    check_labels(board, look.labels)
    board = renamed(board, shown)
    beside = published.renamed(shown) if published else NOTHING_PUBLISHED
    parts: list[Float | str] = ["".join(f"- {remark(one)}.\n" for one in board.remarks)]
    for synthetic in (False, True):
        if columns := sorted_columns(board, synthetic):
            parts += _section(board, columns, synthetic, look, NOTHING_PUBLISHED if synthetic else beside)
    parts += ["".join(f"- {remark(line[0].upper() + line[1:])}.\n" for line in beside.left_out)]
    parts += [efficiency(board.efficiency)] if board.efficiency else []
    parts += [heads(board.row, board.heads)] if board.heads else []
    parts += [key_to_names(shown)]
    return "\n\n".join([PREAMBLE, *_written(parts)]) + "\n"


def _section(
    board: Board, columns: Sequence[Column], synthetic: bool, look: Look, published: Published
) -> list[Float | str]:
    """The tables of the real or of the synthetic tasks, and their notes as Markdown."""
    cells = headline_cells(board, synthetic)
    published = in_tables(published, label_tables(board, columns, look.labels))
    found: list[Float] = []
    for table in headline_tables(board, columns, cells):
        found += [headline(board, table, look, published), *([overall(board.row, table)] if table.over else [])]
    found += [by_label(board, table, look, published) for table in label_tables(board, columns, look.labels)]
    found += [others(board.row, table, published) for table in other_metrics(columns, cells)]
    said = notes(columns, cells, [w for w in board.nowhere.items() if w[0].synthetic == synthetic])
    if any(not math.isnan(r.by_chance) for r in cells.values()):
        said += "\n- By chance: what such scores would have if they were exactly right. Such a metric is not tested."
    stamped = [one.stamped(STAMP) for one in found] if synthetic else found
    return [*stamped, f"### Notes{' on synthetic data' * synthetic}\n\n{said}"]


def _written(parts: Sequence[Float | str]) -> list[str]:
    """Tables numbered from the top, with a page break now and then; the rest from Markdown."""
    found: list[str] = []
    number = 0
    for part in parts:
        if isinstance(part, str):
            found += [latex_of_markdown(part).strip()] if part else []
            continue
        number += 1
        found += ["\\clearpage"] if number > 1 and number % FLOATS == 1 else []
        found.append(part.written(f"tab:cxrbench-{number}"))
    return found
