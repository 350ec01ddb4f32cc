"""The board as Markdown: a headline table for each family and protocol, the other metrics, the notes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cxrbench.leaderboard.board import HEADLINE, Board, Column, Overall, Record
from cxrbench.leaderboard.cells import Look, Spread, by_chance, cell, dagger, ranked, significant
from cxrbench.leaderboard.columns.heads import Head
from cxrbench.leaderboard.display import encoders_of, key_to_names, renamed, shown_names
from cxrbench.leaderboard.legend import legend
from cxrbench.leaderboard.notes import notes
from cxrbench.leaderboard.per_label import label_parts
from cxrbench.leaderboard.published.figure import NOTHING_PUBLISHED, Published
from cxrbench.leaderboard.published.markdown import notes_of_published, published_rows
from cxrbench.leaderboard.published.rows import in_tables
from cxrbench.leaderboard.render import (
    ABSENT,
    NOT_APPLICABLE,
    SYNTHETIC,
    code,
    escaped,
    markdown_table,
    number,
    remark,
    task_title,
)
from cxrbench.leaderboard.shown.by_label import check_labels, label_tables
from cxrbench.leaderboard.shown.headline import HeadlineTable, headline_cells, headline_tables, sorted_columns
from cxrbench.leaderboard.shown.other_metrics import OtherMetrics, other_metrics
from cxrbench.leaderboard.statistics.significance import ALPHA


def to_markdown(board: Board, look: Look = Look(), published: Published | None = None) -> str:  # noqa: B008  frozen
    """The leaderboard: real results first, synthetic ones in a section of their own under a line that says so.

    ``published``: printed figures, which stand below the real ones. Raises UserError for an encoder or a label that the
    board does not have.
    """
    shown = shown_names(encoders_of(board), look.names)
    check_labels(board, look.labels)
    board = renamed(board, shown)
    beside = published.renamed(shown) if published else NOTHING_PUBLISHED
    parts = [f"# Protocols of {code(board.encoder)}" if board.encoder else "# Chest X-ray encoder leaderboard"]
    if board.remarks:
        parts.append("\n".join(f"- {remark(one)}." for one in board.remarks))
    for synthetic in (False, True):
        if columns := sorted_columns(board, synthetic):
            parts += _section(board, columns, synthetic, look, NOTHING_PUBLISHED if synthetic else beside)
    parts += notes_of_published(beside) if published and all(c.task.synthetic for c in board.columns) else []
    if board.efficiency:
        parts += ["## Efficiency", efficiency_table(board.efficiency)]
    if board.heads:
        parts += ["## Heads on maps", heads_table(board.row.title(), board.heads)]
    if key := key_to_names(shown):
        parts += [f"## {board.row.title()}s", key]
    return "\n\n".join(parts) + "\n"


def _section(board: Board, columns: Sequence[Column], synthetic: bool, look: Look, published: Published) -> list[str]:
    """Headline tables, their legend, the other metrics, the notes: of the real or of the synthetic tasks."""
    cells = headline_cells(board, synthetic)
    tables = headline_tables(board, columns, cells)
    published = in_tables(published, label_tables(board, columns, look.labels))
    parts = ["## Results on synthetic data", SYNTHETIC] if synthetic else ["## Results"]
    for table in tables:
        parts += [f"### {escaped(table.title)}", _headline(board.row, table, look.spread, published)]
        parts += [_overall([*table.over.values()])] if table.over else []
    parts.append(legend(board, [table.tests for table in tables], look.spread))
    parts += notes_of_published(published)
    if by_label := label_parts(board, columns, look, published):
        parts += ["### By label", *by_label]
    for others in other_metrics(columns, cells):
        parts += [f"### {escaped(others.title)}", _other_metrics(board.row, others, published)]
    if any(len(c.metrics) > 1 for c in columns):
        heads = {(c.task, c.metrics[0]) for c in columns}
        count = sum(not math.isnan(r.p) for (task, metric, _), r in cells.items() if (task, metric) not in heads)
        tested = f" (tests made: {count})" if board.baseline else ""
        parts.append(
            f"Marks as above, for each metric in its own right{tested}; intervals and p are in the CSV and JSON."
        )
    if any(not math.isnan(r.by_chance) for r in cells.values()):
        parts.append("By chance: what such scores would have if they were exactly right. Such a metric is not tested.")
    parts += ["### Notes", notes(columns, cells, [w for w in board.nowhere.items() if w[0].synthetic == synthetic])]
    return parts


def _headline(what: str, table: HeadlineTable, spread: Spread, published: Published) -> str:
    """Encoders x tasks; the mean (if any) of those with every cell; below, test sets' sizes and sensitivities."""
    body = []
    for e, row in table.rows.items():
        line = [
            cell(r, place, spread) + _letters(r, several) if r else _absent(e, c)
            for (r, place), c, several in zip(row, table.columns, table.lettered, strict=True)
        ]
        mean = [ranked(number(value), place) + _around(table.over.get(e)) for value, place in _mean(table, e)]
        body.append([code(e), *line, *mean])
    blank = [""] if table.means else []
    places = [(column.task, table.metric, HEADLINE) for column in table.columns]
    body += [[*row, *blank] for row in published_rows(published, places)]
    detectable = [number(value) for value in table.detectable]
    body.append(["*smallest detectable difference*", *(f"*{d}*" if d != ABSENT else d for d in detectable), *blank])
    sizes = (f"*{c.rows:,} ({c.patients:,})*" for c in table.columns)
    body.append([f"*test {table.family.rows} (patients)*", *sizes, *blank])
    heads = [what.title(), *(escaped(c.task.title) for c in table.columns), *(["Mean"] if table.means else [])]
    return markdown_table(body, heads)


def _mean(table: HeadlineTable, encoder: str) -> list[tuple[float, int | None]]:
    """The cell of the mean, if there is such a column."""
    return [table.means[encoder]] if table.means else []


def _around(one: Overall | None) -> str:
    """Interval and mark of a mean."""
    if one is None or math.isnan(one.lower):
        return ""
    return f" [{one.lower:.3f}, {one.upper:.3f}]" + (" \\*" if one.p_holm < ALPHA else "")


def _overall(over: Sequence[Overall]) -> str:
    """The encoders over all columns of a table: mean rank, and how often each is the best."""
    elsewhere = any(not math.isnan(one.better) for one in over)
    body = [
        [
            code(one.encoder), f"{one.rank:.2f} [{one.rank_lower:.2f}, {one.rank_upper:.2f}]", f"{one.best:.0%}",
            ABSENT if math.isnan(one.gain) else f"{one.gain:+.3f} [{one.gain_lower:+.3f}, {one.gain_upper:+.3f}]",
            *([_elsewhere(one)] if elsewhere else []),
        ]
        for one in sorted(over, key=lambda one: (one.rank, one.encoder))
    ]  # fmt: skip
    heads = ["Over all columns", "Mean rank", "Best mean", "Gain of the mean [90% interval]"]
    return markdown_table(body, [*heads, *(["Elsewhere: better / equal / worse"] if elsewhere else [])])


def _elsewhere(one: Overall) -> str:
    """What to expect of other data sets, against the baseline."""
    shares = (one.better, one.equal, one.worse)
    return ABSENT if math.isnan(one.better) else " / ".join(f"{share:.0%}" for share in shares)


def _other_metrics(what: str, others: OtherMetrics, published: Published) -> str:
    """Tasks and encoders x metrics, values only."""
    body = []
    for task in dict.fromkeys(task for task, _ in others.rows):
        title = escaped(task_title(task))
        for e, row in ((e, row) for (of, e), row in others.rows.items() if of == task):
            line = [ranked(number(r.value), place) + _beside(r) if r else ABSENT for r, place in row]
            body.append([title, f"{code(e)}{dagger(next(r for r, _ in row if r))}", *line])
        places = [(task, one.name, HEADLINE) for one in others.measures]
        body += [[title, *row] for row in published_rows(published, places)]
    arrows = [f"{one.title} {'↑' if one.higher_is_better else '↓'}" for one in others.measures]
    return markdown_table(body, ["Task", what.title(), *arrows])


def efficiency_table(efficiency: Mapping[str, Mapping[str, Any]]) -> str:
    """Encoders x what they cost."""
    names = list(dict.fromkeys(name for facts in efficiency.values() for name in facts))
    body = [[code(e), *(_quantity(efficiency[e].get(name)) for name in names)] for e in sorted(efficiency)]
    return markdown_table(body, ["Encoder", *(name.replace("_", " ").replace("gflops", "GFLOPs") for name in names)])


def heads_table(what: str, heads: Sequence[Head]) -> str:
    """What was trained on maps; ``what``: a row of the board."""
    body = [[code(one.encoder), escaped(one.task), one.name, one.features, f"{one.parameters:,}"] for one in heads]
    return markdown_table(body, [what, "Task", "Head", "Features", "Parameters"])


def _absent(encoder: str, column: Column) -> str:
    """In the place of a cell that is not there."""
    return NOT_APPLICABLE if encoder in column.not_applicable else ABSENT


def _letters(r: Record, lettered: bool) -> str:
    """The encoder's tie groups, in a column that has any."""
    return f" {r.tie_group or ABSENT}" if lettered and not math.isnan(r.value) else ""


def _beside(r: Record) -> str:
    """The mark, or for what is not tested what chance alone would give."""
    return significant(r) if math.isnan(r.by_chance) else by_chance(r)


def _quantity(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.3g}"  # 1,432 and not 1.43e+03
    return f"{value:,}" if isinstance(value, int) else str(value)
