"""The significance matrix: of each pair of encoders the difference, dark where a test separates them."""

import math
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cxrbench.drawing.palette import INK
from cxrbench.drawing.words import wrapped
from cxrbench.leaderboard.pictures.matrix import Matrix, MatrixColumn
from cxrbench.leaderboard.plots.frame import PlotLook, data_set, framed, headed, named_rows, slanted

# Dark is sure. Text on the two darkest is white; hatching tells an untested pair from one that was not separated.
STEPS = ((0.001, "#08519c", "white"), (0.01, "#3182bd", "white"), (0.05, "#9ecae1", INK), (math.inf, "#f2f2f2", INK))
WRITTEN = 9
"""Encoders up to which the differences are written into the cells."""
NAMES, SMALLEST, LARGEST = 0.65, 0.27, 0.4
"""Inches of the names at the left, and of a cell's side."""


def draw(picture: Matrix, look: PlotLook) -> Figure:
    """A triangle per column: the row's encoder is better than the column's by what stands in the cell."""
    shown = [*([picture.mean] if picture.mean else []), *picture.columns]
    most = max(len(column.encoders) for column in shown)
    columns = max(1, min(4, len(shown), int(look.width / (NAMES + SMALLEST * (most - 1)))))
    said = (
        f"Cells: by how much the row is better than the column (its {picture.about.title} on the test set). Colour: "
        f"two-sided p of the paired difference, Holm over all pairs of the table: below .001, .01 and "
        f"{picture.alpha:g} from dark to light; gray: not separated; hatched: not tested."
    )
    frame = framed(
        look, headed(picture.about), said, synthetic=picture.about.synthetic, panels=len(shown), columns=columns,
        height=min(look.width / columns - NAMES, LARGEST * (most - 1)) + 0.9,
    )  # fmt: skip
    for number, axes in frame.filled(len(shown)):
        _triangle(axes, shown[number])
        axes.set_title(data_set(shown[number].task))
    return frame.figure


def _triangle(axes: Axes, column: MatrixColumn) -> None:
    k = len(column.encoders)
    for (row, other), p in zip(combinations(range(k), 2), column.p, strict=True):
        face, ink = next((face, ink) for end, face, ink in STEPS if p < end) if not math.isnan(p) else ("white", INK)
        hatch = "////" if math.isnan(p) else None
        axes.add_patch(
            Rectangle((other - 1.5, row - 0.5), 1, 1, facecolor=face, edgecolor="#bbbbbb", hatch=hatch, linewidth=0.4)
        )
        by = abs(column.value[row] - column.value[other])
        if k <= WRITTEN and not math.isnan(by):
            text = f"{by:.3f}".removeprefix("0")
            axes.text(other - 1, row, text, ha="center", va="center", fontsize=5.5, color=ink)
    named_rows(axes, column.encoders[:-1])
    axes.set_ylim(k - 1.5, -0.5)
    axes.set_xlim(-0.5, k - 1.5)
    axes.set_xticks(range(k - 1), [wrapped(name, 20, 1) for name in column.encoders[1:]])
    slanted(axes)
    axes.set_aspect("equal")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
