"""The tables of a board in LaTeX: headlines, what is said over all columns, labels, the other metrics, costs, heads."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cxrbench.leaderboard.board import HEADLINE, Board, Column, Overall
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.columns.heads import Head
from cxrbench.leaderboard.latex.cells import (
    NEVER_ASKED,
    NOTHING,
    PAIR,
    interval,
    mean_cell,
    pair_of,
    short_cell,
    signed,
    value_cell,
)
from cxrbench.leaderboard.latex.floats import RULE, Float, over_two, row
from cxrbench.leaderboard.latex.markdown import sentences
from cxrbench.leaderboard.latex.published import Printed
from cxrbench.leaderboard.latex.text import latex_code, latex_text
from cxrbench.leaderboard.legend import legend
from cxrbench.leaderboard.per_label import legend_of_labels
from cxrbench.leaderboard.published.figure import Published
from cxrbench.leaderboard.render import ABSENT, number, task_title
from cxrbench.leaderboard.shown.by_label import LabelTable
from cxrbench.leaderboard.shown.headline import HeadlineTable
from cxrbench.leaderboard.shown.other_metrics import OtherMetrics


def headline(board: Board, table: HeadlineTable, look: Look, published: Published) -> Float:
    """Encoders x tasks, a value and its interval side by side; below, sensitivities and sizes."""
    pairs = [
        pair_of(r.value for cells in table.rows.values() if (r := cells[i].record)) for i in range(len(table.columns))
    ]
    pairs += [pair_of(value for value, _ in table.means.values())] if table.means else []
    rows = []
    for encoder, cells in table.rows.items():
        line = [
            value_cell(r, place, look.spread, (r.tie_group or ABSENT) if lettered else "") if r else _absent(encoder, c)
            for (r, place), c, lettered in zip(cells, table.columns, table.lettered, strict=True)
        ]
        line += [mean_cell(*table.means[encoder], table.over.get(encoder))] if table.means else []
        rows.append(row(latex_code(encoder), *line))
    blank = ["& "] if table.means else []
    printed = Printed.of(published, [(column.task, table.metric, HEADLINE) for column in table.columns])
    rows += [RULE] * bool(printed.rows) + [row(title, *cells, *blank) for title, *cells in printed.pairs()]
    smallest = [f"{{\\itshape {number(value).replace(ABSENT, '--')}}} & " for value in table.detectable]
    sizes = [over_two(f"\\num{{{c.rows}}} (\\num{{{c.patients}}})") for c in table.columns]
    rows += [RULE, row("\\emph{smallest detectable difference}", *smallest, *blank)]
    rows += [row(f"\\emph{{test {table.family.rows} (patients)}}", *sizes, *blank)]
    titles = [over_two(latex_text(c.task.title)) for c in table.columns] + [over_two("Mean")] * bool(table.means)
    return Float(
        caption=latex_text(table.title), columns="l" + "".join(pairs), head=row(board.row.title(), *titles),
        rows=rows, note=sentences(legend(board, [table.tests], look.spread)) + printed.note,
    )  # fmt: skip


def overall(what: str, table: HeadlineTable) -> Float:
    """The encoders over all columns of a table: mean rank, and how often each is the best."""
    over = sorted(table.over.values(), key=lambda one: (one.rank, one.encoder))
    elsewhere = any(not math.isnan(one.better) for one in over)
    rows = [
        row(
            latex_code(one.encoder), f"{one.rank:.2f} & {interval(one.rank_lower, one.rank_upper, 2)}",
            f"{100 * one.best:.0f}", _gain(one), *([_elsewhere(one)] if elsewhere else []),
        )
        for one in over
    ]  # fmt: skip
    heads = [what.title(), over_two("Mean rank"), "{Best mean, \\%}", over_two("Gain of the mean")]
    return Float(
        caption=f"{latex_text(table.title)}: over all columns. Intervals of ranks 95\\%, of gains 90\\%",
        columns="l"
        + PAIR.format("2.2")
        + "S[table-format=3.0]"
        + PAIR.format("+1.3,retain-explicit-plus")
        + "r" * elsewhere,
        head=row(*heads, *(["Elsewhere, \\%"] if elsewhere else [])),
        rows=rows,
        note="Elsewhere: better / equal / worse than the baseline." if elsewhere else "",
    )


def by_label(board: Board, table: LabelTable, look: Look, published: Published) -> Float:
    """Labels x encoders."""
    printed = Printed.of(published, [(table.column.task, table.column.metrics[0], label) for label in table.rows])
    methods = printed.pairs()
    rows = []
    for i, (label, cells) in enumerate(table.rows.items(), 1):
        line = [value_cell(r, place, look.spread, "") if r else NOTHING for r, place in cells]
        line += [method[i] for method in methods]
        rows.append(row(latex_text(label), latex_text(table.counts[label]), *line))
    of = range(len(table.encoders))
    pairs = [pair_of(r.value for cells in table.rows.values() if (r := cells[i].record)) for i in of]
    return Float(
        caption=latex_text(table.title),
        columns="lr" + "".join(pairs) + pair_of(()) * len(methods),
        head=row("Label", table.heading, *map(over_two, [*map(latex_code, table.encoders), *(m[0] for m in methods)])),
        rows=rows,
        note=sentences(legend_of_labels(board, [table])) + printed.note,
    )


def others(what: str, table: OtherMetrics, published: Published) -> Float:
    """Tasks and encoders x metrics, values only."""
    rows: list[str] = []
    tasks = list(dict.fromkeys(task for task, _ in table.rows))
    places = [(task, one.name, HEADLINE) for task in tasks for one in table.measures]
    printed = Printed.of(published, places)
    for task in tasks:
        lines = []
        for encoder, cells in ((encoder, cells) for (of, encoder), cells in table.rows.items() if of == task):
            dagger = "$^{\\dagger}$" if any(r and r.contaminated for r, _ in cells) else ""
            line = [short_cell(r, place) if r else "--" for r, place in cells]
            lines.append(row(latex_code(encoder) + dagger, *line))
        lines += [row(*cells) for cells in printed.short([place for place in places if place[0] == task])]
        title = latex_text(task_title(task))
        rows += [RULE] * bool(rows) + [row("" if i else title, line) for i, line in enumerate(lines)]
    arrows = [latex_text(f"{one.title} {'↑' if one.higher_is_better else '↓'}") for one in table.measures]
    return Float(
        caption=latex_text(table.title),
        columns="ll" + "c" * len(table.measures),
        head=row("Task", what.title(), *arrows),
        rows=rows,
        note="Marks as in the tables of headlines, for each metric in its own right." + printed.note,
    )


def efficiency(facts: Mapping[str, Mapping[str, Any]]) -> Float:
    """What encoders cost."""
    names = list(dict.fromkeys(name for of in facts.values() for name in of))
    titles = [latex_text(name.replace("_", " ").replace("gflops", "GFLOPs")) for name in names]
    rows = [row(latex_code(e), *(_quantity(facts[e].get(name)) for name in names)) for e in sorted(facts)]
    return Float("Efficiency", "l" + "r" * len(names), row("Encoder", *titles), rows)


def heads(what: str, found: Sequence[Head]) -> Float:
    """Decoders and detection heads."""
    rows = [
        row(latex_code(one.encoder), latex_text(one.task), *map(latex_text, (one.name, str(one.features))),
            f"\\num{{{one.parameters}}}")
        for one in found
    ]  # fmt: skip
    return Float("Heads on maps", "lllrr", row(what.title(), "Task", "Head", "Features", "Parameters"), rows)


def _absent(encoder: str, column: Column) -> str:
    return NEVER_ASKED if encoder in column.not_applicable else NOTHING


def _gain(one: Overall) -> str:
    if math.isnan(one.gain):
        return NOTHING
    low, high = signed(one.gain_lower, plus=True), signed(one.gain_upper, plus=True)
    return f"{one.gain:+.3f} & {{\\scriptsize [{low}, {high}]}}"


def _elsewhere(one: Overall) -> str:
    shares = (one.better, one.equal, one.worse)
    return "--" if math.isnan(one.better) else " / ".join(f"{100 * share:.0f}" for share in shares)


def _quantity(value: Any) -> str:
    if value is None:
        return "--"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return latex_text(str(value))
    return f"\\num{{{value}}}" if isinstance(value, int) else f"\\num{{{value:.3g}}}"
