"""Every picture for a paper: it shows the numbers of its dataclasses, in both widths, with the same bytes twice."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from cxrbench.drawing.files import DOUBLE, SINGLE, our_style, save
from cxrbench.drawing.palette import style
from cxrbench.errors import UserError
from cxrbench.leaderboard.calibration.variants import variants
from cxrbench.leaderboard.pictures.about import tables_of
from cxrbench.leaderboard.pictures.curves import curves
from cxrbench.leaderboard.pictures.forest import forest
from cxrbench.leaderboard.pictures.groups import groups_of
from cxrbench.leaderboard.pictures.labels import labels_of
from cxrbench.leaderboard.pictures.matrix import matrix
from cxrbench.leaderboard.pictures.ranks import ranks_over
from cxrbench.leaderboard.pictures.reliability import reliability
from cxrbench.leaderboard.plots.cost import _round
from cxrbench.leaderboard.plots.frame import PlotLook
from cxrbench.leaderboard.plots.labels import defined
from cxrbench.leaderboard.plots.named import (
    PICTURES,
    Drawing,
    of_board,
    of_curves,
    of_groups,
    of_reliability,
    shown_alone,
)
from cxrbench.leaderboard.statistics.alignment import align, by_task
from cxrbench.leaderboard.subgroups.evaluate import by_group
from cxrbench.leaderboard.tables import build

ODD = "<b>$x$</b>\u202e@runs/a_very_long_folder/of_somebody/encoder.safetensors"
STRENGTHS = {"spcl": 2.5, "mae": 1.2, "random": 0.3, ODD: 1.1}
STYLES = {name: style(number) for number, name in enumerate(sorted(STRENGTHS))}
LABELS = ("Nodule/Mass", "Effusion", "Edema")
TABLE = ("auroc", "classification", 1.0, False)
SEX = {f"i{i:04}": "F" if i // 2 % 5 < 2 else "M" for i in range(160)}


@pytest.fixture(scope="module")
def cells(made_up) -> Any:
    made = [
        made_up(e, d, strength=s * (0.5 + f / 2), fraction=f, labels=LABELS)
        for e, s in STRENGTHS.items()
        for d in ("vindr", "siim")
        for f in (0.1, 1.0)
    ]
    return [replace(one, cell={**one.cell, "parts": {"dataset": "d"}}) for one in made]


@pytest.fixture(scope="module")
def board(cells) -> Any:
    facts = {e: {"gflops_per_image": 0.3 * (k + 1), "parameters": 2e6 * 5**k} for k, e in enumerate(STRENGTHS)}
    del facts["random"]["gflops_per_image"]
    return build(cells, replicates=200, metrics=("auroc", "auprc"), efficiency=facts)


@pytest.fixture(scope="module")
def drawing(cells, board) -> Callable[[str], Drawing]:
    """A picture by its name."""

    def drawn(name: str) -> Drawing:
        if name in ("roc", "pr"):
            kind: Any = name
            return of_curves([c for t, of in by_task(cells).items() if (c := curves(align(t, of), kind))], "", None)
        if name == "reliability":
            return of_reliability(reliability(variants(cells, methods=())), "", None)
        if name == "groups":
            return of_groups(groups_of(by_group(cells, {"d": SEX}, "sex", replicates=100)), None)
        return of_board(name, board, None)

    return drawn


@pytest.fixture(autouse=True)
def styled() -> Any:
    with our_style():
        yield


def texts(figure: Figure) -> list[str]:
    """All that is written on a figure, subfigures included."""
    figure.canvas.draw()
    return [one.get_text() for one in figure.findobj(Text) if isinstance(one, Text) and one.get_text()]


def points(axes: Any) -> set[tuple[float, float]]:
    """Where single marks stand."""
    return {(float(one.get_xdata()[0]), float(one.get_ydata()[0])) for one in axes.lines if len(one.get_xdata()) == 1}


@pytest.mark.parametrize("name", [one.name for one in PICTURES])
@pytest.mark.filterwarnings("error")
def test_a_picture_is_drawn_in_both_widths_names_stay_text_and_bytes_are_the_same(
    name: str, drawing: Callable[[str], Drawing], tmp_path: Path
) -> None:
    made = drawing(name)
    for width in (SINGLE, DOUBLE):
        figure = made.figure(PlotLook(width, STYLES))
        save(figure, tmp_path / "one.svg", made.title)
        save(made.figure(PlotLook(width, STYLES)), tmp_path / "two.svg", made.title)
        assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
        assert figure.get_figwidth() == width
    written = "\n".join(texts(made.figure(PlotLook(DOUBLE, STYLES))))
    assert "\u202e" not in written
    assert r"<b>\$x\$" in written.replace("\n", "")
    bare = made.figure(PlotLook(DOUBLE, STYLES, caption=False))
    assert len("".join(texts(bare))) < len(written) - 60
    assert all(text in written for text in texts(bare))


@pytest.mark.parametrize("name", ["forest", "roc", "reliability", "groups", "fractions"])
def test_a_phantom_is_stamped(name: str, cells: Any) -> None:
    phantom = [replace(one, synthetic=True) for one in cells]
    if name == "groups":
        made = of_groups(groups_of(by_group(phantom, {"d": SEX}, "sex", replicates=100)), None)
    elif name == "roc":
        made = of_curves([c for t, of in by_task(phantom).items() if (c := curves(align(t, of), "roc"))], "", None)
    elif name == "reliability":
        made = of_reliability(reliability(variants(phantom, methods=())), "", None)
    else:
        made = of_board(name, build(phantom, replicates=100, metrics=("auroc",)), None)
    assert any("SYNTHETIC DATA" in text for text in texts(made.figure(PlotLook(DOUBLE, STYLES))))


def test_a_forest_has_a_mark_at_each_value_and_stars_where_the_board_has_them(board: Any) -> None:
    figure = of_board("forest", board, None).figure(PlotLook(DOUBLE, STYLES))
    picture = forest(board, TABLE)
    assert picture.mean is not None
    panels = [axes for axes in figure.get_axes() if axes.lines]
    order = picture.mean.encoders
    for axes, column in zip(panels, (picture.mean, *picture.columns), strict=True):
        assert points(axes) == {(v, order.index(e)) for e, v in zip(column.encoders, column.value, strict=True)}
        stars = sum("*" in text.get_text() for text in axes.texts)
        assert stars == sum(p < 0.05 for p in column.p_holm)
        assert any(list(line.get_xdata()) == [column.baseline] * 2 for line in axes.lines)
    assert any("*" in text.get_text() for axes in panels for text in axes.texts)


def test_a_matrix_is_dark_where_a_pair_is_separated_and_writes_the_difference(board: Any) -> None:
    figure = of_board("matrix", board, None).figure(PlotLook(DOUBLE, STYLES))
    picture = matrix(board, TABLE)
    assert picture.mean is not None
    panels = [axes for axes in figure.get_axes() if axes.patches]
    for axes, column in zip(panels, (picture.mean, *picture.columns), strict=True):
        gray = sum(patch.get_facecolor()[:3] == pytest.approx((242 / 255,) * 3) for patch in axes.patches)
        assert gray == sum(p >= 0.05 for p in column.p)
        first = f"{abs(column.value[0] - column.value[1]):.3f}".removeprefix("0")
        assert axes.texts[0].get_text() == first


def test_ranks_are_where_they_belong_and_bars_join_their_members(board: Any) -> None:
    axes = of_board("ranks", board, None).figure(PlotLook(DOUBLE, STYLES)).get_axes()[0]
    picture = ranks_over(board, TABLE)
    assert picture is not None
    assert points(axes) >= {(rank, row) for row, rank in enumerate(picture.rank)}
    upright = [one for one in axes.lines if len(one.get_xdata()) > 1 and len({*one.get_xdata()}) == 1]
    bars = [tuple(map(int, one.get_ydata())) for one in upright if one.get_linestyle() == "None"]
    assert bars == [*picture.bars]


def test_a_label_without_a_value_leaves_the_map_and_is_named(board: Any) -> None:
    picture = labels_of(board, TABLE)
    task = picture.tasks[0]
    nothing = replace(task, value=tuple((np.nan, *row[1:]) for row in task.value))
    assert defined(nothing).labels == task.labels[1:]
    assert defined(nothing).value == tuple(row[1:] for row in task.value)
    assert defined(task) == task
    figure = of_board("labels", board, None).figure(PlotLook(DOUBLE, STYLES))
    mesh = figure.get_axes()[0].collections[0]
    values = np.column_stack([task.mean, task.value])
    np.testing.assert_array_equal(np.ravel(mesh.get_array()), values.ravel())


def test_curves_and_their_areas_are_those_of_the_picture(cells: Any, drawing: Callable[[str], Drawing]) -> None:
    figure = drawing("roc").figure(PlotLook(DOUBLE, STYLES))
    tasks = [c for t, of in by_task(cells).items() if t.fraction == 1 and (c := curves(align(t, of), "roc"))]
    panels = [axes for axes in figure.get_axes() if axes.lines]
    for axes, task in zip(panels, tasks, strict=True):
        means = [curve for curve in task.curves if curve.label == "macro"]
        drawn = {tuple(map(float, line.get_ydata())) for line in axes.lines}
        assert {curve.y for curve in means} <= drawn
        legend = axes.get_legend()
        assert legend is not None
        assert [text.get_text().split()[-1] for text in legend.get_texts()] == [
            f"{area:.3f}" for area in sorted((c.area for c in means), reverse=True)
        ]


def test_who_costs_nothing_stands_at_the_left_end_of_a_logarithmic_axis(board: Any) -> None:
    free = replace(board, efficiency={**board.efficiency, "random": {"gflops_per_image": 0.0, "parameters": 0}})
    figure = of_board("cost", free, None).figure(PlotLook(DOUBLE, STYLES))
    panels = [axes for axes in figure.get_axes() if axes.lines]
    assert len(panels) == 2
    for axes in panels:
        assert len(points(axes)) == len(STRENGTHS)
        assert next(text.get_text() for text in axes.get_xticklabels()) == "0"
        assert min(x for x, _ in points(axes)) == axes.get_xticks()[0]
    assert "0 stands at the left end" in " ".join(texts(figure)).replace("\n", " ")


def test_a_cost_axis_has_two_to_six_round_numbers() -> None:
    assert _round([]) == []
    assert _round([1.8e6, 3.4e6]) == [1.8e6, 3.4e6]
    assert _round([45.0, 90.0, 1400.0]) == pytest.approx([50, 100, 200, 500, 1000])
    assert all(2 <= len(_round([0.3, 0.3 * 10**k])) <= 6 for k in range(1, 9))


def test_a_gap_without_an_interval_has_none_and_that_is_said(cells: Any) -> None:
    (found,) = groups_of(by_group([c for c in cells if c.cell["fraction"] == 1], {"d": SEX}, "sex", replicates=100))
    bare = replace(found.tasks[0], gap_lower=(np.nan,) * len(STRENGTHS), gap_upper=(np.nan,) * len(STRENGTHS))
    figure = of_groups([replace(found, tasks=(bare,))], None).figure(PlotLook(DOUBLE, STYLES))
    written = texts(figure)
    assert "nan" not in "".join(written)
    assert {f"{gap:.3f}" for gap in bare.gap} <= set(written)
    assert "Where no interval stands" in " ".join(written)


def test_the_first_headline_at_the_largest_fraction_is_drawn_and_the_rest_is_named(board: Any, cells: Any) -> None:
    made = of_board("forest", board, None)
    assert made.title == "AUROC · classification"
    assert len(made.left_out) == len(tables_of(board)) - 1 == 3
    assert "AUROC · classification · 10% of the training labels" in made.left_out
    assert of_board("forest", board, 0.1).title == "AUROC · classification · 10% of the training labels"
    with pytest.raises(UserError, match=r"--fraction 0\.5: the results have 0\.1, 1"):
        of_board("forest", board, 0.5)
    others = of_reliability(reliability(variants(cells, methods=())), "", None).left_out
    assert others == ("siim:classification @ 10%", "vindr:classification @ 10%", "vindr:classification")


def test_encoders_that_are_named_stand_alone_and_tests_stay_those_among_all(board: Any) -> None:
    two = shown_alone(board, ("spcl", "random"))
    picture, whole = forest(two, TABLE).columns[0], forest(board, TABLE).columns[0]
    assert set(picture.encoders) == {"spcl", "random"}
    assert picture.p_holm[picture.encoders.index("spcl")] == whole.p_holm[whole.encoders.index("spcl")]
    of_board("matrix", two, None).figure(PlotLook(SINGLE, STYLES))
    with pytest.raises(UserError, match="--encoders nobody: the results have"):
        shown_alone(board, ("nobody",))


def test_what_these_results_do_not_have_is_refused(made_up: Any, cells: Any) -> None:
    one = build([made_up("spcl"), made_up("random", strength=0.3)], replicates=100, metrics=("auroc",))
    for name, message in {
        "ranks": "two data sets",
        "fractions": "--fractions 0.01,0.1,1",
        "cost": "what it costs",
    }.items():
        with pytest.raises(UserError, match=message):
            of_board(name, one, None)
    with pytest.raises(UserError, match="a radar needs 3 labels"):
        of_board("radar", one, None).figure(PlotLook(SINGLE, STYLES))
    many = [made_up(f"e{k}", labels=LABELS) for k in range(9)]
    with pytest.raises(UserError, match="a radar of 9 encoders cannot be read: name up to 7 with --encoders"):
        of_board("radar", build(many, replicates=100, metrics=("auroc",)), None).figure(PlotLook(SINGLE, STYLES))
    found = [curves(align(*next(iter(by_task(cells).items()))), "roc")]
    with pytest.raises(UserError, match="--label Hernia: no task has curves of it; there are Edema, Effusion"):
        of_curves([c for c in found if c], "Hernia", None)
