"""What pictures of a board show is what its tables say."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import squareform

from cxrbench.leaderboard.pictures.about import tables_of
from cxrbench.leaderboard.pictures.cost import costs, pareto
from cxrbench.leaderboard.pictures.forest import forest
from cxrbench.leaderboard.pictures.fractions import label_efficiency
from cxrbench.leaderboard.pictures.labels import labels_of
from cxrbench.leaderboard.pictures.matrix import matrix
from cxrbench.leaderboard.pictures.ranks import ranks_over
from cxrbench.leaderboard.tables import build

TABLE = ("auroc", "classification", 1.0, False)
STRENGTHS = {"spcl": 2.5, "mae": 1.2, "pixels": 1.1, "random": 0.3}


@pytest.fixture(scope="module")
def board(made_up):
    cells = [made_up(e, d, strength=s) for e, s in STRENGTHS.items() for d in ("vindr", "siim")]
    return build(cells, replicates=300, metrics=("auroc", "brier"))


def record(board, encoder, task, label="macro", metric="auroc"):
    (one,) = [
        r for r in board.records if (r.encoder, r.task.title, r.label, r.metric) == (encoder, task, label, metric)
    ]
    return one


def test_tables_are_the_metrics_of_each_protocol_and_fraction(board):
    assert tables_of(board) == (TABLE, ("brier", *TABLE[1:]))
    assert tables_of(board, headlines_only=True) == (TABLE,)


def test_the_forest_has_every_record_and_the_baseline_line(board):
    found = forest(board, TABLE)
    assert (found.about.title, found.about.baseline, found.about.higher) == ("AUROC", "random", True)
    assert [c.task for c in found.columns] == ["siim:classification", "vindr:classification"]
    for column in found.columns:
        assert [*column.value] == sorted(column.value, reverse=True)
        assert column.baseline == record(board, "random", column.task).value
        assert (column.images, column.patients) == (160, 80)
        for k, e in enumerate(column.encoders):
            of = record(board, e, column.task)
            assert (column.value[k], column.lower[k], column.upper[k]) == (of.value, of.lower, of.upper)
            assert column.ties[k] == of.tie_group
    assert found.mean is not None
    assert found.mean.value == tuple(sorted((x.value for x in board.overall[TABLE]), reverse=True))
    assert np.isnan(found.mean.gain[found.mean.encoders.index("random")])


def test_of_a_metric_of_which_less_is_better_the_smallest_comes_first_and_there_are_no_means(board):
    found = forest(board, ("brier", *TABLE[1:]))
    assert all([*c.value] == sorted(c.value) for c in found.columns)
    assert found.mean is None
    assert not found.about.higher


def test_the_matrix_is_a_condensed_one_of_the_p_behind_the_letters(board):
    found = matrix(board, TABLE)
    for column, of in zip(found.columns, sorted(board.columns, key=lambda c: c.task.dataset), strict=True):
        square = squareform(np.array(column.p))
        for (i, a), (j, b) in combinations(enumerate(column.encoders), 2):
            assert square[i, j] == of.apart["auroc"].get((a, b), of.apart["auroc"].get((b, a)))
            letters = [{*record(board, e, column.task).tie_group} for e in (a, b)]
            assert bool(letters[0] & letters[1]) == (square[i, j] >= found.alpha)
    assert found.mean is not None
    rows = {x.encoder: x for x in board.overall[TABLE]}
    assert found.mean.p == tuple(rows[a].apart[b] for a, b in combinations(found.mean.encoders, 2))


def test_bars_join_two_encoders_if_and_only_if_no_test_separates_their_means(board):
    found = ranks_over(board, TABLE)
    assert found is not None
    assert [*found.rank] == sorted(found.rank)
    rows = {x.encoder: x for x in board.overall[TABLE]}
    joined = [{*pair} for bar in found.bars for pair in combinations([found.encoders[i] for i in bar], 2)]
    apart = [rows[a].apart[b] for a, b in combinations(found.encoders, 2)]
    assert 0 < sum(p < 0.05 for p in apart) < len(apart)
    for a, b in combinations(found.encoders, 2):
        assert ({a, b} in joined) == (rows[a].apart[b] >= 0.05)
    assert ranks_over(board, ("brier", *TABLE[1:])) is None


def test_the_heat_map_has_each_label_of_each_encoder_and_its_positives(board):
    found = labels_of(board, TABLE)
    assert len(found.tasks) == 2
    for task in found.tasks:
        assert task.labels == ("Nodule/Mass", "Effusion")
        for i, e in enumerate(task.encoders):
            assert task.mean[i] == record(board, e, task.task).value
            for j, label in enumerate(task.labels):
                of = record(board, e, task.task, label)
                shown = (task.value[i][j], task.lower[i][j], task.upper[i][j], task.positives[j], task.patients[j])
                assert shown == (of.value, of.lower, of.upper, of.positives, of.rarer)
        base = task.encoders.index("random")
        assert np.isnan(task.p_holm[base]).all()


def test_curves_of_label_fractions_rise_and_say_where_nothing_was_run(made_up):
    cells = [made_up("spcl", strength=4 * f, fraction=f) for f in (0.1, 0.5, 1.0)]
    cells += [made_up("random", strength=0.1, fraction=1.0), made_up("spcl", "siim")]
    board = build(cells, replicates=100, metrics=("auroc",))
    (found,) = label_efficiency(board)
    assert np.isnan(found.about.fraction)
    (task,) = found.tasks  # siim was run at one fraction
    assert (task.task, task.fractions, task.encoders) == ("vindr:classification", (0.1, 0.5, 1.0), ("spcl", "random"))
    assert [*task.value[0]] == sorted(task.value[0])
    assert np.isnan(task.value[1][:2]).all()
    assert task.seeds == ((1, 1, 1), (0, 0, 1))


def test_cost_leaves_out_what_is_unknown_and_the_front_is_of_those_whom_nobody_beats(board):
    efficiency = {
        "spcl": {"parameters": 100, "gflops_per_image": 2.0, "images_per_second": None, "device": "cpu"},
        "mae": {"parameters": 50, "gflops_per_image": 3.0, "images_per_second": 4.0, "device": "cpu",
                "precision": "fp32"},
        "random": {"parameters": 100, "gflops_per_image": float("nan")},
    }  # fmt: skip
    found = costs(replace(board, efficiency=efficiency), TABLE)
    assert found is not None
    first = found.columns[0]
    assert [first.task, found.columns[1].task] == ["", "siim:classification"]
    axes = {axis.name: axis for axis in first.axes}
    assert [*axes] == ["gflops_per_image", "parameters"]
    at = dict(zip(first.encoders, axes["parameters"].front, strict=True))
    assert at == {"spcl": True, "mae": True, "pixels": False, "random": False}
    assert found.devices == (("mae", "cpu, fp32"),)
    assert costs(board, TABLE) is None


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("less", [True, False])
def test_the_front_is_that_of_a_search_over_all_pairs(higher, less):
    generator = np.random.default_rng(0)
    values, cost = generator.integers(0, 8, 40).astype(float), generator.integers(1, 9, 40).astype(float)
    values[3], cost[5] = np.nan, np.nan
    found = pareto(values.tolist(), cost.tolist(), higher=higher, less=less)
    v, c = values * (1 if higher else -1), cost * (-1 if less else 1)
    for i in range(40):
        beaten = ((v >= v[i]) & (c >= c[i]) & ((v > v[i]) | (c > c[i]))).any()
        assert found[i] == (not beaten and i not in (3, 5))
