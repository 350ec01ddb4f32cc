import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from cxrbench.errors import UserError
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.markdown import to_markdown
from cxrbench.leaderboard.render import to_csv, to_json
from cxrbench.leaderboard.statistics.alignment import align, by_task
from cxrbench.leaderboard.statistics.evaluate import evaluate
from cxrbench.leaderboard.tables import build
from cxrbench.metrics.kinds import KINDS
from cxrbench.predictions import Predictions

FAST = {"replicates": 300, "metrics": ("auroc",)}


def record(board, encoder, label="macro", metric="auroc", **other):
    found = [r for r in board.records if (r.encoder, r.label, r.metric) == (encoder, label, metric)]
    (one,) = [r for r in found if all(getattr(r, k) == v for k, v in other.items())]
    return one


def changed(predictions, change):
    """The same predictions with their rows changed in place."""
    rows = predictions.rows.copy()
    change(rows)
    return replace(predictions, rows=rows)


def section(markdown, title):
    return markdown.split(title, 1)[1].split("\n## ", 1)[0]


def test_values_are_scikit_learns_and_the_macro_value_is_their_mean(made_up):
    one = made_up("spcl")
    board = build([one], **FAST)
    rows = one.test_rows()
    expected = [roc_auc_score(rows[f"target:{label}"], rows[f"score:{label}"]) for label in one.labels]
    assert [record(board, "spcl", label).value for label in one.labels] == pytest.approx(expected, abs=1e-12)
    macro = record(board, "spcl")
    assert macro.value == pytest.approx(np.mean(expected), abs=1e-12)
    assert macro.lower < macro.value < macro.upper
    assert (macro.n, macro.patients, macro.positives) == (160, 80, None)
    assert record(board, "spcl", "Effusion").positives == rows["target:Effusion"].sum()


def test_exclusive_classes(made_up):
    one = made_up("spcl", kind="multiclass", labels=("normal", "bacteria", "virus"))
    board = build([one], replicates=50, metrics=("accuracy", "f1"))
    rows = one.test_rows()
    truth, choice = one.targets(rows).argmax(1), one.scores(rows).argmax(1)
    assert record(board, "spcl", metric="accuracy").value == pytest.approx(accuracy_score(truth, choice))
    assert record(board, "spcl", metric="f1").value == pytest.approx(f1_score(truth, choice, average="macro"))
    virus = record(board, "spcl", "virus", "accuracy").value
    assert virus == pytest.approx(accuracy_score(truth == 2, choice == 2))


def test_other_groups_have_rows_of_their_own(made_up):
    board = build([made_up("spcl", groups={"nodules": ("Nodule/Mass",)})], **FAST)
    assert record(board, "spcl", "nodules").value == record(board, "spcl", "Nodule/Mass").value


def test_a_better_encoder_is_marked_against_the_baseline_and_does_not_share_its_letter(made_up):
    board = build(
        [made_up("spcl", strength=2.5), made_up("random", strength=0.3), made_up("twin", strength=2.5)], **FAST
    )
    assert board.baseline == "random"
    best, base, twin = (record(board, name) for name in ("spcl", "random", "twin"))
    assert best.p < 1e-6
    assert best.p_holm == pytest.approx(2 * min(best.p, twin.p), rel=1e-9) or best.p_holm == max(best.p, 2 * twin.p)
    assert best.p_percentile == pytest.approx(1 / 301)
    assert best.gain == pytest.approx(best.value - base.value)
    assert best.gain_lower > 0
    assert np.isnan(base.p)
    assert (best.tie_group, twin.tie_group, base.tie_group) == ("a", "a", "b")
    text = to_markdown(board)
    order = sorted([best, twin], key=lambda r: -r.value)
    assert f"| **{order[0].value:.3f}** [" in text
    assert f"| <u>{order[1].value:.3f}</u> [" in text
    row = next(line for line in text.splitlines() if line.startswith("| `spcl`"))
    assert "\\* a" in row


def test_for_an_error_less_is_better(made_up):
    board = build([made_up("spcl", strength=2.5), made_up("random", strength=0.3)], replicates=300, metrics=("brier",))
    best, base = record(board, "spcl", metric="brier"), record(board, "random", metric="brier")
    assert best.value < base.value
    assert best.gain == pytest.approx(base.value - best.value)
    assert best.p < 0.001
    assert f"**{best.value:.3f}**" in to_markdown(board)


def test_one_class_only_is_nan_with_a_note_and_left_out_of_every_mean(made_up):
    def no_effusion(rows):
        rows["target:Effusion"] = 0.0

    board = build([changed(made_up(name), no_effusion) for name in ("spcl", "random")], **FAST)
    effusion = record(board, "spcl", "Effusion")
    assert np.isnan([effusion.value, effusion.lower, effusion.p]).all()
    assert "Effusion: 0 patients on the rarer side" in effusion.note
    assert record(board, "spcl").value == record(board, "spcl", "Nodule/Mass").value
    assert "one class only among the test images, so left out of every mean: Effusion (0 of 160" in to_markdown(board)


def test_a_label_that_one_encoder_could_not_be_trained_on_leaves_the_mean_of_all(made_up):
    def untrained(rows):
        rows["score:Effusion"] = np.nan

    board = build([changed(made_up("spcl"), untrained), made_up("random")], **FAST)
    assert np.isnan(record(board, "spcl", "Effusion").value)
    assert record(board, "random", "Effusion").value > 0
    assert record(board, "random").value == record(board, "random", "Nodule/Mass").value
    assert "not all have scores of it" in to_markdown(board)


def test_too_few_positives_give_no_interval_and_a_note_that_says_so(made_up):
    def two_positives(rows):
        rows["target:Effusion"] = (rows["image_id"].isin(["i0000", "i0001"])).astype(float)

    board = build([changed(made_up(name), two_positives) for name in ("spcl", "random")], **FAST)
    one = record(board, "spcl", "Effusion")
    assert one.value > 0
    assert np.isnan([one.lower, one.p]).all()
    assert one.note == "no interval: Effusion has 1 patients on its rarer side"
    text = to_markdown(board)
    assert "so not tested and left out of every mean: Effusion (1 patients)" in text
    assert record(board, "spcl").value == record(board, "spcl", "Nodule/Mass").value
    assert record(board, "spcl").p > 0


def test_a_column_that_cannot_be_tested_has_values_and_dashes_for_letters(made_up):
    def nine_patients(rows):
        for label in ("Nodule/Mass", "Effusion"):
            rows[f"target:{label}"] = (rows["image_id"] < "i0018").astype(float)

    board = build([changed(made_up(name), nine_patients) for name in ("spcl", "random")], **FAST)
    one = record(board, "spcl")
    assert one.lower < one.value < one.upper
    assert np.isnan([one.p, one.gain, board.columns[0].detectable["auroc"]]).all()
    assert one.tie_group == ""
    text = to_markdown(board)
    assert f"{one.value:.3f}** [{one.lower:.3f}, {one.upper:.3f}] –" in text.replace("<u>", "**").replace("</u>", "**")
    assert "so not tested: Nodule/Mass (9 patients), Effusion (9 patients)" in text


def test_missing_targets_are_not_counted(made_up):
    def half_unknown(rows):
        rows.loc[rows["image_id"] < "i0080", "target:Effusion"] = np.nan

    one = changed(made_up("spcl"), half_unknown)
    board = build([one], **FAST)
    rows = one.test_rows().iloc[80:]
    assert record(board, "spcl", "Effusion").n == 80
    expected = roc_auc_score(rows["target:Effusion"], rows["score:Effusion"])
    assert record(board, "spcl", "Effusion").value == pytest.approx(expected)


def test_encoders_are_compared_on_the_images_that_all_have(made_up):
    one = made_up("spcl")
    fewer = replace(one, rows=one.rows[one.rows["image_id"] >= "i0010"])
    board = build([fewer, made_up("random")], **FAST)
    assert {r.n for r in board.records} == {150}
    assert "the 150 test images that all have (spcl lacks 10 of 160)" in to_markdown(board)


def test_what_a_reader_must_be_told_is_told_once(made_up):
    facts = {"name": "vindr", "dropped": 3, "notes": ["labels fused by majority"]}
    cells = [replace(made_up(e, images_per_patient=1), dataset=facts, notes=("probe: at its limit",)) for e in "ab"]
    cells = [changed(cell, lambda rows: rows.__setitem__("patient_id", "")) for cell in cells]
    text = to_markdown(build(cells, **FAST))
    for fact in ("3 unreadable images", "fused by majority", "probe: at its limit", "no patient identifiers"):
        assert text.count(fact) == 1


def test_adding_an_encoder_does_not_change_the_others(made_up):
    alone, both = build([made_up("spcl")], **FAST), build([made_up("spcl"), made_up("other")], **FAST)
    assert record(alone, "spcl").lower == record(both, "spcl").lower


def test_synthetic_and_real_results_never_share_a_table(made_up):
    cells = [made_up(e, d, synthetic=s) for e in ("spcl", "random") for d, s in (("vindr", False), ("siim", True))]
    text = to_markdown(build(cells, **FAST))
    real, synthetic = section(text, "## Results\n"), section(text, "## Results on synthetic data")
    assert "vindr" in real
    assert "siim" not in real
    assert "SYNTHETIC" not in real
    assert "siim" in synthetic
    assert "vindr" not in synthetic
    assert "SYNTHETIC DATA" in synthetic


def test_a_row_with_missing_cells_has_no_mean(made_up):
    cells = [made_up(e, d) for e in ("spcl", "random") for d in ("vindr", "siim")] + [made_up("pixels", "vindr")]
    text = to_markdown(build(cells, **FAST))
    cells_of = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
        for line in text.splitlines()
        if "| `" in line
    }
    assert cells_of["`pixels`"][0] == "–"
    assert cells_of["`pixels`"][-1] == "–"
    assert "–" not in cells_of["`spcl`"]


def test_what_was_assumed_of_an_encoder_is_in_every_form_of_the_board(made_up):
    one = made_up("spcl")
    one = replace(one, encoder={**one.encoder, "assumed": ["size 224", "mean 0.5"]})
    board = build([one, made_up("random")], **FAST)
    assert record(board, "spcl").assumed == "size 224; mean 0.5"
    assert record(board, "random").assumed == ""
    header, *lines = csv.reader(io.StringIO(to_csv(board)))
    of = {line[0]: line[header.index("assumed")] for line in lines}
    assert of == {"spcl": "size 224; mean 0.5", "random": ""}
    facts = json.loads(to_json(board))
    assert {r["encoder"]: r["assumed"] for r in facts["records"]} == of
    assert "spcl: mean 0.5" in facts["tasks"][0]["notes"]
    assert "spcl: mean 0.5" in to_markdown(board)


@pytest.mark.parametrize(("seen", "marked"), [((), False), (("rsna",), True), (("nih",), True), (("mimic",), False)])
def test_an_encoder_that_saw_the_dataset_or_its_source_is_marked(made_up, seen, marked):
    board = build([made_up("spcl", "rsna", pretrained_on=seen, lineage=("nih",)), made_up("random", "rsna")], **FAST)
    assert record(board, "spcl").contaminated is marked
    assert not record(board, "random").contaminated
    assert ("† spcl: pretrained on" in to_markdown(board)) is marked


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (("siim",), "pretrained on images that the probe is trained on: siim"),
        (("nih",), "pretrained on images that the probe is trained on: nih, where images of siim come from"),
        (("vindr",), "pretrained on images of vindr, the source of the test images"),
        (("mimic",), ""),
    ],
)
def test_the_mark_knows_what_was_tested_on_and_what_the_probe_was_trained_on(made_up, seen, said):
    one = made_up("spcl", pretrained_on=seen)
    sources = [{"name": "siim", "lineage": ["siim", "nih"]}, {"name": "vindr", "lineage": ["vindr"]}]
    one = replace(one, dataset={**one.dataset, "training": sources})
    board = build([one, made_up("random")], **FAST)
    assert record(board, "spcl").contaminated is bool(said)
    text = to_markdown(board)
    assert f"† spcl: {said}" in text if said else "† spcl" not in text
    assert text.count("that the probe is trained on") == ("probe" in said)


def test_variances_of_several_seeds_and_of_patients_stand_apart(made_up):
    one, cells = made_up("spcl"), [made_up("spcl", seed=s) for s in range(4)]
    board = build(cells, **FAST)
    macro = record(board, "spcl")
    values = [record(build([c], **FAST), "spcl").value for c in cells]
    assert macro.value == pytest.approx(np.mean(values))
    assert macro.se_seeds == pytest.approx(np.std(values, ddof=1) / 2)
    assert macro.seeds == 4
    assert np.isnan(record(build([one], **FAST), "spcl").se_seeds)
    assert "from 4 training seeds" in to_markdown(board)


def test_replicates_vary_with_patients_and_with_seeds(made_up):
    ((task, cells),) = by_task([made_up("spcl", seed=s) for s in range(4)]).items()
    one = evaluate(align(task, cells), KINDS["multilabel"].measures["auroc"], 1_000, 0).estimates["spcl"]["macro"]
    parts = one.components()
    assert one.points.shape == (4,)
    assert one.replicates.shape == (4, 1_000)
    assert parts.patients == pytest.approx(one.replicates.mean(0).var(ddof=1))
    assert parts.between == pytest.approx(one.points.var(ddof=1) / 4)
    assert 0 < parts.shared < one.replicates.var(axis=1, ddof=1).mean() / 4


def test_label_fractions_have_tables_of_their_own(made_up):
    text = to_markdown(build([made_up("spcl", fraction=f, seed=0) for f in (0.01, 1.0)], **FAST))
    assert "100% of the training labels" in text
    assert ", 1% of the training labels" in text


def test_the_same_inputs_give_the_same_bytes_in_any_order(made_up):
    cells = [made_up(e, d) for e in ("spcl", "random", "pixels") for d in ("vindr", "siim")]
    first, second = build(cells, **FAST), build(cells[::-1], **FAST)
    for render in (to_markdown, to_csv, to_json):
        assert render(first) == render(second)


def test_csv_and_json(made_up):
    board = build([made_up("spcl"), made_up("random")], **FAST, efficiency={"spcl": {"parameters": 5_400_000}})
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    first = "encoder,dataset,protocol,fraction,metric,label,value,lower,upper,n,p"
    assert to_csv(board).startswith(first + ",")
    assert len(rows) == 2 * 3
    macro = next(r for r in rows if (r["encoder"], r["label"]) == ("spcl", "macro"))
    assert float(macro["value"]) == pytest.approx(record(board, "spcl").value, abs=1e-6)
    assert next(r for r in rows if r["encoder"] == "random")["p"] == ""
    whole = json.loads(to_json(board))
    assert whole["efficiency"] == {"spcl": {"parameters": 5_400_000}}
    assert whole["records"][0]["p"] is None
    assert whole["tasks"][0]["smallest_detectable_difference"]["auroc"] > 0
    assert "5,400,000" in to_markdown(board)


def test_heads_on_maps_stand_with_their_parameters_and_features(made_up):
    """RadJEPA's columns "# Features" and "# Params" of its table of decoders."""
    heads = {"spcl": [768] * 4, "random": [768]}
    cells = [
        replace(one, cell={**one.cell, "head": {"name": "upernet-wide", "parameters": 39_344_385, "features": widths}})
        for name, widths in heads.items()
        for one in [made_up(name)]
    ]
    board = build(cells, **FAST)
    assert [(head.encoder, head.features) for head in board.heads] == [("random", "768"), ("spcl", "4 x 768")]
    text = to_markdown(board)
    assert "## Heads on maps" in text
    assert "39,344,385" in text
    assert json.loads(to_json(board))["heads"][1]["parameters"] == 39_344_385
    assert "Heads" not in to_markdown(build([made_up("spcl")], **FAST))


def test_a_mistake_is_one_clear_line(made_up, tmp_path):
    cells = [made_up("spcl"), made_up("random")]
    with pytest.raises(UserError, match="unknown baseline 'imagnet': the results have random, spcl"):
        build(cells, baseline="imagnet")
    with pytest.raises(UserError, match="unknown metric 'auc'"):
        build(cells, metrics=("auc",))
    with pytest.raises(UserError, match="no results yet"):
        build([])
    with pytest.raises(UserError, match="two results of spcl with seed 0"):
        build([made_up("spcl"), made_up("spcl")], **FAST)
    for name in ("old.parquet", "new.parquet"):
        made_up("spcl").save(tmp_path / name)
    with pytest.raises(UserError, match=r"two results of spcl with seed 0: \S+old.parquet and \S+new.parquet; delete"):
        build([Predictions.load(tmp_path / name) for name in ("old.parquet", "new.parquet")], **FAST)

    def flip(rows):
        rows["target:Effusion"] = 1 - rows["target:Effusion"]

    with pytest.raises(UserError, match="tested on different labels"):
        build([made_up("spcl"), changed(made_up("random"), flip)], **FAST)


def test_without_a_baseline_nothing_is_tested_against_one(made_up):
    board = build([made_up("spcl"), made_up("imagenet")], **FAST)
    assert all(np.isnan(r.p) for r in board.records)
    assert "No baseline was declared" in to_markdown(board)


def test_counts_are_of_images_and_patients_that_were_scored(made_up):
    def unknown(rows):
        rows.loc[rows["patient_id"].isin(["p0000", "p0001"]), ["target:Nodule/Mass", "target:Effusion"]] = np.nan
        rows.loc[rows["patient_id"] == "p0002", "target:Effusion"] = np.nan

    cells = [changed(made_up(name), unknown) for name in ("spcl", "random")]
    board = build(cells, **FAST)
    (column,) = board.columns
    assert (column.rows, column.patients) == (156, 78)
    effusion = record(board, "spcl", "Effusion")
    assert (effusion.n, effusion.patients) == (154, 77)


def test_a_mean_counts_the_images_of_the_labels_that_it_is_over(made_up):
    def rare_and_rarely_known(rows):
        rows["target:Effusion"] = (rows["image_id"] < "i0004").astype(float)
        rows.loc[rows["patient_id"] == "p0070", "target:Nodule/Mass"] = np.nan

    board = build([changed(made_up(name), rare_and_rarely_known) for name in ("spcl", "random")], **FAST)
    macro, nodule = record(board, "spcl"), record(board, "spcl", "Nodule/Mass")
    assert (macro.n, macro.patients, macro.rarer) == (nodule.n, nodule.patients, nodule.rarer) == (158, 79, macro.rarer)
    assert (board.columns[0].rows, board.columns[0].patients) == (158, 79)


def test_an_ece_is_never_bold_not_even_as_the_headline(made_up):
    cells = [made_up(e, d, strength=s) for d in ("vindr", "rsna") for e, s in (("spcl", 2.0), ("random", 0.3))]
    text = to_markdown(build(cells, replicates=100, metrics=("ece",)), Look(labels=("all",)))
    rows = [line for line in text.splitlines() if line.startswith(("| `", "| Effusion"))]
    assert len(rows) == 4
    for row in rows:
        assert "by chance)" in row
        assert not any(mark in row for mark in ("**", "<u>", "[", "\\*"))
    assert "By chance: what such scores would have if they were exactly right" in text
