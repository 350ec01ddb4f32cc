"""The board as Markdown: a headline table for each family and protocol, the other metrics, the notes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cxrbench.leaderboard.board import HEADLINE, Board, Column, Overall, Record
from cxrbench.leaderboard.cells import Look, Spread, best_first, by_chance, cell, dagger, ranked, ranks, significant
from cxrbench.leaderboard.columns.heads import Head
from cxrbench.leaderboard.display import encoders_of, key_to_names, renamed, shown_names
from cxrbench.leaderboard.families import FAMILIES, named_protocol
from cxrbench.leaderboard.legend import Tests, legend
from cxrbench.leaderboard.notes import Cells, notes
from cxrbench.leaderboard.per_label import check_labels, label_tables
from cxrbench.leaderboard.render import (
    ABSENT,
    NOT_APPLICABLE,
    SYNTHETIC,
    code,
    escaped,
    markdown_table,
    number,
    percent,
    remark,
    task_title,
)
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.leaderboard.statistics.significance import ALPHA
from cxrbench.metrics.kinds import KINDS
from cxrbench.metrics.measure import Measure
from cxrbench.predictions import Kind


def to_markdown(board: Board, look: Look = Look()) -> str:  # noqa: B008  frozen
    """The leaderboard: real results first, synthetic ones in a section of their own under a line that says so.

    Raises UserError for an encoder or a label that the board does not have.
    """
    shown = shown_names(encoders_of(board), look.names)
    check_labels(board, look.labels)
    board = renamed(board, shown)
    parts = [f"# Protocols of {code(board.encoder)}" if board.encoder else "# Chest X-ray encoder leaderboard"]
    if board.remarks:
        parts.append("\n".join(f"- {remark(one)}." for one in board.remarks))
    for synthetic in (False, True):
        columns = [c for c in board.columns if c.task.synthetic == synthetic]
        if columns:
            parts += _section(board, columns, synthetic, look)
    if board.efficiency:
        parts += ["## Efficiency", efficiency_table(board.efficiency)]
    if board.heads:
        parts += ["## Heads on maps", heads_table(board.row.title(), board.heads)]
    if key := key_to_names(shown):
        parts += [f"## {board.row.title()}s", key]
    return "\n\n".join(parts) + "\n"


def _section(board: Board, columns: Sequence[Column], synthetic: bool, look: Look) -> list[str]:
    """Headline tables, their legend, the other metrics, the notes: of the real or of the synthetic tasks."""
    cells: Cells = {
        (r.task, r.metric, r.encoder): r for r in board.records if r.label == HEADLINE and r.synthetic == synthetic
    }
    columns = sorted(columns, key=lambda c: (c.task.dataset, c.task.protocol, -c.task.fraction))
    tables = _tables(columns)
    fractions = sorted({c.task.fraction for c in columns}, reverse=True)
    parts = ["## Results on synthetic data", SYNTHETIC] if synthetic else ["## Results"]
    counts: list[Tests] = []
    for title, of_table in tables.items():
        for fraction in sorted({c.task.fraction for c in of_table}, reverse=True):
            shown = [c for c in of_table if c.task.fraction == fraction]
            labels = "" if fractions == [1.0] else f", {percent(fraction)} of the training labels"
            over = board.overall.get((shown[0].metrics[0], shown[0].task.protocol, fraction, synthetic), ())
            parts += [f"### {escaped(title)}{labels}", _headline(board.row, shown, cells, over, look.spread)]
            parts += [_overall(over)] if over else []
            counts.append(Tests(_tests(shown, cells), sum(not math.isnan(one.p) for one in over)))
    parts.append(legend(board, counts, look.spread))
    if by_label := label_tables(board, columns, look):
        parts += ["### By label", *by_label]
    for title, of_table in tables.items():
        others = list(dict.fromkeys(m for c in of_table for m in c.metrics if m != of_table[0].metrics[0]))
        if others:
            parts += [f"### {escaped(title.partition(': ')[0])}: other metrics{_mean_over(of_table, others)}"]
            parts.append(_other_metrics(board.row, others, of_table, cells))
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


def _tables(columns: Sequence[Column]) -> dict[str, list[Column]]:
    """The columns that share a headline table, by its title: one metric of one protocol.

    A mean over protocols would say nothing, and would leave out every encoder that cannot serve one of them.
    """
    found: dict[tuple[int, str, str], list[Column]] = {}
    for c in columns:
        named = named_protocol(c.kind, c.task.protocol)
        found.setdefault((FAMILIES[c.kind].place, named, c.metrics[0]), []).append(c)
    tables: dict[str, list[Column]] = {}
    for (_, named, metric), of_table in sorted(found.items(), key=lambda item: item[0]):
        tables[f"{named}: {_measure(of_table[0].kind, metric).title}{_mean_over(of_table, [metric])}"] = of_table
    return tables


def _mean_over(columns: Sequence[Column], metrics: Sequence[str]) -> str:
    """What values of these metrics are means over, if any is a mean."""
    measures = [_measure(columns[0].kind, metric) for metric in metrics]
    means = any(len(c.labels) > 1 and one.has_mean(c.labels) for c in columns for one in measures)
    return f", mean over {FAMILIES[columns[0].kind].labels}" if means else ""


def _tests(columns: Sequence[Column], cells: Cells) -> int:
    """How many tests against the baseline a headline table holds."""
    tasks, metric = {c.task for c in columns}, columns[0].metrics[0]
    return sum(not math.isnan(r.p) for (task, m, _), r in cells.items() if task in tasks and m == metric)


def _measure(kind: Kind, metric: str) -> Measure:
    return KINDS[kind].measures[metric]


def _headline(what: str, columns: Sequence[Column], cells: Cells, over: Sequence[Overall], spread: Spread) -> str:
    """Encoders x tasks; the mean (if any) of those with every cell; below, test sets' sizes and sensitivities."""
    kind, metric = columns[0].kind, columns[0].metrics[0]
    measure, family = _measure(kind, metric), FAMILIES[kind]
    tasks = {c.task for c in columns}
    asked = {e for task, m, e in cells if task in tasks and m == metric}
    asked |= {e for column in columns for e in column.not_applicable}
    rows = {e: [cells.get((c.task, metric, e)) for c in columns] for e in sorted(asked)}
    has_mean = measure.has_mean(label for c in columns for label in c.labels)
    means = {e: _mean(row) if has_mean else math.nan for e, row in rows.items()}
    order = best_first(means, measure)
    places = [ranks({e: r.value for e, row in rows.items() if (r := row[i])}, measure) for i in range(len(columns))]
    mean_places = ranks(means, measure)
    show_mean = len(columns) > 1 and has_mean
    whole = {one.encoder: one for one in over}
    lettered = [any(r and r.tie_group for row in rows.values() if (r := row[i])) for i in range(len(columns))]
    lettered = [some or len(asked) > 1 for some in lettered]
    body = []
    for e in order:
        line = [
            cell(r, rank.get(e), spread) + _letters(r, several) if r else _absent(e, c)
            for r, rank, c, several in zip(rows[e], places, columns, lettered, strict=True)
        ]
        mean = [ranked(number(means[e]), mean_places.get(e)) + _around(whole.get(e))] if show_mean else []
        body.append([code(e), *line, *mean])
    blank = [""] if show_mean else []
    detectable = [number(c.detectable[metric]) for c in columns]
    body.append(["*smallest detectable difference*", *(f"*{d}*" if d != ABSENT else d for d in detectable), *blank])
    body.append([f"*test {family.rows} (patients)*", *(f"*{c.rows:,} ({c.patients:,})*" for c in columns), *blank])
    heads = [what.title(), *(escaped(c.task.title) for c in columns), *(["Mean"] if show_mean else [])]
    return markdown_table(body, heads)


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


def _other_metrics(what: str, metrics: Sequence[str], columns: Sequence[Column], cells: Cells) -> str:
    """Tasks and encoders x metrics, values only."""
    measures = {m: _measure(columns[0].kind, m) for m in metrics}
    body = []
    encoders: dict[AlignedTask, set[str]] = {}
    for task, _, e in cells:
        encoders.setdefault(task, set()).add(e)
    for column in columns:
        here = sorted(encoders.get(column.task, ()))
        found = {m: {e: cells[column.task, m, e] for e in here} if m in column.metrics else {} for m in metrics}
        places = {m: ranks({e: r.value for e, r in found[m].items()}, measures[m]) for m in metrics}
        for e in here:
            of = [found[m].get(e) for m in metrics]
            line = [
                ranked(number(r.value), places[m].get(e)) + _beside(r) if r else ABSENT
                for m, r in zip(metrics, of, strict=True)
            ]
            body.append([escaped(task_title(column.task)), f"{code(e)}{dagger(next(r for r in of if r))}", *line])
    arrows = [f"{one.title} {'↑' if one.higher_is_better else '↓'}" for one in measures.values()]
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


def _mean(row: Sequence[Record | None]) -> float:
    values = [r.value if r else math.nan for r in row]
    return sum(values) / len(values)


def _quantity(value: Any) -> str:
    if value is None:
        return ABSENT
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}" if isinstance(value, float) else str(value)
