"""Printed figures as rows of a board's CSV, which two more columns tell from ours."""

import csv
import io
import math

from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.published.figure import Published, PublishedFigure
from cxrbench.leaderboard.render import csv_field, to_csv

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
    undefined = math.isnan(one.value)
    facts = {
        "encoder": one.row, "dataset": one.task.dataset, "protocol": one.task.protocol, "fraction": one.task.fraction,
        "metric": one.metric, "label": one.label, "value": one.value, "n": one.n, "synthetic": False,
        "published": one.source, "differs": "; ".join(one.differs),
        "note": f"printed as {one.printed}" if undefined else "",
    }  # fmt: skip
    return {name: csv_field(fact) for name, fact in facts.items()}
