"""A paper's table in Markdown: its rows and columns in its order, ours and the published figures beside each other."""

import math
from collections.abc import Mapping, Sequence

from cxrbench.leaderboard.papers.record import PAPER_ALONE, PaperRecord
from cxrbench.leaderboard.render import ABSENT, SYNTHETIC, escaped, markdown_table, remark
from cxrbench.papers.paper import Paper, PaperTable, TablePlace

Cells = Mapping[tuple[int, int], PaperRecord]
"""Records by row and column."""
ALPHA = 0.05


def to_markdown(paper: Paper, table: PaperTable, cells: Cells, lines: Sequence[str]) -> str:
    """Title, table, legend, notes. ``lines``: what was not run and why, what was shortened, what a reader must know."""
    parts = [f"# {escaped(paper.title)}: {table.name}, {escaped(table.title)}"]
    if any(record.synthetic and record.is_ours for record in cells.values()):
        parts.append(SYNTHETIC)
    parts.append(grid(table, cells))
    notes = [*lines, *table.note, *([table.unmeasured] if table.unmeasured else [])]
    said = [*legend(table, cells), *(remark(line) for line in dict.fromkeys(notes))]
    parts.append("\n".join(f"- {line}." for line in said))
    return "\n\n".join(parts) + "\n"


def grid(table: PaperTable, cells: Cells) -> str:
    """The rows and columns. Facts of the rows (backbone, decoder) stand beside their names, in italics: as printed."""
    facts = list(dict.fromkeys(name for row in table.rows for name in row.facts))
    groups = any(row.group for row in table.rows)
    header = [*([""] if groups else []), escaped(table.corner), *map(escaped, facts), *map(heading, table.columns)]
    body: list[list[str]] = []
    for i, row in enumerate(table.rows):
        group = row.group if i == 0 or table.rows[i - 1].group != row.group else ""
        line = [*([escaped(group)] if groups else []), escaped(row.name)]
        line += [f"*{escaped(row.facts[name])}*" if name in row.facts else "" for name in facts]
        line += [shown(table, cells.get((i, j))) for j in range(len(table.columns))]
        body.append(line)
    return markdown_table(body, header)


def heading(column: TablePlace) -> str:
    """``ChestX-ray14 1%``."""
    return escaped(" ".join(part for part in (column.group, column.name) if part))


def shown(table: PaperTable, record: PaperRecord | None) -> str:
    """One cell: ours with its interval and the paper's statistic, and the published figure in italics."""
    if record is None:
        return ""
    printed = record.published + (f" ± {record.published_spread}" if record.published_spread else "")
    published = f"*{escaped(printed)}*" if printed else ""
    if not record.is_ours:
        return published or ("" if record.reason == PAPER_ALONE else ABSENT)
    digits = record.digits
    if table.kind == "marks":
        return mark(record) + (f" ({published})" if published else "")
    text = f"{record.value:.{digits}f}" + ("%" if record.published.endswith("%") else "")
    if not math.isnan(record.lower):
        text += f" [{record.lower:.{digits}f}, {record.upper:.{digits}f}]"
    text += "†" if record.contaminated else ""
    text += beside(record, digits)
    text += f" ({published})" if published else ""
    return text + (" ≠" if record.differs else "")


def beside(record: PaperRecord, digits: int) -> str:
    """The paper's own statistic, where it is another number than ours."""
    if record.statistic == "seeds" and not math.isnan(record.spread):
        return f" ± {record.spread:.{digits}f}"
    if record.statistic == "folds" and not math.isnan(record.centre):
        return f"; folds {record.centre:.{digits}f} ± {record.spread:.{digits}f}"
    if record.statistic == "resamples" and not math.isnan(record.centre):
        return f"; median {record.centre:.{digits}f} [{record.low:.{digits}f}, {record.high:.{digits}f}]"
    return ""


def mark(record: PaperRecord) -> str:
    """``✓✓``, ``✓`` or ``✗`` with the one-tailed p."""
    if math.isnan(record.p):
        return ABSENT
    sign = "✓✓" if record.p < ALPHA else "✓" if record.gain > 0 else "✗"
    return f"{sign} p = {record.p:.3f}"


def legend(table: PaperTable, cells: Cells) -> list[str]:
    """What a cell is."""
    ours = [record for record in cells.values() if record.is_ours]
    said = f"The paper prints: {escaped(table.says)}" if table.says else ""
    if table.kind == "marks":
        return [
            "Cells: ✓✓ better than the baseline, p < 0.05 one-tailed; ✓ better, not significant; ✗ not better "
            "(published)",
            *([said] if said else []),
        ]
    lines = []
    if ours:
        lines.append(f"Cells: ours [95% interval over patients]{_statistic(ours)} (published, in italics)")
    if any(not one.is_ours and one.published and one.reason != PAPER_ALONE for one in cells.values()):
        lines.append("In italics alone: as published; why nothing stands beside it is said below")
    if any(not one.is_ours and not one.published and one.reason != PAPER_ALONE for one in cells.values()):
        lines.append("–: the paper prints nothing there, and there is no value of ours")
    if any(record.differs for record in ours):
        lines.append("≠: the published value lies outside our 95% interval")
    if any(record.synthetic and record.published for record in ours):
        lines.append("Published figures are of patients, ours of drawn images: no difference is flagged")
    if any(record.contaminated for record in ours):
        lines.append("†: the encoder has seen images of this data set or of its source")
    return [*lines, *([said] if said else [])]


def _statistic(ours: Sequence[PaperRecord]) -> str:
    """The paper's own statistic by its name."""
    seeds = max((record.seeds for record in ours), default=0)
    by_name = {
        "seeds": f" ± SD over {seeds} training seeds" if seeds > 1 else "",
        "folds": "; folds: mean ± SD of the folds",
        "resamples": "; median: of 500 resamples of the test set, with their 95%",
    }
    return by_name.get(ours[0].statistic, "")
