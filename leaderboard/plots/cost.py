"""Cost against quality: a panel per quantity, the Pareto front as steps."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from cxrbench.drawing.palette import GRAY
from cxrbench.drawing.words import drawable
from cxrbench.leaderboard.pictures.cost import CostAxis, CostColumn, Costs
from cxrbench.leaderboard.plots.frame import PlotLook, axis_title, data_set, framed, headed


def draw(picture: Costs, look: PlotLook) -> Figure:
    """The first column (the mean over all, where there is one) against each quantity that is known of two encoders."""
    column = picture.columns[0]
    said = (
        f"{picture.about.title} ({data_set(column.task)}) with its 95% interval against what an encoder costs, on "
        "a logarithmic axis; the gray line is the Pareto front: nobody is better in one and as good in the other. "
        "Intervals play no part in it."
    )
    unknown = [
        f"{axis.title} of {', '.join(who)}" for axis in column.axes
        if (who := [e for e, c in zip(column.encoders, axis.cost, strict=True) if math.isnan(c)])
    ]  # fmt: skip
    said += " 0 stands at the left end." if any(0 in axis.cost for axis in column.axes) else ""
    said += f" Not known: {'; '.join(unknown)}." if unknown else ""
    if any(axis.name == "images_per_second" for axis in column.axes):
        on = dict.fromkeys(where for _, where in picture.devices)
        said += f" Speed measured on {'; '.join(on)}" + (": not comparable." if len(on) > 1 else ".") if on else ""
    frame = framed(
        look, headed(picture.about), said, synthetic=picture.about.synthetic, panels=len(column.axes),
        columns=3 if look.width > 5 else 1, height=1.95, legend=column.encoders,
    )  # fmt: skip
    for number, axes in frame.filled(len(column.axes)):
        _panel(axes, column, column.axes[number], look)
        if frame.first(number):
            axes.set_ylabel(axis_title(picture.about))
    return frame.figure


def _panel(axes: Axes, column: CostColumn, axis: CostAxis, look: PlotLook) -> None:
    """A logarithmic axis, at whose left end stands who costs nothing."""
    known = sorted(cost for cost in axis.cost if cost > 0)  # NaN is not
    nothing = known[0] / 4 if known else 1.0
    at = [nothing if cost == 0 else cost for cost in axis.cost]
    front = sorted((c, v) for c, v, on in zip(at, column.value, axis.front, strict=True) if on)
    where = "post" if axis.less else "pre"
    axes.step([c for c, _ in front], [v for _, v in front], where=where, color=GRAY, linewidth=0.9)
    for row, encoder in enumerate(column.encoders):
        cost, value, style = at[row], column.value[row], look.styles[encoder]
        if math.isnan(cost) or math.isnan(value):
            continue
        axes.plot([cost, cost], [column.lower[row], column.upper[row]], color=style.colour, linewidth=0.9, alpha=0.7)
        axes.plot(cost, value, style.marker, color=style.colour, markersize=5)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    ticks = {nothing: "0"} if 0 in axis.cost else {}
    ticks |= {value: _amount(value) for value in _round(known)}
    axes.set_xticks([*ticks], [*ticks.values()])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(drawable(f"{axis.title} ({'less' if axis.less else 'more'} is better)"))
    axes.grid(color="#eeeeee", linewidth=0.5)
    axes.set_axisbelow(True)


def _round(known: list[float]) -> list[float]:
    """At most six of 1, 2 and 5 times powers of ten over the range of the costs; its ends where it has not two."""
    if not known:
        return []
    low, high = known[0], known[-1]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    inside = [value for value in found if low / 1.1 <= value <= high * 1.1]
    if len(inside) < 2:
        return sorted({float(f"{end:.2g}") for end in (low, high)})
    return inside[:: math.ceil(len(inside) / 6)]


def _amount(value: float) -> str:
    """``0.2``, ``50``, ``2M``: of parameters there are millions."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
