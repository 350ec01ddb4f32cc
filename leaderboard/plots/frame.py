"""What every picture has around it: its heading, the stamp of synthetic data, the legend and the caption."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cxrbench.drawing.palette import INK, Style
from cxrbench.drawing.words import drawable, paragraph, wrapped
from cxrbench.leaderboard.pictures.about import About
from cxrbench.leaderboard.render import percent

STAMP = "SYNTHETIC DATA: drawn by a program, says nothing about patients"
LINE = 0.125  # inches of a line of text


@dataclass(frozen=True)
class PlotLook:
    """How a picture is drawn: its ``width`` in inches, the style of each encoder, and whether its caption is on it."""

    width: float
    styles: Mapping[str, Style]
    caption: bool = True


@dataclass(frozen=True)
class Framed:
    """A figure with its axes, row by row; those behind ``count`` are empty."""

    figure: Figure
    axes: tuple[Axes, ...]
    columns: int

    def filled(self, count: int) -> Iterator[tuple[int, Axes]]:
        """The first axes by number; the others vanish."""
        for one in self.axes[count:]:
            one.set_visible(False)
        yield from enumerate(self.axes[:count])

    def first(self, number: int) -> bool:
        """Whether axes are the first of their row."""
        return number % self.columns == 0


def framed(
    look: PlotLook,
    heading: str,
    caption: str,
    *,
    synthetic: bool,
    panels: int,
    columns: int,
    height: float,
    legend: Sequence[str] = (),
    polar: bool = False,
    sharey: bool = False,
) -> Framed:
    """A figure of ``panels`` in at most so many ``columns``, each row ``height`` inches.

    ``legend``: the encoders in it, by name, in the order given.
    """
    columns = min(columns, panels)
    rows = math.ceil(panels / columns)
    letters = int(look.width * 20)  # of a caption's line
    below = paragraph(caption, letters) if look.caption else ""
    above = "\n".join(paragraph(text, int(look.width * 15)) for text in (STAMP, heading)[not synthetic :])
    widest = max((len(name) for name in legend), default=0)
    across = max(1, min(len(legend), int(look.width / (0.3 + 0.062 * min(widest, 28)))))
    heights = (
        LINE * (above.count("\n") + 1) + 0.06,
        rows * height,
        0.135 * math.ceil(len(legend) / across) + (0.08 if legend else 0),
        LINE * 0.86 * (below.count("\n") + 1) + 0.05 if below else 0.02,
    )
    figure = Figure(figsize=(look.width, sum(heights)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)  # type: ignore[union-attr]
    parts: Any = figure.subfigures(4, 1, height_ratios=[max(one, 0.01) for one in heights])
    head, body, key, foot = parts
    head.text(0.5, 0.5, above, ha="center", va="center", fontsize=7.5, fontweight="bold", linespacing=1.15)
    if legend:
        handles = [mark(look.styles[name], wrapped(name, 28, 1)) for name in legend]
        key.legend(handles=handles, ncols=across, loc="center", handletextpad=0.3, columnspacing=1.0, borderaxespad=0)
    if below:
        foot.text(0.01, 0.5, below, ha="left", va="center", fontsize=6, color=INK, linespacing=1.15)
    kind = {"projection": "polar"} if polar else {}
    axes = body.subplots(rows, columns, squeeze=False, sharey=sharey, subplot_kw=kind)
    return Framed(figure, tuple(axes.flat), columns)


def mark(style: Style, label: str, *, line: bool = False) -> Line2D:
    """An entry of a legend."""
    return Line2D(
        [], [], linestyle="-" if line else "", marker=style.marker, color=style.colour, markersize=4, label=label
    )


def headed(about: About) -> str:
    """``AUROC · classification · 10% of the training labels``."""
    share = (
        "" if math.isnan(about.fraction) or about.fraction == 1 else f"{percent(about.fraction)} of the training labels"
    )
    return " · ".join(filter(None, (about.title, about.protocol, share)))


def data_set(task: str) -> str:
    """What heads a panel: the data set of ``DATASET:PROTOCOL``, for the heading has the protocol; "" is the mean."""
    return wrapped(task.rpartition(":")[0] or task or "mean over all columns", 26, 2)


def named_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names at the left, the first one on top."""
    axes.set_yticks(range(len(names)), [wrapped(name, 24, 2) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def slanted(axes: Axes) -> None:
    """Names below an axis that lean, each ending at its place."""
    for text in axes.get_xticklabels():
        text.set(rotation=40, ha="right", rotation_mode="anchor")


def axis_title(about: About) -> str:
    """The metric, and which way is better."""
    return drawable(f"{about.title} ({'higher' if about.higher else 'lower'} is better)")
