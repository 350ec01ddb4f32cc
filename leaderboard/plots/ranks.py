"""The critical-difference picture: mean ranks with intervals, and bars over encoders that no test separates."""

from matplotlib.figure import Figure

from cxrbench.drawing.palette import INK
from cxrbench.leaderboard.pictures.ranks import Ranks
from cxrbench.leaderboard.plots.frame import PlotLook, framed, headed, named_rows

ROW = 0.2  # inches


def draw(picture: Ranks, look: PlotLook) -> Figure:
    """A row per encoder, the best mean rank on top; a bar at the right joins those that are not separated."""
    said = (
        f"Mean rank over {', '.join(picture.columns)} (1 is best) with its 95% interval over resampled patients. A bar "
        f"joins encoders of which no paired two-sided test separates the means (Holm over all pairs, p < "
        f"{picture.alpha:g}); dots are its members."
    )
    k, bars = len(picture.encoders), len(picture.bars)
    frame = framed(
        look, headed(picture.about), said, synthetic=picture.about.synthetic, panels=1, columns=1,
        height=ROW * k + 0.5,
    )  # fmt: skip
    axes = frame.axes[0]
    for row, encoder in enumerate(picture.encoders):
        style = look.styles[encoder]
        axes.plot([picture.rank_lower[row], picture.rank_upper[row]], [row, row], color=style.colour, linewidth=1.1)
        axes.plot(picture.rank[row], row, style.marker, color=style.colour, markersize=4.5)
        axes.annotate(
            f"{picture.rank[row]:.2f}", (picture.rank[row], row), (0, 3.5), textcoords="offset points", ha="center",
            fontsize=5.5,
        )  # fmt: skip
    named_rows(axes, picture.encoders)
    step = 0.035 * max(k - 1, 1)
    for number, bar in enumerate(picture.bars):
        x = k + 0.25 + step * (number + 1)
        axes.plot([x, x], [min(bar), max(bar)], color=INK, linewidth=2, solid_capstyle="round")
        axes.plot([x] * len(bar), bar, "o", color=INK, markersize=3)
    axes.set_xlim(0.75, k + 0.35 + step * (bars + 1))
    axes.set_xticks(range(1, k + 1, max(1, k // 10)))
    axes.set_xlabel(f"mean rank over {len(picture.columns)} columns")
    axes.spines["bottom"].set_bounds(1, k)
    axes.grid(axis="x", color="#eeeeee", linewidth=0.5)
    axes.set_axisbelow(True)
    return frame.figure
