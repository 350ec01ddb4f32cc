"""Which printed figures stand beside which cells of a board. What fits two places stands in both, and says so."""

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from cxrbench.leaderboard.board import HEADLINE, NAN, Board, Column, Record
from cxrbench.leaderboard.published.differences import differences
from cxrbench.leaderboard.published.figure import Published, PublishedFigure
from cxrbench.leaderboard.render import task_title
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.leaderboard.statistics.counting import FEWEST_TESTED
from cxrbench.papers.conditions import Conditions, conditions
from cxrbench.papers.published import PAPERS, PublishedValue, published
from cxrbench.papers.values import SIGNIFICANCE

PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "linear": ("classification", "linear"),
    "finetune": ("finetune",),
    "segmentation": ("segmentation",),
    "detection": ("detection",),
    "physiology": ("physiology",),
}
"""By the papers' protocols ours, without what follows their plus sign. Protocols without a task here are not there."""


def beside(board: Board, papers: Sequence[str] = PAPERS) -> Published:
    """The figures of the board's real data sets, in the order of the papers.

    Without differences of two encoders, check marks, costs and sizes. None stands beside synthetic results.
    """
    columns = [c for c in board.columns if not c.task.synthetic]
    encoders = sorted({r.encoder for r in board.records if not r.synthetic})
    of_cells: dict[tuple[AlignedTask, str, str], list[Record]] = {}
    for r in board.records:
        of_cells.setdefault((r.task, r.metric, r.label), []).append(r)
    figures: list[PublishedFigure] = []
    left: Counter[str] = Counter()
    for one in (one for paper in PAPERS if paper in papers for one in published(paper) if _is_a_result(one)):
        of_data = [c for c in columns if _same_data(one, c)]
        if not of_data:
            continue
        label = one.label.replace("top-", "top") or HEADLINE
        found, why = _places(one, label, of_data, of_cells)
        if not found:
            left[why] += 1
        tasks = [task_title(c.task) for c in found]
        ours = tuple(e for e in encoders if one.encoder and (e == one.encoder or e.startswith(f"{one.encoder}@")))
        for c in found:
            counted = _counted(c, one.metric, of_cells) if label == HEADLINE else ()
            said = conditions(one)
            figures.append(_figure(one, c, label, said, differences(one, said, c, counted, tasks, ours), ours))
    if len(columns) < len(board.columns):
        synthetic = ("published figures are of patients: none stands beside synthetic results",)
    else:
        synthetic = ()
    return Published(tuple(_once(figures)), (*synthetic, *_left_out(left)))


def _is_a_result(one: PublishedValue) -> bool:
    """Whether a run of ours could give it, or something like it."""
    return one.protocol in PROTOCOLS and bool(one.dataset) and not one.difference and one.metric != SIGNIFICANCE


def _same_data(one: PublishedValue, column: Column) -> bool:
    """Whether it is of the column's data set, or of that whose imported splits (``rsna.mgca``) the column has."""
    return column.task.dataset.partition(".")[0] == one.dataset


def _places(
    one: PublishedValue, label: str, columns: Sequence[Column], labels: Container[tuple[AlignedTask, str, str]]
) -> tuple[list[Column], str]:
    """The columns that have a cell for it; if there are none, what they have not."""
    found = list(columns)
    for why, fits in (
        (f"protocol {one.protocol}", lambda c: c.task.protocol.partition("+")[0] in PROTOCOLS[one.protocol]),
        (f"label fraction {_fraction(one)}", lambda c: float(one.fraction or 1) == c.task.fraction),
        (f"metric {one.metric}", lambda c: one.metric in c.metrics),
        ("a label that is not here", lambda c: (c.task, one.metric, label) in labels),
    ):
        found = [c for c in found if fits(c)]
        if not found:
            return [], why
    return found, ""


def _fraction(one: PublishedValue) -> str:
    share = float(one.fraction or 1)
    return f"{100 * share:g}%" if share <= 1 else f"{share:,.0f} studies"


def _counted(column: Column, metric: str, cells: Mapping[tuple[AlignedTask, str, str], list[Record]]) -> list[str]:
    """The labels that our headline is the mean over: defined for everybody and not too rare, unless all are."""
    everybody = {r.encoder for r in cells[column.task, metric, HEADLINE]}
    known = []
    for label in column.labels:
        of = cells.get((column.task, metric, label), [])
        if {r.encoder for r in of if not math.isnan(r.value)} == everybody:
            known.append(of[0])
    frequent = [r.label for r in known if r.rarer >= FEWEST_TESTED]
    return frequent or [r.label for r in known]


def _figure(
    one: PublishedValue, column: Column, label: str, said: Conditions, differs: tuple[str, ...], ours: tuple[str, ...]
) -> PublishedFigure:
    printed = _printed(one)
    return PublishedFigure(
        paper=said.title, table=_table(one.table), encoder=one.row, task=column.task, metric=one.metric, label=label,
        value=NAN if one.share is None else float(printed), printed=printed, spread=one.spread, n=one.n,
        source=f"{said.title}, {one.source}", differs=differs, ours=ours,
    )  # fmt: skip


def _table(number: str) -> str:
    return f"Table {number}" if number.isdigit() else number.replace("fig", "Figure ")


def _printed(one: PublishedValue) -> str:
    """The value in our unit with the paper's digits: 84.1 in per cent is 0.841."""
    if one.share is None:
        return one.value
    digits = len(one.value.rstrip("% ").partition(".")[2]) + (2 if one.percent else 0)
    return f"{one.share:.{digits}f}"


def _once(figures: Iterable[PublishedFigure]) -> list[PublishedFigure]:
    """A figure that a paper prints in several tables once; of two values both, each naming the other."""
    places: dict[tuple[object, ...], list[PublishedFigure]] = {}
    for one in figures:
        places.setdefault((one.row, one.task, one.metric, one.label), []).append(one)
    found: list[PublishedFigure] = []
    for same in places.values():
        by_value: dict[str, list[PublishedFigure]] = {}
        for one in same:
            by_value.setdefault(one.printed, []).append(one)
        for printed, of in by_value.items():
            tables = ", ".join(dict.fromkeys(one.table for one in of))
            source = "; ".join(dict.fromkeys(one.source for one in of))
            others = tuple(
                f"the paper has {other} in {there[0].table}" for other, there in by_value.items() if other != printed
            )
            found.append(replace(of[0], table=tables, source=source, differs=(*of[0].differs, *others)))
    return found


def _left_out(left: Counter[str]) -> tuple[str, ...]:
    if not left:
        return ()
    said = ", ".join(f"{count} of {why}" for why, count in left.items())
    return (f"published figures of these data sets that no column here is like: {said}",)
