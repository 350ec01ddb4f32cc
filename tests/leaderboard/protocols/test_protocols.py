"""Protocols of one encoder pair as encoders do: against scikit-learn, pandas and numpy on the saved predictions."""

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrbench.errors import UserError
from cxrbench.leaderboard.comparison.compare import compare
from cxrbench.leaderboard.comparison.tables import comparison_to_json, comparison_to_markdown
from cxrbench.leaderboard.markdown import to_markdown
from cxrbench.leaderboard.protocols.tables import as_saved, board_of_protocols, compare_protocols
from cxrbench.leaderboard.render import to_csv, to_json
from cxrbench.leaderboard.statistics import evaluate
from cxrbench.leaderboard.statistics.alignment import align, by_task
from cxrbench.leaderboard.statistics.bootstrap import resample_counts
from cxrbench.leaderboard.statistics.kept import Evaluations
from cxrbench.predictions import NotApplicable

ONE, TWO = "classification+views1", "classification+views2"


@pytest.fixture
def under(made_up):
    """Made-up predictions of ``spcl`` under a protocol, whose name decides the noise."""

    def make(protocol, encoder="spcl", **facts):
        one = made_up(protocol, **facts)
        return replace(one, cell={**one.cell, "encoder": encoder, "protocol": protocol})

    return make


@pytest.fixture
def cells(under):
    return [under(ONE, strength=0.8), under(TWO, strength=2.0)]


def auroc(rows, labels, weights=None):
    return float(np.mean([
        roc_auc_score(rows[f"target:{x}"], rows[f"score:{x}"], sample_weight=weights) for x in labels
    ]))  # fmt: skip


def headline(found):
    (row,) = [row for row in found.rows if row.label == "macro"]
    return row


def test_the_difference_and_its_error_are_those_of_paired_resamples_of_patients(cells):
    row = headline(compare_protocols(cells, "spcl", (TWO, ONE), replicates=12))
    first, second = cells[1].test_rows(), cells[0].test_rows()
    labels = cells[0].labels
    assert row.difference == pytest.approx(auroc(first, labels) - auroc(second, labels), abs=1e-12)
    ((task, of),) = by_task([replace(one, cell={**one.cell, "protocol": "", "encoder": str(i)}) for i, one in
                             enumerate(cells)]).items()  # fmt: skip
    tests = align(task, of)
    counts = np.concatenate(list(resample_counts(tests.patients, tests.key, 0, 12)), axis=1)
    drawn = [auroc(first, labels, column) - auroc(second, labels, column) for column in counts.T]
    assert row.error == pytest.approx(np.std(drawn, ddof=1), rel=1e-9)
    assert (row.n, row.patients) == (160, 80)


def test_it_says_of_protocols_what_it_says_of_encoders(cells):
    encoders = [replace(one, cell={**one.cell, "encoder": one.cell["protocol"], "protocol": "p"}) for one in cells]
    options = {"replicates": 200, "margin": 0.02, "metrics": ("auroc", "brier")}
    as_protocols = compare_protocols(cells, "spcl", (TWO, ONE), **options)
    as_encoders = compare(encoders, TWO, ONE, **options)
    assert [replace(row, protocol="p") for row in as_protocols.rows] == list(as_encoders.rows)


def test_of_equal_protocols_none_is_better(cells, under):
    one = cells[0]
    twin = replace(one, cell={**one.cell, "protocol": TWO})
    row = headline(compare_protocols([one, twin], "spcl", (TWO, ONE), replicates=100))
    assert (row.difference, row.p, row.p_holm) == (0.0, 1.0, 1.0)
    equal = [under(protocol, strength=1.0) for protocol in (ONE, TWO)]
    assert 0.05 < headline(compare_protocols(equal, "spcl", (TWO, ONE), replicates=100)).p < 0.95


def test_protocols_are_compared_on_the_images_that_both_tested(cells):
    lacking = cells[1].rows["image_id"].isin([f"i{i:04}" for i in range(150, 160)])
    fewer = replace(cells[1], rows=cells[1].rows[~lacking])
    found = compare_protocols([cells[0], fewer], "spcl", (TWO, ONE), replicates=100)
    kept = cells[0].test_rows().iloc[:150]
    assert headline(found).value_b == pytest.approx(auroc(kept, cells[0].labels), abs=1e-12)
    assert f"vindr: compared on the 150 test images that all have ({TWO} lacks 10 of 160)" in found.notes


def test_labels_that_only_one_of_them_predicts_are_left_out_and_said(cells, under):
    more = under(TWO, labels=("Nodule/Mass", "Effusion"), groups={"all": ("Nodule/Mass", "Effusion")})
    fewer = replace(cells[0], labels=("Effusion",), groups={"macro": ("Effusion",)})
    found = compare_protocols([more, fewer], "spcl", (TWO, ONE), replicates=100)
    assert {row.label for row in found.rows} == {"macro", "all", "Effusion"}
    assert headline(found).value_a == pytest.approx(auroc(more.test_rows(), ("Effusion",)), abs=1e-12)
    assert "vindr: compared over the labels that all predict: Effusion" in found.notes
    other = replace(fewer, labels=("Edema",), groups={"macro": ("Edema",)})
    with pytest.raises(UserError, match=re.escape(f"vindr: {TWO}, {ONE} have no label in common")):
        compare_protocols([more, other], "spcl", (TWO, ONE), replicates=100)


def test_folds_against_none_on_the_common_images_each_model_ranked_by_itself(under):
    alone, folded = under("classification"), under("classification+folds4", n=240)
    fold = folded.rows["image_id"].str[1:].astype(int) // 2 % 4
    folded = replace(folded, rows=folded.rows.assign(fold=fold), notes=("4 models",))
    folded = replace(folded, rows=folded.rows.assign(**{
        f"target:{x}": folded.rows["image_id"].map(alone.rows.set_index("image_id")[f"target:{x}"]).fillna(0.0)
        for x in alone.labels
    }))  # fmt: skip
    found = compare_protocols([alone, folded], "spcl", ("classification+folds4", "classification"), replicates=50)
    rows = folded.test_rows().iloc[:160]
    by_fold = rows.groupby("fold")[rows.columns.tolist()].apply(lambda of: auroc(of, alone.labels))
    row = headline(found)
    assert row.value_a == pytest.approx(by_fold.mean(), abs=1e-12)  # folds of equally many patients
    assert row.value_b == pytest.approx(auroc(alone.test_rows(), alone.labels), abs=1e-12)
    assert "vindr: classification+folds4: 4 models" in found.notes
    assert all(np.isnan(row.p_delong) for row in found.rows)


def test_where_resamples_leave_folds_without_a_positive_there_is_no_interval_and_it_is_said_why(under):
    truth = {f"i{i:04}": float(i < 30) for i in range(160)}  # 15 patients with the finding
    cells = []
    for protocol in ("classification", "knn", "classification+folds8"):
        one = under(protocol, labels=("Mass",))
        rows = one.rows.assign(**{"target:Mass": one.rows["image_id"].map(truth).fillna(0.0)})
        fold = rows["image_id"].str[1:].astype(int) // 2 % 8
        cells.append(replace(one, rows=rows.assign(fold=fold) if "folds" in protocol else rows))
    board = board_of_protocols(cells, "spcl", [c.cell["protocol"] for c in cells], metrics=("auroc",), replicates=100)
    letters = {r.encoder: r.tie_group for r in board.records if r.label == "macro"}
    assert letters.pop("classification+folds8") == ""
    assert all(letters.values()), "the others are tested among themselves"
    found = compare_protocols(cells, "spcl", ("classification+folds8", "knn"), replicates=100)
    assert np.isnan(headline(found).p)
    assert any(re.search(r"Mass: no interval: undefined in \d+% of replicates", note) for note in found.notes)


def test_label_fractions_keep_their_training_seeds(under):
    few = [under("classification", fraction=0.1, seed=s, strength=0.5 + s / 4) for s in range(3)]
    whole = under("classification", strength=2.0)
    found = compare_protocols([*few, whole], "spcl", ("classification@10%", "classification"), replicates=100)
    row = headline(found)
    values = [auroc(one.test_rows(), one.labels) for one in few]
    assert (found.a, found.b) == ("classification@0.1", "classification")
    assert row.value_a == pytest.approx(np.mean(values), abs=1e-12)
    assert row.error**2 > np.var(values, ddof=1) / 3  # patients are in it, too
    text = comparison_to_markdown(found)
    assert text.startswith("# Is `classification@0.1` better than `classification` for `spcl`?")
    assert "| vindr " in text
    of_json = json.loads(comparison_to_json(found))
    assert (of_json["encoder"], of_json["rows"][0]["fraction"]) == ("spcl", None)


def test_a_board_of_protocols_in_every_form(under):
    protocols = ("classification", "knn", "classification@0.1")
    strengths = {"classification": 0.3, "knn": 2.0}
    cells = [under(p, dataset=d, strength=s) for d in ("vindr", "siim") for p, s in strengths.items()]
    cells += [under("classification", fraction=0.1, strength=0.2), under("knn", encoder="random")]
    board = board_of_protocols(cells, "spcl", protocols, metrics=("auroc",), replicates=100)
    text = to_markdown(board)
    assert text.startswith("# Protocols of `spcl`")
    assert "| Protocol" in text
    assert "better than the baseline `classification`" in text
    assert "alike for all protocols" in text
    rows = list(csv.DictReader(io.StringIO(to_csv(as_saved(board, protocols)))))
    heads = {(r["protocol"], r["dataset"], r["fraction"]): r for r in rows if r["label"] == "macro"}
    assert {r["encoder"] for r in rows} == {"spcl"}
    assert {*heads} == {("classification", "siim", "1"), ("knn", "siim", "1"), ("classification", "vindr", "1"),
                        ("knn", "vindr", "1"), ("classification", "vindr", "0.1")}  # fmt: skip
    of = {one.cell["protocol"]: auroc(one.test_rows(), one.labels) for one in cells[:2]}
    gain = heads["knn", "vindr", "1"]
    assert float(gain["gain"]) == pytest.approx(of["knn"] - of["classification"], abs=1e-6)
    assert gain["baseline"] == "classification"
    whole = json.loads(to_json(as_saved(board, protocols)))
    assert (whole["encoder"], whole["overall"][0]["encoder"]) == ("spcl", "spcl")
    assert {one["protocol"] for one in whole["overall"]} == {"classification", "knn"}


def test_without_a_fraction_each_is_paired_at_its_own(under):
    cells = [under(p, fraction=f, strength=s) for f in (0.1, 1.0) for p, s in ((ONE, 0.5), (TWO, 2.0))]
    found = compare_protocols(cells, "spcl", (TWO, ONE), replicates=100)
    assert [row.fraction for row in found.rows if row.label == "macro"] == [0.1, 1.0]
    assert "vindr @ 10%" in comparison_to_markdown(found)


def test_a_protocol_that_the_encoder_cannot_be_asked_is_said(under):
    there = [under("classification"), under("knn")]
    cell = {"encoder": "spcl", "dataset": "vindr", "protocol": "zero-shot", "fraction": 1.0, "seed": 0}
    board = board_of_protocols(
        there, "spcl", ("classification", "knn", "zero-shot"), replicates=100,
        not_applicable=[NotApplicable(cell, "it has no text tower", False)],
    )  # fmt: skip
    assert "n/a for zero-shot: it has no text tower" in to_markdown(board)


@pytest.mark.parametrize(
    ("protocols", "message"),
    [
        ((ONE,), "--protocols: name two or more"),
        ((ONE, ONE), f"--protocols: {ONE} is named twice"),
        ((ONE, "clasification"), f"spcl has no results of protocol 'clasification': it has {ONE}, {TWO}"),
        ((ONE, f"{TWO}@0.5"), f"spcl has no results of protocol '{TWO}@0.5'"),
        ((ONE, f"{TWO}@2"), f"--protocols {TWO}@2: what follows the @ is a label fraction, e.g. {TWO}@0.1"),
        ((ONE, TWO, "knn"), "--protocols names 3: compare takes two"),
    ],
)
def test_wrong_protocols_are_one_clear_line(cells, protocols, message):
    with pytest.raises(UserError, match=re.escape(message)) as refusal:
        compare_protocols(cells, "spcl", protocols)
    assert "\n" not in str(refusal.value)


def test_other_wrong_names_are_one_clear_line(cells):
    for words, message in (
        ({"encoder": "scpl"}, "unknown encoder 'scpl': the results have spcl"),
        ({"datasets": ("rsna",)}, "no results for task 'rsna'"),
        ({"datasets": ("vindr:knn",)}, "--tasks vindr:knn: with --protocols name the data set alone, vindr"),
        ({"metrics": ("auc",)}, "unknown metric 'auc'"),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            compare_protocols(cells, **{"encoder": "spcl", "protocols": (ONE, TWO), **words})
    with pytest.raises(UserError, match=re.escape(f"--baseline knn: name one of --protocols {ONE},{TWO}")):
        board_of_protocols(cells, "spcl", (ONE, TWO), baseline="knn")


def test_what_cannot_be_paired_is_refused(cells, under):
    first, second = cells
    of_studies = replace(second, cell={**second.cell, "unit": "study"})
    other_state = [replace(c, cell={**c.cell, "parts": {"dataset": str(i)}}) for i, c in enumerate(cells)]
    elsewhere = replace(second, rows=second.rows.assign(image_id="x" + second.rows["image_id"]))
    relabelled = replace(second, rows=second.rows.assign(**{"target:Effusion": 1 - second.rows["target:Effusion"]}))
    masks = replace(second, kind="segmentation")
    for pair, message in (
        (
            [first, of_studies],
            f"vindr: {TWO} has a row per study and {ONE} has a row per image, so they cannot be paired",
        ),
        (other_state, f"vindr: {TWO} and {ONE} were run on different states of the data set"),
        ([first, elsewhere], f"vindr: no test image is common to {ONE}, {TWO}"),
        ([first, relabelled], f"vindr: {TWO} and {ONE} were tested on different labels"),
        ([first, masks], "they have no metric in common, so name protocols of one kind"),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            compare_protocols(pair, "spcl", (TWO, ONE), replicates=100)


def test_what_was_evaluated_is_kept_and_the_rest_is_told(cells, tmp_path, monkeypatch):
    def ask(ask_of, **how):
        return ask_of(cells, "spcl", (TWO, ONE), replicates=100, **how)

    monkeypatch.setattr("cxrbench.leaderboard.statistics.kept.LEAST", 0)
    told = []
    kept: list[Any] = [ask(of, kept=Evaluations(tmp_path), advance=lambda *of: told.append(of))
                       for of in (board_of_protocols, compare_protocols)]  # fmt: skip
    assert [done for done, total in told if done == total] == [200, 200]
    monkeypatch.setattr(evaluate, "replicate_cells", None)
    assert [to_json(kept[0]), comparison_to_json(kept[1])] == [
        to_json(ask(board_of_protocols, kept=Evaluations(tmp_path))),
        comparison_to_json(ask(compare_protocols, kept=Evaluations(tmp_path))),
    ]
