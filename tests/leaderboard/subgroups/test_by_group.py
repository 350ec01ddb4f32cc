"""Encoders within groups of patients: against pandas and scikit-learn on the saved predictions."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from cxrbench.errors import UserError
from cxrbench.leaderboard.statistics.alignment import align, by_task
from cxrbench.leaderboard.statistics.bootstrap import resample_counts
from cxrbench.leaderboard.statistics.significance import holm
from cxrbench.leaderboard.subgroups.evaluate import by_group
from cxrbench.leaderboard.subgroups.tables import to_csv, to_json, to_markdown

SEX = {f"i{i:04}": "F" if i // 2 % 5 < 2 else "M" for i in range(160)}  # two images per patient
FEW = SEX | {f"i{i:04}": "X" for i in range(4)} | {f"i{i:04}": "" for i in range(4, 10)}


def known(one):
    """With the fingerprint by which groups are found."""
    return replace(one, cell={**one.cell, "parts": {"dataset": "d"}})


@pytest.fixture
def cells(made_up):
    return [
        known(made_up("spcl", strength=2.0)),
        known(made_up("twin", strength=1.9)),
        known(made_up("random", strength=0.3)),
    ]


def auroc(rows, labels, weights=None):
    return float(np.mean([
        roc_auc_score(rows[f"target:{x}"], rows[f"score:{x}"], sample_weight=weights) for x in labels
    ]))  # fmt: skip


def of_group(one, group, groups=SEX):
    rows = one.test_rows()
    return rows[rows["image_id"].map(groups) == group]


def row(found, encoder, group):
    (one,) = [r for r in found.records if (r.encoder, r.group) == (encoder, group)]
    return one


def test_values_are_those_of_the_group_alone(cells):
    found = by_group(cells, {"d": SEX}, "sex", replicates=100)
    for one in cells:
        for group in ("F", "M"):
            mine, r = of_group(one, group), row(found, one.cell["encoder"], group)
            assert r.value == pytest.approx(auroc(mine, one.labels), abs=1e-12)
            assert (r.n, r.patients) == (len(mine), mine["patient_id"].nunique())
            assert r.lower < r.value < r.upper


def test_the_gap_is_paired_over_the_same_resamples(cells):
    found = by_group(cells, {"d": SEX}, "sex", replicates=40)
    spcl = cells[0]
    values = {group: auroc(of_group(spcl, group), spcl.labels) for group in "FM"}
    worst, best = sorted(values, key=lambda group: values[group])
    r = row(found, "spcl", worst)
    assert (r.worst, r.best_group, row(found, "spcl", best).worst) == (True, best, False)
    assert r.gap == pytest.approx(values[best] - values[worst], abs=1e-12)
    ((task, of),) = by_task(cells).items()
    tests = align(task, of)
    rows = spcl.test_rows()
    member = {group: (rows["image_id"].map(SEX) == group).to_numpy() for group in "FM"}
    counts = np.concatenate(list(resample_counts(tests.patients, tests.key, 0, 40)), axis=1)
    gaps = [
        np.diff([auroc(rows[member[g]], spcl.labels, column[member[g]]) for g in (worst, best)])[0]
        for column in counts.T
    ]
    half = (r.gap_upper - r.gap_lower) / 2
    assert half / np.std(gaps, ddof=1) == pytest.approx(2.0, abs=0.1)  # Student's t of some tens of patients


def test_tests_within_groups_are_one_family(cells):
    found = by_group(cells, {"d": SEX}, "sex", replicates=200)
    tested = [r for r in found.records if r.encoder != "random"]
    assert len(tested) == 4
    assert holm([r.p for r in tested]) == pytest.approx([r.p_holm for r in tested])
    base = row(found, "random", "F")
    assert row(found, "spcl", "F").gain == pytest.approx(row(found, "spcl", "F").value - base.value)
    assert np.isnan(base.p)


def test_small_and_unknown_groups_are_said_and_left_out(cells):
    found = by_group(cells, {"d": FEW}, "sex", replicates=100)
    assert {r.group for r in found.records} == {"F", "M"}
    text = to_markdown(found, {"spcl": "S-PCL"})
    assert "6 of 160 images are of no known group" in text
    assert "X is left out: 10 patients with, and without, the finding in 0 of 2 labels only" in text
    assert "| `S-PCL`" in text
    assert "a false `*` has a probability of at most 5% (Holm). Tests made: 4." in text
    assert "With one seed they are conditional on what it trained" in text
    assert all("S-PCL" not in data for data in (to_csv(found), to_json(found)))
    with pytest.raises(UserError, match=r"two groups by sex .*: all images are of one group, F\)"):
        by_group(cells, {"d": dict.fromkeys(SEX, "F")}, "sex", replicates=100)
    with pytest.raises(UserError, match=r"no task has two groups by site .*: the site of no image is known"):
        by_group(cells, {"d": {}}, "site", replicates=100)
    with pytest.raises(UserError, match="its manifest, which knows the site, is not beside the results: run it again"):
        by_group(cells, {}, "site", replicates=100)
    with pytest.raises(UserError, match="--by shows metrics that can be tested: leave out ece of --metrics"):
        by_group(cells, {"d": FEW}, "sex", metrics=("auroc", "ece"), replicates=100)


def test_means_are_over_the_labels_that_every_group_can_be_asked(made_up):
    labels = ("Mass", "Effusion", "Edema")
    one = known(made_up("spcl", labels=labels))
    rows = one.rows.copy()
    rows.loc[rows["image_id"].map(SEX) == "F", "target:Edema"] = 0.0
    found = by_group([replace(one, rows=rows)], {"d": SEX}, "sex", replicates=100)
    mine = of_group(replace(one, rows=rows), "M")
    assert row(found, "spcl", "M").value == pytest.approx(auroc(mine, labels[:2]), abs=1e-12)
    ((note,),) = found.notes.values()
    assert note == "means are over the labels of which every group has enough: Mass, Effusion"


def test_exclusive_classes_by_group(made_up):
    one = known(made_up("spcl", kind="multiclass", labels=("normal", "bacteria", "virus"), n=240))
    groups = {f"i{i:04}": "F" if i // 2 % 2 else "M" for i in range(240)}
    found = by_group([one], {"d": groups}, "sex", replicates=50, metrics=("accuracy",))
    mine = of_group(one, "F", groups)
    truth, choice = one.targets(mine).argmax(1), one.scores(mine).argmax(1)
    assert row(found, "spcl", "F").value == pytest.approx(accuracy_score(truth, choice))
