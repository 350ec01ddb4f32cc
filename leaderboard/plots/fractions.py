"""Label efficiency: what each encoder makes of fewer training labels."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from cxrbench.leaderboard.pictures.fractions import FractionsOfTask, LabelEfficiency
from cxrbench.leaderboard.plots.frame import PlotLook, axis_title, data_set, framed, headed
from cxrbench.leaderboard.render import percent


def draw(picture: LabelEfficiency, look: PlotLook) -> Figure:
    """A panel per data set: the share of the training labels, on a logarithmic axis, against the metric."""
    encoders = list(dict.fromkeys(e for task in picture.tasks for e in task.encoders))
    seeds = {seeds for task in picture.tasks for row in task.seeds for seeds in row} - {0}
    said = "Bands: 95% intervals over resampled patients"
    said += (
        ", and training seeds where several were run." if max(seeds, default=1) > 1
        else ". One training seed: bands do not cover which patients were labelled."
    )  # fmt: skip
    frame = framed(
        look, headed(picture.about), said, synthetic=picture.about.synthetic, panels=len(picture.tasks),
        columns=3 if look.width > 5 else 1, height=1.9, legend=encoders,
    )  # fmt: skip
    for number, axes in frame.filled(len(picture.tasks)):
        _curves(axes, picture.tasks[number], look)
        axes.set_title(data_set(picture.tasks[number].task))
        axes.set_xlabel("share of the training labels")
        if frame.first(number):
            axes.set_ylabel(axis_title(picture.about))
    return frame.figure


def _curves(axes: Axes, task: FractionsOfTask, look: PlotLook) -> None:
    for encoder, value, lower, upper in zip(task.encoders, task.value, task.lower, task.upper, strict=True):
        style = look.styles[encoder]
        axes.fill_between(task.fractions, lower, upper, color=style.colour, alpha=0.15, linewidth=0)
        axes.plot(task.fractions, value, color=style.colour, marker=style.marker, markersize=4)
    axes.set_xscale("log")
    axes.set_xticks(task.fractions, [percent(one) for one in task.fractions])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(color="#eeeeee", linewidth=0.5)
    axes.set_axisbelow(True)
