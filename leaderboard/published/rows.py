"""Printed figures as rows of a board's tables, and the notes that their numbers refer to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cxrbench.leaderboard.board import HEADLINE
from cxrbench.leaderboard.published.figure import CAUTION, Published, PublishedFigure
from cxrbench.leaderboard.shown.by_label import LabelTable
from cxrbench.leaderboard.statistics.alignment import AlignedTask

LEGEND = f"{CAUTION}. The numbers say what differs"
Place = tuple[AlignedTask, str, str]
"""Task, metric and label."""


@dataclass(frozen=True)
class PublishedRow:
    """A method of a paper: its figures by place, None where it has none."""

    title: str
    figures: tuple[PublishedFigure | None, ...]


def rows_of(published: Published, places: Sequence[Place]) -> list[PublishedRow]:
    """A row for each method of a paper that has a figure in any place; two figures of one place are two rows."""
    rows: dict[str, list[list[PublishedFigure | None]]] = {}
    for one in published.figures:
        place = (one.task, one.metric, one.label)
        if place not in places:
            continue
        at = places.index(place)
        of_method = rows.setdefault(one.row, [])
        row = next((row for row in of_method if row[at] is None), None)
        if row is None:
            of_method.append(row := [None] * len(places))
        row[at] = one
    return [PublishedRow(title, tuple(row)) for title, of_method in rows.items() for row in of_method]


def in_tables(published: Published, tables: Iterable[LabelTable]) -> Published:
    """The figures that stand in tables: of headlines, and of those labels that have a table."""
    shown = {(t.column.task, t.column.metrics[0], label) for t in tables for label in t.rows}
    kept = [one for one in published.figures if one.label == HEADLINE or (one.task, one.metric, one.label) in shown]
    hidden = len(published.figures) - len(kept)
    more = (
        (f"{hidden:,} published figures of labels have no table here (--labels all, their metric first in --metrics)",)
        if hidden
        else ()
    )
    return replace(published, figures=tuple(kept), left_out=(*published.left_out, *more))


def note_of(one: PublishedFigure) -> str:
    """What must be known of a figure: where it is printed and what differs."""
    return f"{one.paper}, {one.table}: {'; '.join(one.differs)}"


def numbered(published: Published) -> Mapping[str, int]:
    """The notes of all figures, each with its number from 1."""
    return {text: i for i, text in enumerate(dict.fromkeys(note_of(one) for one in published.figures), 1)}
