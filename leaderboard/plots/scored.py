"""Single images' scores, which ROC curves and reliability diagrams are drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cxrbench.errors import UserError
from cxrbench.leaderboard.currency import current
from cxrbench.leaderboard.families import CLASSIFICATION, FAMILIES
from cxrbench.leaderboard.selection import check_tasks, of_tasks
from cxrbench.predictions import Predictions


def scored(
    predictions: Sequence[Predictions],
    tasks: Sequence[str] | None,
    names: Mapping[str, str],
    encoders: Sequence[str],
) -> list[Predictions]:
    """The current classification results of the tasks, their encoders by their shown names; ``encoders``: these alone.

    Raises UserError for tasks and encoders that are not there, and where there is no classification.
    """
    now = current(predictions).predictions
    check_tasks(now, tasks)
    if missing := [name for name in encoders if name not in names.values()]:
        raise UserError(f"--encoders {missing[0]}: the results have {', '.join(sorted(names.values()))}")
    cells = [
        replace(one, cell={**one.cell, "encoder": names[str(one.cell["encoder"])]})
        for one in of_tasks(now, tasks)
        if FAMILIES[one.kind] is CLASSIFICATION and len(one.rows)
    ]
    chosen = [one for one in cells if not encoders or one.cell["encoder"] in encoders]
    if not chosen:
        raise UserError("these results have no scores of labels: only classification has such pictures")
    return chosen
