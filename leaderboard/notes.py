"""What stands under the heading Notes: what must be told of each task, each fact once."""

import math
from collections.abc import Mapping, Sequence

from cxrbench.leaderboard.board import Column, Record
from cxrbench.leaderboard.render import NOT_APPLICABLE, code, escaped, remark, task_title
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.metrics.kinds import KINDS

NOTHING = "None."
Cells = Mapping[tuple[AlignedTask, str, str], Record]
"""By task, metric and encoder."""


def notes(columns: Sequence[Column], cells: Cells, nowhere: Sequence[tuple[AlignedTask, Mapping[str, str]]]) -> str:
    """What must be told of each task, and for its headline where the uncertainty comes from."""
    told = [(c.task, note) for c in columns for note in (*c.notes, *_not_applicable(c.not_applicable))]
    told += [(task, note) for task, not_applicable in nowhere for note in _not_applicable(not_applicable)]
    lines = [f"- {escaped(who)}: {remark(note)}." for who, note in _together(told, [c.task for c in columns])]
    headlines: dict[tuple[AlignedTask, str], dict[str, Record]] = {(c.task, c.metrics[0]): {} for c in columns}
    for (task, metric, encoder), r in cells.items():
        if (task, metric) in headlines:
            headlines[task, metric][encoder] = r
    for c in columns:
        who = f"{escaped(task_title(c.task))}, {KINDS[c.kind].measures[c.metrics[0]].title}"
        for encoder, r in sorted(headlines[c.task, c.metrics[0]].items()):
            if r.seeds > 1:
                lines.append(
                    f"- {who}, {code(encoder)}: standard error from patients {r.se_patients:.4f}, from {r.seeds} "
                    f"training seeds {r.se_seeds:.4f}; the interval covers both."
                )
            if not math.isnan(r.sd_folds):
                lines.append(
                    f"- {who}, {code(encoder)}: mean over the folds, weighted by their patients; SD over the folds "
                    f"{r.sd_folds:.3f}."
                )
    return "\n".join(lines) or NOTHING


def _together(told: Sequence[tuple[AlignedTask, str]], tasks: Sequence[AlignedTask]) -> list[tuple[str, str]]:
    """Notes, each once per dataset, and whom they concern: tasks, or the dataset where that is all of its tasks."""
    concerned: dict[tuple[str, str], list[AlignedTask]] = {}
    for task, note in told:
        concerned.setdefault((task.dataset, note), []).append(task)
    everything = {task.dataset: {t for t in tasks if t.dataset == task.dataset} for task in tasks}
    return [
        (
            dataset if len(those) > 1 and set(those) == everything.get(dataset) else ", ".join(map(task_title, those)),
            note,
        )
        for (dataset, note), those in concerned.items()
    ]


def _not_applicable(not_applicable: Mapping[str, str]) -> list[str]:
    """Which encoders could not be asked, and why: encoders with one reason together."""
    return [
        f"{NOT_APPLICABLE} for {', '.join(e for e, other in not_applicable.items() if other == why)}: {why}"
        for why in dict.fromkeys(not_applicable.values())
    ]
