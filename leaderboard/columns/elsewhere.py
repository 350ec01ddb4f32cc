"""Aggregated columns beside those of cells: which of them a board shows, and what must be said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cxrbench.leaderboard.columns.aggregated import Aggregated, against
from cxrbench.leaderboard.columns.drafts import Draft
from cxrbench.leaderboard.render import task_title
from cxrbench.predictions import Predictions


def beside(
    predictions: Sequence[Predictions], aggregates: Sequence[Aggregated], tasks: Sequence[str] | None
) -> tuple[list[Aggregated], list[str]]:
    """The aggregates of the named tasks that are no columns of cells, and a line for each that is."""
    here = {
        (one.synthetic, one.cell["dataset"], one.cell["protocol"], float(one.cell["fraction"])) for one in predictions
    }
    wanted = [one for one in aggregates if tasks is None or {one.task.dataset, one.task.title} & {*tasks}]
    lines = [
        f"{task_title(one.task)}: it is here as cells, so its aggregate is not shown"
        for one in wanted
        if one.task in here
    ]
    return [one for one in wanted if one.task not in here], lines


def chosen_metrics(one: Aggregated, baseline: str | None, metrics: Sequence[str] | None) -> Draft | None:
    """The wanted metrics of an aggregate, against the board's baseline; None where it has none of them."""
    by_name = {of.measure.name: of for of in one.draft.metrics}
    found = [by_name[name] for name in (by_name if metrics is None else metrics) if name in by_name]
    if baseline != one.baseline:
        found = [against(of, baseline) for of in found]
    return replace(one.draft, metrics=tuple(found)) if found else None


def encoders_of(aggregates: Sequence[Aggregated]) -> set[str]:
    """All encoders that they have values of."""
    return {name for one in aggregates for name in one.fingerprints}


def efficiency_of(aggregates: Sequence[Aggregated]) -> dict[str, Mapping[str, Any]]:
    """What encoders cost, by name."""
    return {name: facts for one in aggregates for name, facts in one.efficiency.items()}


def told_of(
    aggregates: Sequence[Aggregated], predictions: Sequence[Predictions], baseline: str | None, replicates: int
) -> list[str]:
    """What a reader must know: which columns are aggregates, and in what they may not be what the others are."""
    known = {str(one.cell["encoder"]): one.encoder.get("fingerprint") for one in predictions}
    lines = []
    for one in aggregates:
        what = f"{task_title(one.task)}: aggregated elsewhere, no cell of it is here"
        if one.replicates != replicates:
            what += f"; its bootstrap had {one.replicates:,} replicates"
        if one.baseline != baseline:
            what += f"; its labels were tested against {one.baseline or 'nobody'}, so only its means are tested here"
        lines.append(what)
        for name, fingerprint in one.fingerprints.items():
            if known.setdefault(name, fingerprint) != fingerprint:
                lines.append(f"{task_title(one.task)}: {name} is another encoder there than in the other columns")
    return lines
