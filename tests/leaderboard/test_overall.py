"""What a table says over all of its columns."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cxrbench.errors import UserError
from cxrbench.leaderboard.display import renamed
from cxrbench.leaderboard.markdown import to_markdown
from cxrbench.leaderboard.render import to_json
from cxrbench.leaderboard.tables import build


def table(made_up, strengths):
    cells = [made_up(e, d, strength=s) for e, s in strengths.items() for d in ("vindr", "siim", "rsna")]
    return build(cells, replicates=300, metrics=("auroc",))


def test_means_ranks_and_wins(made_up):
    board = table(made_up, {"spcl": 2.5, "mae": 1.5, "random": 0.3})
    rows = {one.encoder: one for one in board.overall["auroc", "classification", 1.0, False]}
    values = {e: [r.value for r in board.records if (r.encoder, r.label) == (e, "macro")] for e in rows}
    for name, one in rows.items():
        assert one.value == pytest.approx(np.mean(values[name]))
        assert one.lower < one.value < one.upper
        assert one.rank_lower <= one.rank <= one.rank_upper
        assert one.wins.keys() == rows.keys() - {name}
    assert [rows[e].rank for e in ("spcl", "mae", "random")] == [1, 2, 3]
    assert rows["spcl"].best > 0.99
    assert sum(one.best for one in rows.values()) == pytest.approx(1)
    assert rows["spcl"].wins["random"] == 1.0
    assert rows["spcl"].gain == pytest.approx(rows["spcl"].value - rows["random"].value)
    assert rows["spcl"].p < rows["spcl"].p_holm < 0.001
    assert np.isnan(rows["random"].p)
    assert "| Over all columns" in to_markdown(board)


def test_columns_are_independent_and_their_variances_add(made_up):
    board = table(made_up, {"spcl": 1.5, "random": 0.3})
    (one,) = [x for x in board.overall["auroc", "classification", 1.0, False] if x.encoder == "spcl"]
    errors = [(r.gain_upper - r.gain_lower) / 2 for r in board.records if (r.encoder, r.label) == ("spcl", "macro")]
    assert (one.gain_upper - one.gain_lower) / 2 == pytest.approx(np.sqrt(np.sum(np.square(errors))) / 3, rel=0.1)


def test_one_column_has_no_overall_and_an_encoder_that_lacks_one_is_not_in_it(made_up):
    assert build([made_up("spcl"), made_up("random")], replicates=100, metrics=("auroc",)).overall == {}
    cells = [made_up(e, d) for e in ("spcl", "random") for d in ("vindr", "siim")] + [made_up("pixels", "vindr")]
    board = build(cells, replicates=100, metrics=("auroc",))
    assert {one.encoder for one in board.overall["auroc", "classification", 1.0, False]} == {"spcl", "random"}


def test_sixty_encoders_are_told_apart(made_up):
    """With the percentile p, whose floor is 1 / (B + 1), no pair of 60 encoders could be separated."""
    cells = [made_up(f"e{i:02}", strength=4.0 if i == 7 else 1.0, labels=("Effusion",)) for i in range(60)]
    records = [r for r in build(cells, replicates=200, metrics=("auroc",)).records if r.label == "macro"]
    letters = {r.encoder: set(r.tie_group) for r in records}
    assert letters["e07"]
    assert all(not letters["e07"] & others for name, others in letters.items() if name != "e07")


def test_over_five_data_sets_it_is_said_what_to_expect_elsewhere(made_up):
    datasets = ("vindr", "siim", "rsna", "nih", "padchest")
    cells = [made_up(e, d, strength=s) for e, s in {"spcl": 3.0, "random": 0.3}.items() for d in datasets]
    board = build(cells, replicates=100, metrics=("auroc",), rope=0.02)
    rows = {one.encoder: one for one in board.overall["auroc", "classification", 1.0, False]}
    assert rows["spcl"].better > 0.99
    assert rows["spcl"].better + rows["spcl"].equal + rows["spcl"].worse == pytest.approx(1)
    assert np.isnan(rows["random"].better)
    text = to_markdown(board)
    assert "Elsewhere: better / equal / worse" in text
    assert "by more than 0.02" in text
    (one,) = [x for x in json.loads(to_json(board))["overall"] if x["encoder"] == "spcl"]
    assert one["better"] == rows["spcl"].better
    fewer = build([c for c in cells if c.cell["dataset"] != "nih"], replicates=100, metrics=("auroc",))
    assert "Elsewhere" not in to_markdown(fewer)
    for rope in (0, np.inf):
        with pytest.raises(UserError, match=f"--rope {rope:g}: a difference that does not matter is above 0"):
            build(cells, rope=rope)


def test_marks_of_means_are_a_family_of_their_own_which_the_legend_counts(made_up):
    board = table(made_up, {"spcl": 2.5, "mae": 1.5, "random": 0.3})
    text = to_markdown(board)
    assert "at most 5% among the cells, and of at most 5% among the means (Holm)" in text
    assert "Tests made: 6 of cells and 2 of means." in text
    tested = [one for one in board.overall["auroc", "classification", 1.0, False] if not np.isnan(one.p)]
    assert len(tested) == 2
    assert max(one.p_holm for one in tested) >= max(one.p for one in tested)
    of_one = build([made_up(e, strength=s) for e, s in {"spcl": 2.5, "random": 0.3}.items()], replicates=100)
    assert "at most 5% (Holm). Tests made: 1." in to_markdown(of_one)
    assert "in its own right (tests made: 4)" in to_markdown(of_one)  # AUPRC, F1, accuracy, Brier score


def test_test_sets_that_may_share_patients_are_said(made_up):
    sources = {"rsna": ("rsna", "nih"), "nih": ("nih",), "vindr": ("vindr",)}
    cells = [made_up(e, d, lineage=of) for d, of in sources.items() for e in ("spcl", "random")]
    (remark,) = build(cells, replicates=100, metrics=("auroc",)).remarks
    assert remark.startswith("nih and rsna have images of one source, so a patient may be in both test sets")
    assert build([c for c in cells if c.cell["dataset"] != "nih"], replicates=100, metrics=("auroc",)).remarks == ()
    drawn = [replace(one, synthetic=True) for one in cells]
    assert build(drawn, replicates=100, metrics=("auroc",)).remarks == ()


def test_nothing_is_said_over_a_column_of_which_many_replicates_are_undefined(made_up):
    """Twelve patients in five folds: in 38% of replicates some fold has none of them."""

    def few_in_folds(one):
        rows = one.rows.sort_values("image_id", ignore_index=True)
        test = rows.index[rows["split"] == "test"]
        ill = np.arange(len(test)) < 24
        targets = {f"target:{x}": rows[f"target:{x}"].mask(rows["split"] == "test", 0.0) for x in one.labels}
        rows = rows.assign(fold=0, **targets)
        rows.loc[test, "fold"] = np.arange(len(test)) // 2 % 5
        rows.loc[test[ill], [*targets]] = 1.0
        return replace(one, rows=rows)

    strengths = {"spcl": 2.0, "random": 0.3}
    cells = [made_up(e, "vindr", strength=s) for e, s in strengths.items()]
    cells += [few_in_folds(made_up(e, "siim", strength=s)) for e, s in strengths.items()]
    board = build(cells, replicates=200, metrics=("auroc",))
    (one,) = [r for r in board.records if (r.encoder, r.dataset, r.label) == ("spcl", "siim", "macro")]
    assert "undefined in" in one.note
    assert board.overall == {}
    text = to_markdown(board)
    assert "Over all columns" not in text
    assert "nan" not in text.lower()


def test_two_sided_p_of_pairs_of_means_are_twice_the_one_tailed_and_holms(made_up):
    board = table(made_up, {"spcl": 0.75, "mae": 0.6, "random": 0.4})
    rows = {one.encoder: one for one in board.overall["auroc", "classification", 1.0, False]}
    raw = {("spcl", "random"): 2 * rows["spcl"].p, ("mae", "random"): 2 * rows["mae"].p}
    cells = [made_up(e, d, strength=s) for e, s in {"spcl": 0.75, "mae": 0.6, "random": 0.4}.items()
             for d in ("vindr", "siim", "rsna")]  # fmt: skip
    against = build(cells, replicates=300, metrics=("auroc",), baseline="mae")
    (other,) = [x for x in against.overall["auroc", "classification", 1.0, False] if x.encoder == "spcl"]
    raw["spcl", "mae"] = 2 * min(other.p, 1 - other.p)
    assert len({*raw.values()}) == 3
    steps = np.maximum.accumulate(np.sort([*raw.values()]) * [3, 2, 1])  # Holm (1979)
    expected = dict(zip(sorted(raw, key=lambda pair: raw[pair]), np.minimum(steps, 1), strict=True))
    for (a, b), p in expected.items():
        assert rows[a].apart[b] == rows[b].apart[a] == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("seeds", [1, 3])
def test_means_that_are_measured_alike_on_every_seed_are_not_apart(made_up, seeds):
    cells = [made_up("spcl", d, seed=s) for d in ("vindr", "siim") for s in range(seeds)]
    twins = [replace(one, cell={**one.cell, "encoder": "twin"}) for one in cells]
    board = build([*cells, *twins], replicates=100, metrics=("auroc",))
    assert [x.apart for x in board.overall["auroc", "classification", 1.0, False]] == [{"twin": 1.0}, {"spcl": 1.0}]


def test_letters_and_the_p_of_pairs_say_the_same(made_up):
    board = table(made_up, {"spcl": 2.5, "mae": 1.5, "random": 0.3})
    for column in board.columns:
        letters = {r.encoder: set(r.tie_group) for r in board.records if r.task == column.task and r.label == "macro"}
        assert len(column.apart["auroc"]) == 3
        for (a, b), p in column.apart["auroc"].items():
            assert bool(letters[a] & letters[b]) == (p >= 0.05)
    shown = renamed(board, {"spcl": "S-PCL", "mae": "MAE", "random": "random"})
    assert {*shown.columns[0].apart["auroc"]} == {("MAE", "random"), ("MAE", "S-PCL"), ("random", "S-PCL")}
    assert {*shown.overall["auroc", "classification", 1.0, False][0].apart} <= {"S-PCL", "MAE", "random"}
