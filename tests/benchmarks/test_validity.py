"""The truth that the leaderboard is held to, and how shares of tables are counted."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import validity
from made_up_tables import WORLDS, Design, one_column, truth

from cxrbench.metrics.classification import Weights
from cxrbench.metrics.kinds import KINDS


def value(design, rows):
    measure = KINDS[WORLDS[design.metric].kind].measures[design.metric]
    return measure.prepare(rows, ("a",))["a"](Weights.of(np.ones((len(rows), 1), np.uint16)))[0]


@pytest.mark.parametrize("metric", WORLDS)
def test_the_truth_is_what_a_large_test_set_has(metric):
    design = Design(metric, n=15_000, prevalence=0.3)
    rows = one_column(design, np.random.default_rng(0), 0, 0.4, 0.0).rows
    assert value(design, rows["equal1"][0]) == pytest.approx(truth(design), abs=0.015)
    assert value(design, rows["better"][0]) == pytest.approx(truth(design, 0.4), abs=0.015)
    assert abs(truth(design, 0.4) - truth(design)) > 0.02


@pytest.mark.parametrize("metric", ["auroc", "brier", "dice", "recall@1"])  # linear in what a skill does to an image
def test_the_truth_over_seeds_is_that_of_skills_that_vary_from_image_to_image(metric):
    rng, design = np.random.default_rng(1), Design(metric)
    x, y, g = rng.standard_normal(100_000), (rng.random(100_000) < 0.5).astype(float), rng.standard_normal(100_000)
    rows = pd.DataFrame(WORLDS[metric].rows(x, WORLDS[metric].skill + 1.5 * g, y, 0.5, x))
    assert value(design, rows) == pytest.approx(truth(design, 0.0, 1.5), abs=0.006)
    assert abs(truth(design, 0.0, 1.5) - truth(design)) > 0.006


def test_shares_have_the_error_of_a_ratio_over_tables():
    rng = np.random.default_rng(2)
    could = rng.integers(1, 10, 400)
    happened = rng.binomial(could, 0.3)
    sums = [happened.sum(), could.sum(), happened @ happened, happened @ could, could @ could]
    drawn = rng.integers(400, size=(4_000, 400))
    error = (happened[drawn].sum(1) / could[drawn].sum(1)).std()
    ratio, _, printed = validity.share(*map(int, sums)).split()
    assert float(ratio.strip("%")) == pytest.approx(100 * happened.sum() / could.sum(), abs=0.05)
    assert float(printed.strip("%")) == pytest.approx(100 * error, abs=0.1)
    assert validity.share(0, 0, 0, 0, 0) == "–"


def test_a_round_adds_to_what_is_kept(monkeypatch):
    monkeypatch.setattr(validity, "PILOT", 4)
    design = replace(Design("brier", n=60), columns=2, encoders=3)
    once = validity.more(design, {}, 2)
    twice = validity.more(design, json.loads(json.dumps(once)), 3)
    assert (once["rounds"], twice["rounds"], twice["tables"], twice["scale"]) == (1, 2, 5, once["scale"])
    assert twice["sums"]["tested"] == [20, 20, 80, 80, 80]
    assert all(np.greater_equal(twice["sums"][name], once["sums"][name]).all() for name in twice["sums"])
