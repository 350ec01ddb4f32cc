"""The tables that a reader can choose: one metric of one protocol at one label fraction, real or synthetic."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cxrbench.files.names import visible
from cxrbench.leaderboard.board import HEADLINE, Board, Column, Overall, Record
from cxrbench.leaderboard.cells import best_first
from cxrbench.leaderboard.families import FAMILIES, named_protocol
from cxrbench.leaderboard.page.columns import part, ten_thousandths, thousandths
from cxrbench.leaderboard.render import ABSENT
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.metrics.kinds import KINDS

Places = Mapping[str, int]
"""Of encoders, by their shown names."""
ByColumn = Mapping[tuple[AlignedTask, str], Sequence[Record]]


def tables(board: Board, places: Places, labels: dict[str, int], spread: str) -> list[dict[str, Any]]:
    """Real ones first, in the order of the Markdown. ``labels``: where names of labels get their numbers."""
    records: dict[tuple[AlignedTask, str], list[Record]] = {}
    for r in board.records:
        records.setdefault((r.task, r.metric), []).append(r)
    found: dict[tuple[bool, int, str, float, int, str], list[Column]] = {}
    for c in sorted(board.columns, key=lambda c: (c.task.dataset, c.task.protocol)):
        for metric in c.metrics:
            order = [*KINDS[c.kind].measures].index(metric)
            key = (c.task.synthetic, FAMILIES[c.kind].place, c.task.protocol, -c.task.fraction, order, metric)
            found.setdefault(key, []).append(c)
    return [
        _table(board, metric, columns, records, places, labels, spread)
        for (*_, metric), columns in sorted(found.items(), key=lambda item: item[0])
    ]


def _table(
    board: Board, metric: str, columns: Sequence[Column], records: ByColumn, places: Places, labels: dict[str, int],
    spread: str,
) -> dict[str, Any]:  # fmt: skip
    task, kind = columns[0].task, columns[0].kind
    measure, family = KINDS[kind].measures[metric], FAMILIES[kind]
    over = board.overall.get((metric, task.protocol, task.fraction, task.synthetic), ())
    heads = [[r for r in records.get((c.task, metric), ()) if r.label == HEADLINE] for c in columns]
    has_mean = measure.has_mean(label for c in columns for label in c.labels)
    asked = {r.encoder for of in heads for r in of} | {e for c in columns for e in c.not_applicable}
    means = {e: _mean([next((r.value for r in of if r.encoder == e), math.nan) for of in heads]) for e in asked}
    several = any(len(c.labels) > 1 and measure.has_mean(c.labels) for c in columns)
    return {
        "synthetic": task.synthetic,
        "protocol": visible(task.protocol),
        "named": visible(named_protocol(kind, task.protocol)),
        "fraction": task.fraction,
        "metric": metric,
        "title": measure.title,
        "higher": measure.higher_is_better,
        "tested": measure.tested,
        "of": family.labels if several else "",
        "rows": family.rows,
        "headline": metric == columns[0].metrics[0],
        "order": [places[e] for e in best_first(means if has_mean else dict.fromkeys(means, math.nan), measure)],
        "means": {str(places[e]): thousandths(mean) for e, mean in sorted(means.items()) if not math.isnan(mean)}
        if has_mean and len(columns) > 1
        else {},
        "overall": {str(places[one.encoder]): _overall(one) for one in over},
        "tests": [
            sum(not math.isnan(r.p) for of in heads for r in of), sum(not math.isnan(one.p) for one in over),
        ],
        "columns": [_column(c, records.get((c.task, metric), ()), metric, places, labels, spread) for c in columns],
    }  # fmt: skip


def _column(
    c: Column, records: Sequence[Record], metric: str, places: Places, labels: dict[str, int], spread: str
) -> dict[str, Any]:
    """A test set: its headline first, then its labels and groups of labels; ``who`` has results, said once."""
    by_label: dict[str, list[Record]] = {HEADLINE: []}
    for r in records:
        by_label.setdefault(r.label, []).append(r)
    parts = [
        {"label": labels.setdefault(label, len(labels))} | part(of, places, spread=spread)
        for label, of in by_label.items()
        if of
    ]
    who = parts[0]["who"]
    return {
        "who": who,
        "dataset": visible(c.task.dataset),
        "title": c.task.title,
        "images": c.rows,
        "patients": c.patients,
        "numbers": c.kind == "regression",
        "detectable": thousandths(c.detectable[metric]),
        "absent": {str(places[e]): visible(why) for e, why in c.not_applicable.items()},
        "parts": [{k: v for k, v in one.items() if k != "who" or v != who} for one in parts],
    }


def _mean(values: Sequence[float]) -> float:
    """NaN where one is missing: such an encoder gets no mean."""
    return sum(values) / len(values)


def _overall(one: Overall) -> dict[str, Any]:
    """An encoder over all columns: numbers to sort by, and what is read."""
    gain = ABSENT if math.isnan(one.gain) else f"{one.gain:+.3f} [{one.gain_lower:+.3f}, {one.gain_upper:+.3f}]"
    shares = (one.better, one.equal, one.worse)
    found: dict[str, Any] = {
        "lo": thousandths(one.lower), "hi": thousandths(one.upper), "p": ten_thousandths(one.p_holm),
        "rank": [one.rank, f"{one.rank:.2f} [{one.rank_lower:.2f}, {one.rank_upper:.2f}]"],
        "best": [one.best, f"{one.best:.0%}"],
        "gain": [one.gain, gain],
    }  # fmt: skip
    if not math.isnan(one.better):
        found["elsewhere"] = [one.better, " / ".join(f"{share:.0%}" for share in shares)]
    return found
