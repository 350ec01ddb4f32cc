"""Which of the saved results a table is of: those of the tasks that were named."""

from collections.abc import Collection, Sequence
from typing import TypeVar

from cxrbench.errors import UserError
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.predictions import NotApplicable, Predictions

One = TypeVar("One", Predictions, NotApplicable)


DEFAULT_BASELINE = "random"


def chosen_baseline(cells: Sequence[Predictions], baseline: str | None, others: Collection[str] = ()) -> str | None:
    """The encoder that others are tested against: the named one; without a name ``random``, if it is there.

    ``others``: encoders that have results in aggregates. Raises UserError for one that has no results.
    """
    encoders = sorted({*(str(one.cell["encoder"]) for one in cells), *others})
    if baseline is None:
        return DEFAULT_BASELINE if DEFAULT_BASELINE in encoders else None
    if baseline not in encoders:
        raise UserError(f"unknown baseline {baseline!r}: the results have {', '.join(encoders)}")
    return baseline


def check_tasks(
    cells: Sequence[Predictions | NotApplicable], tasks: Sequence[str] | None, others: Sequence[AlignedTask] = ()
) -> None:
    """Raise UserError for a task (``DATASET[:PROTOCOL]``, as the tables name it) that none of these cells is of, nor
    any of the ``others``.
    """
    there = {name for cell in cells for name in _names(cell)}
    there |= {name for one in others for name in (one.dataset, f"{one.dataset}:{one.protocol}")}
    for task in tasks or ():
        if task not in there:
            names = {f"{cell.cell['dataset']}:{cell.cell['protocol']}" for cell in cells}
            known = ", ".join(sorted({*names, *(one.title for one in others)}))
            raise UserError(f"no results for task {task!r}: the results have {known}")


def of_tasks(cells: Sequence[One], tasks: Sequence[str] | None) -> list[One]:
    """The cells of the named tasks; all of them without names."""
    return [cell for cell in cells if tasks is None or _names(cell) & {*tasks}]


def _names(cell: Predictions | NotApplicable) -> set[str]:
    """What a cell's task may be called."""
    dataset, protocol = str(cell.cell["dataset"]), cell.cell["protocol"]
    return {dataset, f"{dataset}:{protocol}"}
