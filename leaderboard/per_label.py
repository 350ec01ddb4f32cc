"""A table per task in Markdown: its labels, as many as were asked for, by encoders."""

from collections.abc import Sequence

from cxrbench.leaderboard.board import Board, Column
from cxrbench.leaderboard.cells import Look, Spread, cell
from cxrbench.leaderboard.published.figure import Published
from cxrbench.leaderboard.published.markdown import published_rows
from cxrbench.leaderboard.render import ABSENT, code, escaped, markdown_table
from cxrbench.leaderboard.shown.by_label import LabelTable, label_tables


def label_parts(board: Board, columns: Sequence[Column], look: Look, published: Published) -> list[str]:
    """The headline metric of each task by label: headings, tables and what their marks mean, if any is asked for."""
    tables = label_tables(board, columns, look.labels)
    parts = []
    for table in tables:
        parts += [f"#### {escaped(table.title)}", _written(table, look.spread, published)]
    return [*parts, legend_of_labels(board, tables)] if tables else []


def legend_of_labels(board: Board, tables: Sequence[LabelTable]) -> str:
    """What the marks of labels mean, and how many tests were made."""
    tests = ", ".join(str(table.tests) for table in tables)
    count = f" Tests made: {tests}{' (tables from the top)' * (len(tables) > 1)}." * bool(board.baseline)
    return (
        "Labels: cells as above. `*`: one-tailed against the baseline, Holm over all labels and groups of a task, "
        f"shown or not: of all of these a false `*` has a probability of at most 5%.{count} "
        "Labels of fewer than 10 patients on the rarer side are not tested, those of fewer than 5 have no interval."
    )


def _written(table: LabelTable, spread: Spread, published: Published) -> str:
    places = [(table.column.task, table.column.metrics[0], label) for label in table.rows]
    methods = published_rows(published, places)
    body = [
        [
            escaped(label), table.counts[label], *(cell(r, place, spread) if r else ABSENT for r, place in row),
            *(method[i] for method in methods),
        ]
        for i, (label, row) in enumerate(table.rows.items(), 1)
    ]  # fmt: skip
    titles = [method[0] for method in methods]
    return markdown_table(body, ["Label", table.heading, *map(code, table.encoders), *titles])
