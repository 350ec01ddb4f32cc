"""Printed figures as rows of a board's CSV, which two more columns tell from ours."""

import csv
import io

from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.published.figure import Published, PublishedFigure
from cxrbench.leaderboard.render import field_text, to_csv

MORE = ("published", "differs")
"""Where a figure is printed, and what differs; both empty of what is ours."""


def to_csv_beside(board: Board, published: Published) -> str:
    """The board's CSV with the columns ``MORE``, and a row for each figure: nothing of it is tested or resampled."""
    header, *ours = csv.reader(io.StringIO(to_csv(board)))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*header, *MORE])
    writer.writerows([*row, "", ""] for row in ours)
    for one in published.figures:
        known = _known(one)
        writer.writerow([known.get(name, "") for name in (*header, *MORE)])
    return out.getvalue()


def _known(one: PublishedFigure) -> dict[str, str]:
    """What the CSV has of a figure."""
    number = "" if one.value != one.value else f"{one.value:.6f}".rstrip("0").rstrip(".")
    texts = {
        "encoder": one.row, "dataset": one.task.dataset, "protocol": one.task.protocol, "metric": one.metric,
        "label": one.label, "published": one.source, "differs": "; ".join(one.differs),
        "note": "" if number else f"printed as {one.printed}",
    }  # fmt: skip
    fraction = f"{one.task.fraction:.6f}".rstrip("0").rstrip(".")
    return {name: field_text(text) for name, text in texts.items()} | {
        "value": number, "n": one.n, "fraction": fraction, "synthetic": "false",
    }  # fmt: skip
