"""From saved cells to aggregates of all their columns."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cxrbench.errors import UserError
from cxrbench.leaderboard.columns.aggregated import aggregate
from cxrbench.leaderboard.columns.drafts import drafted
from cxrbench.leaderboard.currency import current
from cxrbench.leaderboard.remarks import reasons
from cxrbench.leaderboard.selection import chosen_baseline
from cxrbench.leaderboard.statistics.alignment import by_task
from cxrbench.leaderboard.statistics.kept import NOTHING_KEPT, Evaluations
from cxrbench.predictions import NotApplicable, Predictions
from cxrbench.progress import Advance, Count, unheard


def aggregates_of(
    predictions: Sequence[Predictions],
    not_applicable: Sequence[NotApplicable],
    efficiency: Mapping[str, Mapping[str, Any]],
    *,
    names: Mapping[str, str],
    baseline: str | None,
    replicates: int,
    seed: int,
    kept: Evaluations = NOTHING_KEPT,
    advance: Advance = unheard,
) -> tuple[list[dict[str, Any]], list[str]]:
    """A record for each column, and a line for each cell or column that is left out.

    ``names``: what encoders are called in them. Stale cells are left out, as a board does. Raises UserError.
    """
    now = current(predictions, not_applicable)
    chosen = chosen_baseline(now.predictions, baseline)
    cells = [replace(one, cell={**one.cell, "encoder": names[str(one.cell["encoder"])]}) for one in now.predictions]
    others = [
        replace(one, cell={**one.cell, "encoder": names.get(str(one.cell["encoder"]), str(one.cell["encoder"]))})
        for one in now.not_applicable
    ]
    why_not, told = reasons(others), Count(advance, replicates * len(cells))
    records, lines = [], [one.line for one in now.left_out]
    for task, of_task in by_task(cells).items():
        draft = drafted(
            task, of_task, names[chosen] if chosen else None, replicates, seed, not_applicable=why_not.get(task, {}),
            kept=kept, told=told,
        )  # fmt: skip
        if draft is None:
            continue
        there = {str(one.cell["encoder"]): str(one.encoder.get("fingerprint", "")) for one in of_task}
        costs = {names[name]: facts for name, facts in efficiency.items() if names.get(name) in there}
        try:
            records.append(aggregate(draft, names[chosen] if chosen else None, replicates, there, costs))
        except UserError as error:
            lines.append(f"left out: {error}")
    return records, lines
