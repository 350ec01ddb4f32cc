"""A comparison as Markdown and JSON. The same results give the same bytes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from cxrbench.leaderboard.board import HEADLINE
from cxrbench.leaderboard.comparison.compare import Comparison, ComparisonRow
from cxrbench.leaderboard.display import key_to_names, shown_names
from cxrbench.leaderboard.render import (
    ABSENT,
    SYNTHETIC,
    code,
    dump_json,
    escaped,
    markdown_table,
    number,
    remark,
    task_title,
)
from cxrbench.metrics.kinds import KINDS


def comparison_to_json(comparison: Comparison) -> str:
    """The comparison whole; NaN is null."""
    return dump_json(asdict(comparison))


def comparison_to_markdown(comparison: Comparison, names: Mapping[str, str] | None = None) -> str:
    """A table for each metric: group means first, then labels; real and synthetic tasks apart.

    ``names``: as of the leaderboard.
    """
    shown = shown_names([comparison.a, comparison.b], names or {})
    comparison = replace(comparison, a=shown[comparison.a], b=shown[comparison.b])
    a, b = comparison.a, comparison.b
    parts = [f"# Is {code(a)} better than {code(b)}{f' for {code(comparison.encoder)}' * bool(comparison.encoder)}?"]
    for synthetic in (False, True):
        for metric in dict.fromkeys(row.metric for row in comparison.rows if row.synthetic == synthetic):
            rows = [r for r in comparison.rows if (r.metric, r.synthetic) == (metric, synthetic)]
            parts.append(f"## {rows[0].title}{' on synthetic data' if synthetic else ''}")
            parts += [SYNTHETIC] if synthetic else []
            columns = [name for name, of in OPTIONAL.items() if any(not math.isnan(getattr(r, of)) for r in rows)]
            headers = ["Task", "Label", code(a), code(b), "Difference [90% interval]", "p", "p (Holm)", *columns]
            headers += ["Detectable", "Images" if metric in OF_NUMBERS else "Positives / images"]
            parts.append(markdown_table([_line(row, columns) for row in rows], headers))
    parts.append(_legend(comparison))
    parts += ["\n".join(f"- {remark(note)}." for note in comparison.notes)] if comparison.notes else []
    parts += [key] if (key := key_to_names(shown)) else []
    return "\n\n".join(parts) + "\n"


def _legend(comparison: Comparison) -> str:
    a, b = code(comparison.a), code(comparison.b)
    text = (
        f"Difference: {a} minus {b}, turned so that positive means {a} is better, with the interval whose lower limit "
        f"is where the one-tailed 5% test ends. p: one-tailed, H0: {a} is no better; Student's t on the standard error "
        f"of the paired bootstrap over patients ({comparison.replicates:,} replicates) and of the training seeds. "
        "Holm: over the table's means of a label fraction, and apart from them over its labels, so that a false p "
        f"(Holm) below 5% has a probability of at most 5% in each of these. Tests made: {_tests(comparison)}. DeLong: "
        "one-tailed, placements summed by patient. Detectable: the smallest difference that the strictest of these "
        "tests finds with 80% power. What one training seed gave is conditional on that seed."
    )
    if comparison.margin is not None:
        text += (
            f" Margin {comparison.margin:g}: p (not worse), H0: {a} is worse by as much or more; p (equal), H0: they "
            "differ by as much or more (two one-sided tests); better by more: confidence that it is. These are not "
            "corrected for their number."
        )
    return text


def _tests(comparison: Comparison) -> str:
    """How many differences were tested: of means, and of labels."""
    made = [row.positives is None for row in comparison.rows if not math.isnan(row.p)]
    return f"{sum(made)} of means, {len(made) - sum(made)} of labels"


OF_NUMBERS = frozenset(KINDS["regression"].measures)
"""Metrics of what has no positives: an age of 5 is none, and a severity of -1 no negative."""
OPTIONAL = {
    "p (DeLong)": "p_delong", "p (not worse)": "p_noninferior", "p (equal)": "p_equivalent", "Better by more": "above",
}  # fmt: skip
"""Columns that are shown where they hold anything, and their fields."""


def _line(row: ComparisonRow, columns: Sequence[str]) -> list[str]:
    label = f"**{row.label}**" if row.label == HEADLINE else escaped(row.label)
    if math.isnan(row.difference):
        change = ABSENT
    else:
        limits = "" if math.isnan(row.lower) else f" [{row.lower:+.3f}, {row.upper:+.3f}]"
        change = f"{row.difference:+.3f}{limits}"
    alone = row.positives is None or row.metric in OF_NUMBERS
    images = f"{row.n:,}" if alone else f"{row.positives:,} / {row.n:,}"
    p = [row.p, row.p_holm, *(getattr(row, OPTIONAL[name]) for name in columns)]
    values = [number(row.value_a), number(row.value_b), change, *map(_probability, p), number(row.detectable)]
    return [escaped(task_title(row.task)), label, *values, images]


def _probability(p: float) -> str:
    return ABSENT if math.isnan(p) else "< 0.0001" if p < 0.0001 else f"{p:.4f}"
