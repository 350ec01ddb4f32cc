"""Reliability diagrams: what the scores said against what was so, a panel per encoder and task."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrbench.drawing.palette import FAINT, GRAY
from cxrbench.drawing.words import wrapped
from cxrbench.leaderboard.pictures.reliability import SCORE_BINS, ReliabilityOfTask, ReliabilityPanel
from cxrbench.leaderboard.plots.frame import PlotLook, framed

CAPTION = (
    "Mean score against the share of positives, in bins of equal mass; bars: 95% Wilson intervals, patients as trials; "
    "on the diagonal the scores are right. Gray steps: how often each score was given, not to scale. ECE: expected "
    "calibration error of these bins."
)


def draw(task: ReliabilityOfTask, label: str, look: PlotLook) -> Figure:
    """All encoders of one task, of one ``label``, or "" of all labels pooled."""
    panels = [panel for panel in task.panels if panel.label == label]
    what = label or (task.labels[0] if len(task.labels) == 1 else f"{len(task.labels)} labels pooled")
    columns = min(len(panels), 4 if look.width > 5 else 2)
    frame = framed(
        look, f"Reliability · {task.task} · {what}", CAPTION, synthetic=task.synthetic, panels=len(panels),
        columns=columns, height=look.width / columns * 0.88 + 0.42,
    )  # fmt: skip
    end = _axis_end([max(*panel.said, *panel.upper) for panel in panels])
    for number, axes in frame.filled(len(panels)):
        _panel(axes, panels[number], look, end)
        if frame.first(number):
            axes.set_ylabel("share of positives")
    return frame.figure


def _panel(axes: Axes, panel: ReliabilityPanel, look: PlotLook, end: float) -> None:
    style, most = look.styles[panel.encoder], max(panel.counts)
    heights = [0.28 * end * count / most for count in panel.counts]
    axes.stairs(heights, [i / SCORE_BINS for i in range(SCORE_BINS + 1)], fill=True, color=FAINT, zorder=0)
    axes.plot([0, end], [0, end], color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    for said, lower, upper in zip(panel.said, panel.lower, panel.upper, strict=True):
        axes.plot([said, said], [lower, upper], color=style.colour, linewidth=0.9)
    axes.plot(panel.said, panel.observed, color=style.colour, marker=style.marker, markersize=3.5, linewidth=1)
    axes.set(xlim=(0, end), ylim=(0, end), xlabel="score")
    axes.set_box_aspect(1)
    axes.locator_params(nbins=4)
    axes.set_title(f"{wrapped(panel.encoder, 24, 2)}\nECE {panel.ece:.3f}", fontsize=7)


def _axis_end(greatest: list[float]) -> float:
    """Where all axes end: above every point and bar, at a tenth, at most 1."""
    return min(1.0, -(-max(greatest) * 10 // 1) / 10)
