"""The picture of a map: a column per encoder, a row per colouring, the legend with its counts beside each row."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cxrbench.drawing.files import DOUBLE
from cxrbench.drawing.palette import FAINT, GRAY, INK, Style, style
from cxrbench.drawing.words import paragraph, wrapped
from cxrbench.embedding_maps.captions import caption, heading
from cxrbench.embedding_maps.grouping import Grouping
from cxrbench.embedding_maps.mapped import EmbeddingMap, EncoderMap
from cxrbench.embedding_maps.quality import Separation

LEGEND, PANEL, NARROW, SMALLEST = 1.35, 2.3, 1.8, 1.5  # inches
MANY = 5_000
"""Points above which an SVG or a PDF holds them as dots, not as shapes."""
REST = Style(GRAY, "x")


def picture(found: EmbeddingMap, names: Mapping[str, str]) -> Figure:
    """A figure of two columns of a paper, less wide with one encoder, wider from four on. ``names``: of encoders."""
    columns, rows = len(found.maps), len(found.groupings)
    panel = min(PANEL, max(SMALLEST, (DOUBLE - LEGEND) / columns))
    width = LEGEND + panel * columns
    below = paragraph(caption(found, names), int(width * 21))
    above = heading(found)
    height = (
        rows * (panel + (0.26 if panel < NARROW else 0.16))
        + 0.36
        + 0.125 * (below.count("\n") + 1)
        + (0.16 if above else 0)
    )
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)  # type: ignore[union-attr]
    axes = figure.subplots(rows, columns + 1, squeeze=False, width_ratios=[panel] * columns + [LEGEND])
    numbers = {(one.encoder, one.by): one for one in found.separations}
    dots = len(found.image_ids) * columns * rows > MANY
    for row, grouping in enumerate(found.groupings):
        for column, one in enumerate(found.maps):
            _panel(
                axes[row, column], one, grouping, numbers[one.encoder, grouping.by], dots=dots, narrow=panel < NARROW
            )
            if row == 0:
                _head(axes[row, column], one, names[one.encoder], int(panel * 14))
        _legend(axes[row, columns], grouping)
    if above:
        figure.suptitle(paragraph(above, int(width * 17)), fontsize=7.5, fontweight="bold")
    figure.supxlabel(below, fontsize=6, color=INK, x=0.01, ha="left")
    return figure


def _panel(axes: Axes, one: EncoderMap, grouping: Grouping, numbers: Separation, *, dots: bool, narrow: bool) -> None:
    """One encoder's points: the rest first, then the largest group, so that small ones lie on top."""
    size = float(np.clip(4000 / len(one.points), 4, 16))
    for code in _order(grouping):
        group, chosen = grouping.groups[code], grouping.codes == code
        colour, marker = _style(grouping, code)
        filled = {} if group.rest else {"edgecolors": "white", "linewidths": 0.25}
        axes.scatter(
            *one.points[chosen].T, s=size * (0.7 if group.rest else 1), c=colour, marker=marker,
            alpha=0.6 if group.rest else 0.85, rasterized=dots, **(filled or {"linewidths": 0.5}),
        )  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_box_aspect(1)
    for spine in axes.spines.values():
        spine.set(visible=True, color=FAINT)
    said = f"full {_short(numbers.in_embeddings)} · map {_short(numbers.in_map)}"
    axes.set_xlabel("silhouette:" + ("\n" if narrow else " ") + said, fontsize=6.5, labelpad=2)


def _head(axes: Axes, one: EncoderMap, name: str, width: int) -> None:
    said = f"trustworthiness {one.trustworthiness:.2f}"
    if not math.isnan(one.shown):
        said += f" · {one.shown:.0%} of the variance"
    mark = "†" if one.seen else ""
    axes.set_title(f"{wrapped(name + mark, width)}\n", fontsize=8, fontweight="bold", pad=2)
    axes.annotate(said, (0.5, 1), (0, 3), "axes fraction", textcoords="offset points", ha="center", fontsize=6)


def _legend(axes: Axes, grouping: Grouping) -> None:
    axes.axis("off")
    handles = [
        Line2D([], [], linestyle="", marker=_style(grouping, code).marker, color=_style(grouping, code).colour,
            markersize=4.5, label=wrapped(f"{group.name} ({group.images:,})", 24))
        for code, group in enumerate(grouping.groups)
    ]  # fmt: skip
    title = wrapped(grouping.by, 22)
    axes.legend(
        handles=handles, title=title, loc="center left", bbox_to_anchor=(-0.08, 0.5), borderaxespad=0,
        handletextpad=0.2, alignment="left", title_fontproperties={"weight": "bold", "size": 7},
    )  # fmt: skip


def _order(grouping: Grouping) -> list[int]:
    return sorted(range(len(grouping.groups)), key=lambda code: (not (g := grouping.groups[code]).rest, -g.images))


def _style(grouping: Grouping, code: int) -> Style:
    return REST if grouping.groups[code].rest else style(code)


def _short(value: float) -> str:
    return "–" if math.isnan(value) else f"{round(value, 2) + 0:.2f}".replace("-", "−")  # + 0: no minus zero
