"""Reliability diagrams: what was said against what was so, one picture per task (and per label), a column per encoder.

Each panel has the 15 bins of equal mass of ``cxrbench.metrics.calibration``; below it stands how often each score was
given. Rows: the scores as given, then after each recalibration, with the given ones in gray behind.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cxrbench.files.atomic import atomic_path
from cxrbench.files.names import safe_name
from cxrbench.leaderboard.calibration.bins import Bins, binned, drawable, errors, pooled
from cxrbench.leaderboard.calibration.variants import AS_GIVEN, Variants
from cxrbench.leaderboard.render import task_title
from cxrbench.leaderboard.statistics.alignment import TestSet

COLOURS = {AS_GIVEN: "#000000", "temperature": "#0072B2", "isotonic": "#D55E00"}  # Okabe and Ito (2008)
MARKERS = {AS_GIVEN: "o", "temperature": "s", "isotonic": "^"}
GRAY = "#9a9a9a"
COLUMNS = 6  # Encoders side by side; more of them go into further pictures.
SCORE_BINS = 30
TALL = 3.3  # How much taller a panel is than the counts below it.
FOOTER = (
    "Bins of equal mass; bars: 95% Wilson intervals, patients as trials. Gray: as given. "
    "Below: how often each score was given."
)


def draw(of_tasks: Sequence[Variants], folder: Path) -> list[Path]:
    """Write the pictures of each task: ``TASK.png`` with all labels pooled, and ``TASK-LABEL.png`` of each label.

    A label without scores or with one class has no picture. Returns the files written.
    """
    written: list[Path] = []
    for each in of_tasks:
        tests = each.tests
        usable = [label for label in tests.labels if drawable(tests, label)]
        pictures = {"": usable} if usable else {}
        if len(tests.labels) > 1:
            pictures |= {label: [label] for label in usable}
        encoders = list(dict.fromkeys(encoder for encoder, _ in each.named.values()))
        for label, of in pictures.items():
            for start in range(0, len(encoders), COLUMNS):
                more = f"-{start // COLUMNS + 1}" if len(encoders) > COLUMNS else ""
                name = safe_name("-".join(filter(None, (task_title(tests.task).replace(":", "-"), label))))
                path = folder / f"{'synthetic-' if tests.task.synthetic else ''}{name}{more}.png"
                figure = picture(each, of, encoders[start : start + COLUMNS])
                with atomic_path(path) as temporary:
                    figure.savefig(temporary, format="png", dpi=150)
                written.append(path)
    return written


def picture(each: Variants, labels: Sequence[str], encoders: Sequence[str]) -> Figure:
    """One figure: the given labels pooled; encoders side by side, methods one below the other, all on the same axes."""
    tests = each.tests
    methods = list(dict.fromkeys(method for _, method in each.named.values()))
    names = {key: name for name, key in each.named.items()}
    data = {key: pooled(tests, names[key], labels) for key in names if key[0] in encoders}
    bins = {key: binned(*of) for key, of in data.items()}
    end = _axis_end([max(b.said.max(), b.upper.max()) for b in bins.values()])
    counts = {key: np.histogram(of[0], SCORE_BINS, (0, end))[0] for key, of in data.items()}
    most = max(int(c.max()) for c in counts.values())

    figure = Figure(figsize=(1.1 + 2.4 * len(encoders), 1.2 + 3.3 * len(methods)), layout="constrained")
    FigureCanvasAgg(figure)
    heights = (TALL, 1) * len(methods)
    axes = figure.subplots(2 * len(methods), len(encoders), squeeze=False, sharex=True, height_ratios=heights)
    for column, encoder in enumerate(encoders):
        for row, method in enumerate(methods):
            upper, lower, key = axes[2 * row, column], axes[2 * row + 1, column], (encoder, method)
            _curve(upper, bins[key], None if method == AS_GIVEN else bins[encoder, AS_GIVEN], method, end)
            ece, loss = errors(*data[key][:2])
            upper.set_title(f"ECE {ece:.3f} · NLL {loss:.3f}", fontsize=8)
            lower.stairs(counts[key], np.linspace(0, end, SCORE_BINS + 1), fill=True, color=COLOURS[method], alpha=0.8)
            lower.set_box_aspect(1 / TALL)  # As wide as the square above it.
            lower.set_yscale("log")
            lower.set_ylim(0.7, most * 1.5)
            if column == 0:
                upper.set_ylabel(f"{method}\nshare of positives", fontsize=9)
                lower.set_ylabel("count", fontsize=9)
        axes[0, column].text(
            0.5, 1.14, _short(encoder), transform=axes[0, column].transAxes, ha="center", fontsize=10, fontweight="bold"
        )
        axes[-1, column].set_xlabel("score", fontsize=9)
    for one in axes.flat:
        one.tick_params(labelsize=8)
        one.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels(axes[:, 0])
    figure.supxlabel("\n".join(textwrap.wrap(FOOTER, 44 * len(encoders))), fontsize=8, color="#444444")
    figure.suptitle(_heading(tests, labels), fontsize=10)
    return figure


def _curve(axes: Axes, bins: Bins, before: Bins | None, method: str, end: float) -> None:
    axes.plot([0, end], [0, end], color=GRAY, linewidth=0.8, linestyle="--", zorder=1)
    if before is not None:
        axes.plot(before.said, before.observed, color=GRAY, linewidth=1, marker="o", markersize=2.5, zorder=2)
    bars = np.abs(np.stack([bins.observed - bins.lower, bins.upper - bins.observed]))
    axes.errorbar(
        bins.said, bins.observed, yerr=bars, color=COLOURS[method], linewidth=1.2, marker=MARKERS[method],
        markersize=4, elinewidth=0.8, capsize=0, zorder=3,
    )  # fmt: skip
    axes.set_xlim(-0.02 * end, 1.02 * end)
    axes.set_ylim(-0.02 * end, 1.02 * end)
    axes.set_box_aspect(1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))


def _heading(tests: TestSet, labels: Sequence[str]) -> str:
    what = labels[0] if len(labels) == 1 else f"{len(labels)} labels pooled"
    stamp = "SYNTHETIC DATA: says nothing about patients\n" if tests.task.synthetic else ""
    return f"{stamp}{task_title(tests.task)} · {what}"


def _axis_end(greatest: Sequence[float]) -> float:
    """Where the axes of all panels end: above every point and bar, on a round number, at most 1."""
    return min(1.0, float(np.ceil(max(greatest) * 10) / 10))


def _short(encoder: str) -> str:
    """An encoder's name on lines that fit above a panel."""
    lines = textwrap.wrap(encoder.replace("/", "/ "), 24)
    return "\n".join(line.replace("/ ", "/") for line in lines[-3:])
