"""Subgroup gaps: each encoder within groups of patients, and the gap between its worst and its best."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from cxrbench.drawing.palette import GRAY, style
from cxrbench.drawing.words import wrapped
from cxrbench.leaderboard.pictures.groups import Groups, GroupsOfTask
from cxrbench.leaderboard.plots.frame import PlotLook, axis_title, data_set, framed, headed, mark, named_rows

ROW = 0.3  # inches


def draw(picture: Groups, look: PlotLook) -> Figure:
    """A panel per task: an encoder per row, a mark per group, the smallest gap on top."""
    said = (
        "Marks: values within a group of the patients, with 95% intervals; numbers: the gap between an encoder's worst "
        "and best group with its 95% interval on the same resampled patients. Not tested."
    )
    if any(math.isnan(end) for task in picture.tasks for end in task.gap_lower):
        said += " Where no interval stands, there are too few patients for one."
    notes = [f"{data_set(task.task)}: {note}" for task in picture.tasks for note in task.notes]
    said += f" {'; '.join(notes)}." if notes else ""
    most, groups = max(len(task.encoders) for task in picture.tasks), max(len(task.groups) for task in picture.tasks)
    frame = framed(
        look, f"{headed(picture.about)} · by {picture.by}", said, synthetic=picture.about.synthetic,
        panels=len(picture.tasks), columns=2 if look.width > 5 else 1, height=ROW * most + 0.85 + 0.15 * groups,
    )  # fmt: skip
    for number, axes in frame.filled(len(picture.tasks)):
        _panel(axes, picture.tasks[number])
        axes.set_title(data_set(picture.tasks[number].task))
        axes.set_xlabel(axis_title(picture.about))
    return frame.figure


def _panel(axes: Axes, task: GroupsOfTask) -> None:
    count = len(task.groups)
    for row in range(len(task.encoders)):
        known = [value for value in task.value[row] if not math.isnan(value)]
        if known:
            axes.plot([min(known), max(known)], [row, row], color=GRAY, linewidth=1.2, zorder=0)
        for group, value in enumerate(task.value[row]):
            if math.isnan(value):
                continue
            at, look = row + 0.36 * ((group + 0.5) / count - 0.5), style(group)
            axes.plot([task.lower[row][group], task.upper[row][group]], [at, at], color=look.colour, linewidth=0.8)
            axes.plot(value, at, look.marker, color=look.colour, markersize=4)
        if not math.isnan(task.gap[row]):
            ends = task.gap_lower[row], task.gap_upper[row]
            gap = f"{task.gap[row]:.3f}" + ("" if math.isnan(ends[0]) else f" [{ends[0]:.3f}, {ends[1]:.3f}]")
            axes.annotate(
                gap, (1, row), (3, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
                fontsize=5.5, annotation_clip=False,
            )  # fmt: skip
    named_rows(axes, task.encoders)
    handles = [
        mark(style(group), wrapped(f"{name} ({task.images[group]:,} images, {task.patients[group]:,} patients)", 44, 1))
        for group, name in enumerate(task.groups)
    ]
    below = axes.transAxes + ScaledTranslation(0, -0.36, axes.figure.dpi_scale_trans)  # the axis' own title is above
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, borderaxespad=0)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", color="#eeeeee", linewidth=0.5)
    axes.set_axisbelow(True)
