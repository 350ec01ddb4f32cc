"""Printed figures in Markdown: in italics, each with the number of its note."""

from collections.abc import Mapping, Sequence

from cxrbench.leaderboard.published.figure import Published, PublishedFigure
from cxrbench.leaderboard.published.rows import LEGEND, Place, note_of, numbered, rows_of
from cxrbench.leaderboard.render import escaped, remark

RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def published_rows(published: Published, places: Sequence[Place]) -> list[list[str]]:
    """Rows of a table: the method, then a cell for each place."""
    notes = numbered(published)
    return [
        [f"*{escaped(row.title)}*", *(_cell(one, notes) for one in row.figures)] for row in rows_of(published, places)
    ]


def notes_of_published(published: Published) -> list[str]:
    """The heading, what figures in italics are, and what differs of each."""
    if not published.figures and not published.left_out:
        return []
    lines = [LEGEND] if published.figures else ["No published figure is like a column here"]
    lines += [f"{str(i).translate(RAISED)} {text}" for text, i in numbered(published).items()]
    lines += [f"{line[0].upper()}{line[1:]}" for line in published.left_out]
    return ["### Published figures", "\n".join(f"- {remark(line)}." for line in lines)]


def _cell(one: PublishedFigure | None, notes: Mapping[str, int]) -> str:
    if one is None:
        return ""
    spread = f" ± {one.spread}" if one.spread else ""
    return f"*{escaped(one.printed + spread)}*{str(notes[note_of(one)]).translate(RAISED)}"
