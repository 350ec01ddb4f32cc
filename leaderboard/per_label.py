"""A table per task: its labels, as many as were asked for, by encoders."""

import math
from collections.abc import Sequence

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import HEADLINE, Board, Column, Record
from cxrbench.leaderboard.cells import Look, best_first, cell, ranks
from cxrbench.leaderboard.render import ABSENT, code, escaped, markdown_table, task_title
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.metrics.kinds import KINDS

ALL, TOP = "all", "top:"


def check_labels(board: Board, labels: Sequence[str]) -> None:
    """Raise UserError for a label that no task of the board has, and for a number of labels that is none."""
    known = list(dict.fromkeys(r.label for r in board.records if r.positives is not None))
    for label in labels:
        if label.startswith(TOP) and label not in known:
            if not label.removeprefix(TOP).isdecimal() or int(label.removeprefix(TOP)) < 1:
                raise UserError(f"--labels {label}: give how many of the most frequent labels, e.g. top:5")
        elif label not in (ALL, *known):
            raise UserError(f"--labels {label}: the results have {', '.join(known)}")


def label_tables(board: Board, columns: Sequence[Column], look: Look) -> list[str]:
    """The headline metric of each task by label: headings and tables, of tasks that have any of the labels."""
    if not look.labels:
        return []
    parts: list[str] = []
    tests: list[str] = []
    of_columns: dict[tuple[AlignedTask, str], dict[tuple[str, str], Record]] = {}
    for r in board.records:
        of_columns.setdefault((r.task, r.metric), {})[r.label, r.encoder] = r
    for column in columns:
        metric = column.metrics[0]
        records = of_columns.get((column.task, metric), {})
        if shown := chosen([r for r in records.values() if r.positives is not None], look.labels):
            title = KINDS[column.kind].measures[metric].title
            parts += [f"#### {escaped(task_title(column.task))}: {title} by label"]
            tests.append(str(sum(r.label != HEADLINE and not math.isnan(r.p) for r in records.values())))
            parts += [_table(column, [r for r in records.values() if r.label in (*shown, HEADLINE)], shown, look)]
    if parts:
        count = f" Tests made: {', '.join(tests)}{' (tables from the top)' * (len(tests) > 1)}." * bool(board.baseline)
        parts.append(
            "Labels: cells as above. `*`: one-tailed against the baseline, Holm over all labels and groups of a task, "
            f"shown or not: of all of these a false `*` has a probability of at most 5%.{count} "
            "Labels of fewer than 10 patients on the rarer side are not tested, those of fewer than 5 have no interval."
        )
    return parts


def chosen(records: Sequence[Record], labels: Sequence[str]) -> list[str]:
    """Labels of the records, in their order: all, those that are named, or the K with the most positives."""
    positives = {r.label: r.positives or 0 for r in records}
    wanted = {label for label in labels if label in positives}
    for label in labels:
        if label == ALL:
            wanted |= set(positives)
        elif label.startswith(TOP) and label not in positives:
            most = sorted(positives, key=lambda name: -positives[name])
            wanted |= set(most[: int(label.removeprefix(TOP))])
    return [label for label in positives if label in wanted]


def _table(column: Column, records: Sequence[Record], labels: Sequence[str], look: Look) -> str:
    """Labels x encoders, the best headline first."""
    measure = KINDS[column.kind].measures[column.metrics[0]]
    order = best_first({r.encoder: r.value for r in records if r.label == HEADLINE}, measure)
    body = []
    of_numbers = column.kind == "regression"  # an age of 5 is no positive
    for label in labels:
        of = {r.encoder: r for r in records if r.label == label}
        places = ranks({e: r.value for e, r in of.items()}, measure)
        first = next(iter(of.values()))
        cells = [cell(of[e], places.get(e), look.spread) if e in of else ABSENT for e in order]
        counted = f"{first.n:,}" if of_numbers else f"{first.positives or 0:,} / {first.n:,}"
        body.append([escaped(label), counted, *cells])
    heading = "Images" if of_numbers else "Positives / images"
    return markdown_table(body, ["Label", heading, *map(code, order)])
