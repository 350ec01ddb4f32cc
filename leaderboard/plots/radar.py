"""The radar: each encoder a ring over the labels of a task."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrbench.drawing.words import wrapped
from cxrbench.errors import UserError
from cxrbench.leaderboard.pictures.labels import LabelMaps, LabelsOfTask
from cxrbench.leaderboard.plots.frame import PlotLook, data_set, framed, headed
from cxrbench.leaderboard.plots.labels import defined, undefined

MOST, FEWEST = 7, 3


def draw(picture: LabelMaps, look: PlotLook) -> Figure:
    """A radar per task of three labels or more. Raises UserError for none, and for more encoders than can be seen."""
    tasks = [task for task in map(defined, picture.tasks) if len(task.labels) >= FEWEST]
    if not tasks:
        raise UserError(f"a radar needs {FEWEST} labels: `cxrbench plot labels` shows fewer")
    encoders = sorted({encoder for task in tasks for encoder in task.encoders})
    if len(encoders) > MOST:
        raise UserError(f"a radar of {len(encoders)} encoders cannot be read: name up to {MOST} with --encoders")
    columns = 2 if look.width > 5 else 1
    ends = {task.task: _ends(task) for task in tasks}
    better = "better" if picture.about.higher else "worse"
    said = (
        f"{picture.about.title} of each label (its positive test images), outside is {better}. The centre is not 0: "
        "each radar begins below its smallest value, so rings show the order of encoders, not shares. A gap: undefined "
        f"or no result.{undefined(picture.tasks)}"
    )
    frame = framed(
        look, headed(picture.about), said, synthetic=picture.about.synthetic, panels=len(tasks), columns=columns,
        height=look.width / min(columns, len(tasks)) * (0.8 if look.width < 5 or len(tasks) > 1 else 0.5),
        legend=encoders, polar=True,
    )  # fmt: skip
    for number, axes in frame.filled(len(tasks)):
        _radar(axes, tasks[number], look, *ends[tasks[number].task])
        axes.set_title(data_set(tasks[number].task), pad=12)
    return frame.figure


def _radar(axes: Axes, task: LabelsOfTask, look: PlotLook, low: float, high: float) -> None:
    names = [f"{label} ({count:,})" for label, count in zip(task.labels, task.positives, strict=True)]
    angles = np.linspace(0, 2 * np.pi, len(task.labels), endpoint=False)
    for encoder, values in zip(task.encoders, task.value, strict=True):
        style, closed = look.styles[encoder], [*values, values[0]]
        axes.plot(
            [*angles, angles[0]], closed, color=style.colour, marker=style.marker, markersize=3, linewidth=1,
            markeredgecolor="white", markeredgewidth=0.3,
        )  # fmt: skip
    polar: object = axes
    polar.set_theta_offset(np.pi / 2)  # type: ignore[attr-defined]
    polar.set_theta_direction(-1)  # type: ignore[attr-defined]
    axes.set_ylim(low, high)
    axes.set_xticks(angles, [wrapped(name, 18, 2) for name in names], fontsize=6)
    for text, angle in zip(axes.get_xticklabels(), angles, strict=True):
        side = np.sin(angle)  # clockwise from the top
        text.set_horizontalalignment("center" if abs(side) < 0.1 else "left" if side > 0 else "right")
    axes.set_yticks(np.linspace(low, high, 4)[1:-1])
    polar.set_rlabel_position(180 / len(task.labels))  # type: ignore[attr-defined]  # between two spokes
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2f}")
    axes.tick_params(axis="y", labelsize=5.5)
    axes.tick_params(axis="x", pad=-2)
    axes.grid(linewidth=0.4, color="#cccccc")
    axes.spines["polar"].set_linewidth(0.4)


def _ends(task: LabelsOfTask) -> tuple[float, float]:
    """Round numbers below the smallest value and above the greatest."""
    known = [v for row in task.value for v in row if not math.isnan(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    low, high = math.floor(low * 20 - 0.5) / 20, math.ceil(high * 20) / 20
    return low, high if high > low else low + 0.05
