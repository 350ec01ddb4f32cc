"""What is finished of the runs of a paper's table, and why the rest is not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cxrbench.api.papers.one_run import PlannedRun
from cxrbench.papers.paper import PaperCell

if TYPE_CHECKING:
    from cxrbench.predictions import Predictions


def cell_key(cell: Mapping[str, Any]) -> str:
    """What tells a cell of a run from all others."""
    return f"{cell['encoder']} {cell['task']} {cell['fraction']} {cell['seed']}"


def finished(one: PlannedRun, failed: Mapping[str, str]) -> "tuple[dict[str, str], list[Predictions]]":
    """By encoder why it has no result, and the finished predictions of a run."""
    from cxrbench.api.runs import cell_facts
    from cxrbench.predictions import Predictions

    reasons: dict[str, str] = {}
    found: list[Predictions] = []
    for cell in one.job.plan.cells if one.job else ():
        why = failed.get(cell_key(cell_facts(cell.cell)), "")
        if cell.state == "not applicable":
            why = f"{cell.cell.task} is not applicable: {cell.reason}"
        if why or cell.state == "blocked" or one.job is None:
            reasons |= {cell.cell.encoder: why} if why else {}
            continue
        path = one.job.request.results.path(cell.cell)
        if path.is_file():
            found.append(_grouped(Predictions.load(path), one.run.cells))
    return reasons, found


def _grouped(predictions: "Predictions", cells: "Sequence[PaperCell]") -> "Predictions":
    """With the groups of labels that the table has means over, where all of these labels are there."""
    groups = {cell.label: cell.members for cell in cells if cell.members and {*cell.members} <= {*predictions.labels}}
    return replace(predictions, groups={**groups, **predictions.groups})
