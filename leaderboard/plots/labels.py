"""The heat map of labels: encoders by labels, each cell its value."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrbench.drawing.palette import INK
from cxrbench.drawing.words import wrapped
from cxrbench.leaderboard.pictures.labels import LabelMaps, LabelsOfTask
from cxrbench.leaderboard.plots.frame import PlotLook, data_set, framed, headed, named_rows, slanted
from cxrbench.leaderboard.statistics.significance import ALPHA

LISTS, GRIDS = ("labels", "positives", "patients", "images"), ("value", "lower", "upper", "p_holm")
"""What a task has of each label, and of each encoder and label."""
NARROWEST = 0.27
"""Inches of a column into which a value is written."""


def draw(picture: LabelMaps, look: PlotLook) -> Figure:
    """A map per task, one below the other, all of one colour scale."""
    said = f"{picture.about.title} of each label, and their mean in front; n: positive test images."
    if picture.about.baseline:
        said += f" *: better than {picture.about.baseline}, one-tailed, paired, Holm over all labels, p < {ALPHA:g}."
    said += " Blank: undefined or no result." + undefined(picture.tasks)
    most = max(len(task.encoders) for task in picture.tasks)
    frame = framed(
        look, headed(picture.about), said, synthetic=picture.about.synthetic, panels=len(picture.tasks), columns=1,
        height=0.2 * most + 1.25,
    )  # fmt: skip
    tasks = [defined(task) for task in picture.tasks]
    known = [v for task in tasks for row in (task.mean, *task.value) for v in row if not math.isnan(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    for number, axes in frame.filled(len(picture.tasks)):
        task = tasks[number]
        _map(axes, task, low, high, written=(look.width - 1.1) / (len(task.labels) + 1) > NARROWEST)
        axes.set_title(data_set(task.task))
    return frame.figure


def defined(task: LabelsOfTask) -> LabelsOfTask:
    """The task with the labels alone that some encoder has a value of."""
    kept = [i for i in range(len(task.labels)) if not all(math.isnan(row[i]) for row in task.value)]
    grids = {name: tuple(tuple(row[i] for i in kept) for row in getattr(task, name)) for name in GRIDS}
    lists = {name: tuple(getattr(task, name)[i] for i in kept) for name in LISTS}
    return replace(task, **grids, **lists)


def undefined(tasks: Sequence[LabelsOfTask]) -> str:
    """Which labels ``defined`` leaves out, in a sentence; nothing where there are none."""
    gone = {task.task: [x for x in task.labels if x not in defined(task).labels] for task in tasks}
    return "".join(f" Undefined for all in {data_set(task)}: {', '.join(of)}." for task, of in gone.items() if of)


def _map(axes: Axes, task: LabelsOfTask, low: float, high: float, *, written: bool) -> None:
    values = np.column_stack([task.mean, np.array(task.value)])
    edges = np.arange(values.shape[1] + 1), np.arange(len(values) + 1) - 0.5
    mesh = axes.pcolormesh(*edges, values, cmap="cividis", vmin=low, vmax=high, edgecolors="white", linewidth=0.6)
    axes.figure.colorbar(mesh, ax=axes, pad=0.01, fraction=0.03, aspect=12)
    tests = np.column_stack([np.full(len(task.encoders), np.nan), np.array(task.p_holm)])
    for (row, column), value in np.ndenumerate(values):
        if math.isnan(value):
            continue
        text = (f"{value:.2f}".removeprefix("0") if written else "") + ("*" if tests[row, column] < ALPHA else "")
        bright = (value - low) / (high - low or 1) > 0.55
        axes.text(column + 0.5, row, text, ha="center", va="center", fontsize=5.5, color=INK if bright else "white")
    named_rows(axes, task.encoders)
    names = ["mean", *(f"{label} ({n:,})" for label, n in zip(task.labels, task.positives, strict=True))]
    axes.set_xticks(np.arange(len(names)) + 0.5, [wrapped(name, 28, 1) for name in names])
    slanted(axes)
    axes.tick_params(length=0)
    axes.axvline(1, color="white", linewidth=2.5)
    axes.spines[:].set_visible(False)
