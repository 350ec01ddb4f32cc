"""Printed figures in LaTeX: in italics, each with the number of its note, the notes below its table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrbench.leaderboard.latex.markdown import latex_of_markdown
from cxrbench.leaderboard.latex.text import latex_text
from cxrbench.leaderboard.published.figure import Published, PublishedFigure
from cxrbench.leaderboard.published.rows import LEGEND, Place, PublishedRow, note_of, numbered, rows_of
from cxrbench.leaderboard.render import remark


@dataclass(frozen=True)
class Printed:
    """The figures of one table. ``notes``: by text, their numbers on the whole board; ``note``: those of the table."""

    published: Published
    rows: Sequence[PublishedRow]
    notes: Mapping[str, int]

    @staticmethod
    def of(published: Published, places: Sequence[Place]) -> "Printed":
        """Those that stand in these places."""
        return Printed(published, rows_of(published, places), numbered(published))

    def pairs(self) -> list[list[str]]:
        """Rows whose cells are two columns wide."""
        return [[_title(row), *(self._pair(one) for one in row.figures)] for row in self.rows]

    def short(self, places: Sequence[Place]) -> list[list[str]]:
        """Rows whose cells are one column wide, of these places."""
        return [
            [_title(row), *(self._pair(one).replace(" & ", "") for one in row.figures)]
            for row in rows_of(self.published, places)
        ]

    @property
    def note(self) -> str:
        """What figures in italics are, and what differs; "" where there are none."""
        used = sorted({self.notes[note_of(one)] for row in self.rows for one in row.figures if one})
        texts = {number: text for text, number in self.notes.items()}
        said = [f"\\textsuperscript{{{n}}}{latex_of_markdown(remark(texts[n])).strip()}." for n in used]
        return " ".join(["", latex_text(f"{LEGEND}."), *said]) if used else ""

    def _pair(self, one: PublishedFigure | None) -> str:
        if one is None:
            return " & "
        text = latex_text(one.printed + (f" ± {one.spread}" if one.spread else ""))
        return f"{{\\textit{{{text}}}}} & \\textsuperscript{{{self.notes[note_of(one)]}}}"


def _title(row: PublishedRow) -> str:
    return f"\\textit{{{latex_text(row.title)}}}"
