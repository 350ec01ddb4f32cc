"""The forest plot: a panel per column, a row per encoder, values with 95% intervals, the baseline as a line."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrbench.drawing.palette import GRAY
from cxrbench.leaderboard.pictures.forest import Forest, ForestColumn
from cxrbench.leaderboard.plots.frame import PlotLook, axis_title, data_set, framed, headed, named_rows
from cxrbench.leaderboard.statistics.significance import ALPHA

ROW = 0.19  # inches
CAPTION = (
    "Points: values with 95% intervals over resampled patients and, where several were run, training seeds; hollow: no "
    "interval."
)


def draw(picture: Forest, look: PlotLook) -> Figure:
    """All columns, the mean over them first; encoders in one order, the best mean on top."""
    shown = [*([picture.mean] if picture.mean else []), *picture.columns]
    order = list(dict.fromkeys(encoder for column in shown for encoder in column.encoders))
    about = picture.about
    said = CAPTION
    if about.baseline:
        said += f" Dashed: the baseline {about.baseline}; *: better than it, one-tailed, paired, Holm, p < {ALPHA:g}."
    if any(flag for column in shown for flag in column.contaminated):
        said += " †: has seen images of the data set."
    frame = framed(
        look, headed(about), said, synthetic=about.synthetic, panels=len(shown), columns=4 if look.width > 5 else 2,
        height=ROW * len(order) + 0.55, sharey=True,
    )  # fmt: skip
    for number, axes in frame.filled(len(shown)):
        _panel(axes, shown[number], order, look)
        axes.set_title(data_set(shown[number].task))
        if frame.first(number):
            named_rows(axes, order)
        axes.set_xlabel(axis_title(about))
    return frame.figure


def _panel(axes: Axes, column: ForestColumn, order: list[str], look: PlotLook) -> None:
    if not math.isnan(column.baseline):
        axes.axvline(column.baseline, color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    for at, encoder in enumerate(column.encoders):
        value, lower, upper = column.value[at], column.lower[at], column.upper[at]
        if math.isnan(value):
            continue
        row, style, bare = order.index(encoder), look.styles[encoder], math.isnan(lower)
        if not bare:
            axes.plot([lower, upper], [row, row], color=style.colour, linewidth=1.1, solid_capstyle="butt")
        axes.plot(
            value, row, style.marker, color=style.colour, markersize=4.5, markerfacecolor="white" if bare else None
        )
        marks = ("*" if column.p_holm[at] < ALPHA else "") + ("†" if column.contaminated[at] else "")
        if marks:
            end = value if bare else upper
            axes.annotate(marks, (end, row), (3, -1), textcoords="offset points", va="center", fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="x", color="#eeeeee", linewidth=0.5)
    axes.set_axisbelow(True)
