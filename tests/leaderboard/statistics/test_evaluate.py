import dataclasses

import numpy as np
import pytest

from cxrbench.leaderboard.statistics import bootstrap, evaluate
from cxrbench.leaderboard.statistics.alignment import align, by_task
from cxrbench.leaderboard.statistics.bootstrap import replicate, replicate_cells
from cxrbench.leaderboard.statistics.measured import measured
from cxrbench.metrics.classification import METRICS
from cxrbench.metrics.kinds import KINDS
from cxrbench.metrics.prepared import Weights
from cxrbench.metrics.together import Together

MEASURES = list(KINDS["multilabel"].measures.values())


@pytest.fixture
def tests(made_up):
    ((task, cells),) = by_task(
        [made_up(e, seed=s) for e, seeds in {"a": 3, "random": 3, "b": 2}.items() for s in range(seeds)]
    ).items()
    return align(task, cells)


def figures(tests):
    """Everything that is measured but the test set, headline replicates as they are."""
    found = measured(tests, MEASURES, "random", 600, 0)
    return [{**vars(one), "tests": None, "headlines": None} for one in found], [
        {e: (h.points.tolist(), h.replicates.tolist()) for e, h in one.headlines.items()} for one in found
    ]


def test_metrics_computed_together_are_what_each_is_alone():
    generator = np.random.default_rng(0)
    scores, targets = generator.random(80), (generator.random(80) < 0.3).astype(float)
    prepared = [one.prepare(scores.round() if one.on_decisions else scores, targets) for one in METRICS.values()]
    weights = Weights.of(generator.poisson(1, (80, 30)).astype(np.uint16))
    expected = np.stack([one(weights) for one in prepared])
    np.testing.assert_allclose(Together.of(prepared)(weights), expected, rtol=1e-13)


def test_all_metrics_at_once_are_what_each_is_by_itself(tests):
    together = measured(tests, MEASURES, "random", 600, 0)
    for one in together:
        (alone,) = measured(tests, [one.measure], "random", 600, 0)
        assert list(alone.values) == list(one.values)
        for key, value in one.values.items():
            assert dataclasses.astuple(value)[:6] == pytest.approx(
                dataclasses.astuple(alone.values[key])[:6], abs=1e-12
            )
        assert alone.percentiles == one.percentiles


def test_encoders_one_after_the_other_give_what_all_at_once_give(tests, monkeypatch):
    expected = figures(tests)
    monkeypatch.setattr(evaluate, "AT_ONCE", 0)
    drawn = []
    whole = evaluate.replicate_cells
    monkeypatch.setattr(
        evaluate, "replicate_cells", lambda cells, *rest: drawn.append(len(cells)) or whole(cells, *rest)
    )
    assert figures(tests) == expected
    assert drawn == [3, 3, 2]


def test_the_number_of_threads_changes_nothing(monkeypatch):
    generator = np.random.default_rng(1)
    targets = (generator.random(60) < 0.4).astype(float)
    prepared = [METRICS[name].prepare(generator.random(60), targets) for name in ("auroc", "brier")]
    monkeypatch.setattr(bootstrap, "WIDE", 1)  # else one thread has all blocks of so few images
    monkeypatch.setattr(bootstrap, "cores", lambda: 3)
    found = []
    for threads in (1, 3):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        assert bootstrap.threads() == threads
        found.append(replicate(prepared, np.arange(60), "key", 0, 1_100))
    np.testing.assert_array_equal(*found)


def test_the_same_predictions_have_the_same_replicates():
    generator = np.random.default_rng(2)
    targets, scores = (generator.random(70) < 0.4).astype(float), generator.random(70)
    cells = [
        Together.of([METRICS[name].prepare(s, targets) for name in ("auroc", "brier", "ece")])
        for s in (scores, generator.random(70), scores.copy())
    ]
    first, other, same = replicate_cells(cells, np.arange(70), "key", 0, 300)
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
