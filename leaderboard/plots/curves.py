"""ROC and precision-recall curves: a panel per task, the mean over its labels, or of one label."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from cxrbench.drawing.palette import GRAY
from cxrbench.drawing.words import wrapped
from cxrbench.leaderboard.board import HEADLINE
from cxrbench.leaderboard.pictures.curves import Curve, CurvesOfTask
from cxrbench.leaderboard.plots.frame import PlotLook, framed, mark

AXES = {"roc": ("1 − specificity", "sensitivity"), "pr": ("recall", "precision")}
TITLES = {"roc": "ROC", "pr": "Precision-recall"}
AREAS = {"roc": "AUROC", "pr": "AUPRC (average precision)"}


def draw(tasks: tuple[CurvesOfTask, ...], label: str, look: PlotLook) -> Figure:
    """The curves of tasks of one kind, of the mean over labels (``macro``) or of one label."""
    kind = tasks[0].kind
    mean = label == HEADLINE
    said = f"Numbers: {AREAS[kind]}"
    said += ", the mean over the labels that the leaderboard counts; curves are averaged at each x." if mean else "."
    said += " Dashed: chance." if kind == "roc" or not mean else ""
    columns = min(len(tasks), 3 if look.width > 5 else 1)
    heading = f"{TITLES[kind]} · {tasks[0].protocol} · {'mean over labels' if mean else label}"
    longest = max(sum(curve.label == label for curve in task.curves) for task in tasks)
    frame = framed(
        look, heading, said, synthetic=tasks[0].synthetic, panels=len(tasks), columns=columns,
        height=min(look.width / columns - 0.45, 2.4) + 0.65 + 0.13 * longest,
    )  # fmt: skip
    for number, axes in frame.filled(len(tasks)):
        task = tasks[number]
        shown = sorted((c for c in task.curves if c.label == label), key=lambda c: (-c.area, c.encoder))
        chance = None if mean or kind == "roc" else task.prevalence[task.labels.index(label)]
        _panel(axes, shown, kind, chance, look)
        axes.set_title(wrapped(task.task, 30, 2))
    return frame.figure


def _panel(axes: Axes, shown: list[Curve], kind: str, chance: float | None, look: PlotLook) -> None:
    if kind == "roc":
        axes.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)))
    elif chance is not None:
        axes.axhline(chance, color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)))
    for curve in reversed(shown):
        style = look.styles[curve.encoder]
        axes.plot(curve.x, curve.y, color=style.colour, linewidth=1, marker=style.marker, markevery=0.2, markersize=3)
    x, y = AXES[kind]
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y)
    axes.set_box_aspect(1)
    handles = [mark(look.styles[c.encoder], f"{wrapped(c.encoder, 22, 1)} {c.area:.3f}", line=True) for c in shown]
    below = axes.transAxes + ScaledTranslation(0, -0.36, axes.figure.dpi_scale_trans)  # the axis' own title is above
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, borderaxespad=0,
        handlelength=1.6,
    )  # fmt: skip
