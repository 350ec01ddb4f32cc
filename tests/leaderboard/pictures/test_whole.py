"""All pictures of a page: what is in them, and that they can be sent."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from cxrbench.leaderboard.display import renamed
from cxrbench.leaderboard.pictures import whole
from cxrbench.leaderboard.pictures.groups import groups_of
from cxrbench.leaderboard.pictures.plain import numbers, plain
from cxrbench.leaderboard.pictures.whole import of_page
from cxrbench.leaderboard.subgroups.evaluate import by_group
from cxrbench.leaderboard.tables import build

NAMES = {"spcl@x/encoder.safetensors": "S-PCL", "random": "random"}


@pytest.fixture
def cells(made_up):
    return [
        made_up(e, d, strength=s, fraction=f)
        for e, s in (("spcl@x/encoder.safetensors", 2.0), ("random", 0.2))
        for d in ("vindr", "siim")
        for f in (0.1, 1.0)
    ]


@pytest.fixture
def groups(cells):
    found = [replace(one, cell={**one.cell, "parts": {"dataset": f"digest-{one.cell['dataset']}"}}) for one in cells]
    sexes = {f"i{i:04}": "FM"[i // 2 % 2] for i in range(160)}
    return by_group(found, {"digest-vindr": sexes, "digest-siim": sexes}, "sex", replicates=50)


def test_subgroups_are_the_records_of_the_table(groups):
    pictures = groups_of(groups)
    assert [(p.about.fraction, p.by, len(p.tasks)) for p in pictures] == [(0.1, "sex", 2), (1.0, "sex", 2)]
    (task,) = [t for t in pictures[1].tasks if t.task == "vindr:classification"]
    assert task.groups == ("F", "M")
    assert [*task.gap] == sorted(task.gap)
    for i, e in enumerate(task.encoders):
        of = [r for r in groups.records if (r.encoder, r.task.title, r.fraction) == (e, task.task, 1.0)]
        assert task.value[i] == tuple(r.value for r in sorted(of, key=lambda r: r.group))
        (worst,) = [r for r in of if r.worst]
        assert (task.worst[i], task.best[i], task.gap[i]) == (worst.group, worst.best_group, worst.gap)
        assert task.value[i][task.groups.index(task.best[i])] == max(task.value[i])


def test_a_page_has_every_picture_under_shown_names_and_as_json(cells, groups):
    board = renamed(build(cells, replicates=50, metrics=("auroc", "brier")), NAMES)
    board = replace(board, efficiency={"S-PCL": {"parameters": 3}, "random": {"parameters": 2}})
    found = of_page(board, cells, [groups], NAMES)
    assert {*found} == {
        "forest", "matrix", "ranks", "labels", "fractions", "cost", "roc", "pr", "reliability", "groups", "notes",
    }  # fmt: skip
    assert found["notes"] == {}
    text = json.dumps(plain(found), allow_nan=False)
    assert "S-PCL" in text
    assert "encoder.safetensors" not in text
    assert text == json.dumps(plain(of_page(board, cells[::-1], [groups], NAMES)))


def test_a_page_that_would_be_too_large_leaves_out_what_it_says(cells, monkeypatch):
    board = renamed(build(cells, replicates=50, metrics=("auroc", "brier")), NAMES)
    monkeypatch.setattr(whole, "MOST", 30)
    found = of_page(board, cells, (), NAMES)
    assert {p.about.metric for p in found["matrix"]} == {"auroc"}
    assert {c.label for one in found["roc"] for c in one.curves} == {"macro"}
    assert {p.label for one in found["reliability"] for p in one.panels} == {""}
    assert {*found["notes"]} >= {"matrix", "labels", "roc", "pr", "reliability"}


def test_plain_values_are_short_and_finite():
    @dataclass(frozen=True)
    class Picture:
        name: str
        of: tuple[float, ...]

    assert plain(Picture("a\u202eb", (1 / 3, float("nan"), float("inf"), 1.0, 1.23456e-9))) == {
        "name": "a\\u202eb",
        "of": [0.33333, None, None, 1, 1.23e-9],
    }
    assert numbers(Picture("a", (1.0, 2.0))) == 3
    with pytest.raises(TypeError, match="no picture has a set"):
        plain({1})


def test_plain_numbers_are_printed_as_a_table_prints_them():
    values = [*np.random.default_rng(0).random(20_000), 0.4514996, 0.4515004, 12.3454996]
    assert [f"{one:.3f}" for one in plain(tuple(map(float, values)))] == [f"{one:.3f}" for one in values]
    assert [one < 0.05 for one in plain((0.049999999, 0.05, 0.050000001))] == [True, False, False]
