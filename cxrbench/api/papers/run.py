"""A paper's table in one call: planned, computed, shown."""

from typing import Any

from cxrbench.api.papers.finished import cell_key
from cxrbench.api.papers.planned import compute_table, plan_table
from cxrbench.api.papers.shown import PaperShown, show_table
from cxrbench.papers.paper import Statistic
from cxrbench.progress import Progress


def paper_table(
    paper: str,
    number: str,
    *,
    statistic: Statistic | None = None,
    replicates: int = 10_000,
    progress: Progress | None = None,
    **asked: Any,
) -> PaperShown:
    """A table of a paper: our values beside the published ones, as ``cxrbench paper`` prints it.

    ``asked``: as of ``plan_table``: ``encoders`` (``NAME=SPEC``), ``variant``, and settings as of ``run``. What cannot
    be run keeps its published value, with the reason in its record. Raises UserError for names that are wrong::

        table = cxrbench.api.paper_table("radjepa", "3", data="/data", results="results")
        print(table)
        table.to_pandas().query("differs")
    """
    progress = progress or Progress()
    planned = plan_table(paper, number, progress=progress, **asked)
    planned.refuse_statistic(statistic)
    outcomes = [step.outcome for step in compute_table(planned, progress)]
    reasons = {cell_key(one.cell): f"{one.state}: {one.reason}" for one in outcomes if one.reason}
    return show_table(planned, reasons, statistic=statistic, replicates=replicates, cache=asked.get("cache"))
