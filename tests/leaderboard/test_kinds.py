"""Boards of segmentation, detection and retrieval beside classification."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from cxrbench.errors import UserError
from cxrbench.leaderboard.comparison.compare import compare
from cxrbench.leaderboard.comparison.tables import comparison_to_markdown
from cxrbench.leaderboard.markdown import to_markdown
from cxrbench.leaderboard.render import to_csv, to_json
from cxrbench.leaderboard.statistics.bootstrap import resample_counts
from cxrbench.leaderboard.tables import build
from cxrbench.predictions import NotApplicable

FAST: dict[str, Any] = {"replicates": 300}


def of_kind(made_up, encoder, kind, protocol, labels, columns, dataset="siim", seed=0):
    """Made-up predictions of another kind; ``columns(numbers of the images, random numbers)`` gives its columns."""
    one = made_up(encoder, dataset, seed=seed)
    rows = one.rows[["image_id", "patient_id", "split"]].copy()
    rng = np.random.default_rng([sum(map(ord, encoder)), seed])
    extra = pd.DataFrame(columns(rows["image_id"].str[1:].astype(int).to_numpy(), rng), index=rows.index)
    return replace(
        one, rows=pd.concat([rows, extra], axis=1), labels=labels, kind=kind, groups={"macro": labels},
        cell={**one.cell, "protocol": protocol},
    )  # fmt: skip


def segmentation(made_up, encoder, skill=0.5, **other):
    def columns(image, rng):
        true = np.where(image % 3 == 0, 100.0 + image, 0.0)
        predicted = np.where(rng.random(len(image)) < 0.7, 120.0, 0.0)
        found = np.floor(np.minimum(true, predicted) * rng.random(len(image)) ** (1 / skill))
        name = "pneumothorax"
        return {
            f"target:{name}": true,
            f"predicted:{name}": predicted,
            f"intersection:{name}": found,
            f"rle:{name}": "",
        }

    return of_kind(made_up, encoder, "segmentation", "segmentation", ("pneumothorax",), columns, **other)


def retrieval(made_up, encoder, skill=0.5, metrics=("recall@1",), protocol="text-retrieval", **other):
    labels = ("image_to_text", "text_to_image")

    def columns(image, rng):
        made = {}
        for label in labels:
            made[f"target:{label}"] = (image % 4).astype(float)
            made[f"rank:{label}"] = np.ceil(rng.exponential(20, len(image)))
            made |= {f"value:{m}:{label}": (rng.random(len(image)) < skill).astype(float) for m in metrics}
        return made

    return of_kind(made_up, encoder, "retrieval", protocol, labels, columns, **other)


def detection(made_up, encoder, skill=0.5, **other):
    def columns(image, rng):
        hit = rng.random(len(image)) < skill
        return {
            "target:Opacity": (image % 2).astype(float),
            "scores": [np.array([s]) for s in rng.random(len(image))],
            "classes": [np.array([0])] * len(image),
            "matches": [np.array([4095 * (h and i % 2)], np.int32) for h, i in zip(hit, image, strict=True)],
        }

    return of_kind(made_up, encoder, "detection", "detection", ("Opacity",), columns, **other)


def not_applicable(encoder, protocol="segmentation", dataset="siim", reason="it gives no maps"):
    cell = {"encoder": encoder, "dataset": dataset, "protocol": protocol, "fraction": 1.0, "seed": 0}
    return NotApplicable(cell, reason, synthetic=False)


def record(board, encoder, metric, label="macro", **other):
    found = [r for r in board.records if (r.encoder, r.metric, r.label) == (encoder, metric, label)]
    (one,) = [r for r in found if all(getattr(r, k) == v for k, v in other.items())]
    return one


def dice(one):
    rows = one.test_rows()
    intersection, predicted, true = (
        rows[f"{name}:pneumothorax"].to_numpy() for name in ("intersection", "predicted", "target")
    )
    empty = predicted + true == 0
    return np.where(empty, 1.0, 2 * intersection / np.where(empty, 1, predicted + true))


def test_segmentation_values_intervals_and_tests_are_the_bootstrap_of_per_image_dice(made_up):
    cells = [segmentation(made_up, "spcl", 2.0), segmentation(made_up, "random", 0.3)]
    board = build(cells, **FAST)
    one = record(board, "spcl", "dice")
    assert one.value == pytest.approx(dice(cells[0]).mean())
    assert (one.n, one.patients) == (160, 80)
    assert record(board, "spcl", "dice", "pneumothorax").positives == 54
    rows = cells[0].test_rows()
    key = hashlib.sha256("\n".join(("siim", *rows["image_id"])).encode()).hexdigest()
    counts = np.concatenate(list(resample_counts(rows["patient_id"].to_numpy(), key, 0, 300)), axis=1)
    gains = ((dice(cells[0]) - dice(cells[1])) @ counts) / counts.sum(0)
    with_pixels = rows.loc[rows["target:pneumothorax"] > 0, "patient_id"].nunique()
    width = t.ppf(0.95, with_pixels - 1) * gains.std(ddof=1)
    assert (one.gain_lower, one.gain_upper) == pytest.approx((one.gain - width, one.gain + width))
    assert one.p == pytest.approx(t.sf(one.gain / gains.std(ddof=1), with_pixels - 1))
    assert one.p_percentile == pytest.approx((1 + (gains <= 0).sum()) / 301)
    positives = cells[0].test_rows()["target:pneumothorax"] > 0
    assert record(board, "spcl", "dice_positives").value == pytest.approx(dice(cells[0])[positives].mean())


def test_retrieval_means_over_queries_that_have_an_answer(made_up):
    one = retrieval(made_up, "spcl", metrics=("recall@1", "recall@5"))
    board = build([one], **FAST)
    rows = one.test_rows()
    expected = []
    for label in one.labels:
        answered = rows[rows[f"target:{label}"] > 0]
        expected.append(answered[f"value:recall@5:{label}"].mean())
        assert record(board, "spcl", "recall@5", label).value == pytest.approx(expected[-1])
        assert record(board, "spcl", "recall@5", label).positives == len(answered)
        assert record(board, "spcl", "median_rank", label).value == np.median(answered[f"rank:{label}"])
    assert record(board, "spcl", "recall@5").value == pytest.approx(np.mean(expected))
    assert {r.metric for r in board.records} == {"recall@1", "recall@5", "median_rank"}  # not map@r: it has no column


def test_every_family_and_protocol_has_a_headline_table_under_its_own_name(made_up):
    cells = [
        make(made_up, encoder, skill)
        for encoder, skill in (("spcl", 0.9), ("random", 0.2))
        for make in (segmentation, detection, retrieval)
    ]
    cells += [made_up("spcl"), made_up("random"), replace_protocol(made_up("spcl"), "zero-shot")]
    cells += [retrieval(made_up, "spcl", metrics=("map@r",), protocol="retrieval")]
    text = to_markdown(build(cells, **FAST))
    titles = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]
    assert titles == [
        "Classification: AUROC, mean over labels",
        "Classification (zero-shot): AUROC, mean over labels",
        "Segmentation: Dice",
        "Detection: mAP .40-.75",
        "Retrieval: mAP@R, mean over directions",
        "Retrieval (text-retrieval): Recall@1, mean over directions",
        "Classification: other metrics, mean over labels",
        "Classification (zero-shot): other metrics, mean over labels",
        "Segmentation: other metrics",
        "Detection: other metrics",
        "Retrieval: other metrics, mean over directions",
        "Retrieval (text-retrieval): other metrics, mean over directions",
        "Notes",
    ]
    segmented = text.split("### Segmentation: Dice\n")[1].split("###")[0]
    assert [line.split("|")[1].strip() for line in segmented.splitlines() if "| `" in line] == ["`spcl`", "`random`"]
    assert "| *test images (patients)*" in segmented
    assert "| *test queries (patients)*" in text.split("### Retrieval: mAP@R")[1]
    assert "Median rank ↓" in text


def replace_protocol(one, protocol):
    return replace(one, cell={**one.cell, "protocol": protocol})


def test_holm_covers_one_metric_of_one_protocol(made_up):
    several = [(made_up, d) for d in ("vindr", "siim")]
    cells = [make(e, d, strength=s) for make, d in several for e, s in (("spcl", 2.5), ("random", 0.2))]
    cells += [replace_protocol(one, "zero-shot") for one in cells[:2]]
    cells += [segmentation(made_up, "spcl", 5.0), segmentation(made_up, "random", 0.1)]
    board = build(cells, **FAST)
    for protocol, metric, tests in (
        ("classification", "auroc", 2),
        ("zero-shot", "auroc", 1),
        ("segmentation", "dice", 1),
    ):
        for one in (r for r in board.records if (r.protocol, r.metric, r.label) == (protocol, metric, "macro")):
            if one.encoder == "spcl":
                assert one.p < 0.01
                assert one.p_holm == pytest.approx(tests * one.p)
    assert "Tests made: 2 of cells and 1 of means, 1, 1 (tables from the top)" in to_markdown(board)


def test_an_encoder_that_cannot_be_asked_has_n_a_no_mean_and_a_note(made_up):
    cells = [segmentation(made_up, e, dataset=d) for e in ("spcl", "random") for d in ("siim", "rsna")]
    cells += [segmentation(made_up, "pixels", dataset="rsna")]
    # spcl has a result: the older reason does not count
    cells_without = [not_applicable("pixels"), not_applicable("spcl")]
    cells_without += [not_applicable(e, "text-retrieval", reason="it has no text tower") for e in ("pixels", "spcl")]
    board = build(cells, **FAST, not_applicable=cells_without)
    text = to_markdown(board)
    table = text.split("### Segmentation: Dice\n")[1].split("###")[0]
    cells_of = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in table.splitlines() if "| `" in line}
    assert [cell.strip() for cell in cells_of["`pixels`"]][1:] == ["n/a", "–"]
    assert not any("n/a" in cell for cell in cells_of["`spcl`"])
    assert "- siim:segmentation: n/a for pixels: it gives no maps." in text
    assert "- siim:text-retrieval: n/a for pixels, spcl: it has no text tower." in text
    whole = json.loads(to_json(board))
    siim = next(task for task in whole["tasks"] if task["dataset"] == "siim")
    assert (siim["kind"], siim["headline"], siim["not_applicable"]) == (
        "segmentation", "dice", {"pixels": "it gives no maps"},
    )  # fmt: skip
    assert whole["nowhere_applicable"][0]["not_applicable"] == dict.fromkeys(("pixels", "spcl"), "it has no text tower")


def test_named_metrics_are_taken_where_a_task_has_them(made_up):
    cells = [made_up("spcl"), segmentation(made_up, "spcl"), retrieval(made_up, "spcl")]
    board = build(cells, **FAST, metrics=("iou", "f1", "auroc"))
    assert [(c.kind, c.metrics) for c in board.columns] == [("segmentation", ("iou",)), ("multilabel", ("f1", "auroc"))]
    assert "### Classification: F1, mean over labels" in to_markdown(board)
    with pytest.raises(UserError, match=r"unknown metric 'map': choose from auroc.*dice.*recall@1"):
        build(cells, **FAST, metrics=("map",))


@pytest.mark.parametrize("make", [segmentation, detection, retrieval])
def test_the_truth_of_all_encoders_must_agree(made_up, make):
    one, other = make(made_up, "spcl"), make(made_up, "random")
    rows = other.rows.copy()
    rows.loc[rows["split"] == "test", f"target:{other.labels[0]}"] += 1
    with pytest.raises(UserError, match="tested on different labels"):
        build([one, replace(other, rows=rows)], **FAST)


def test_nothing_to_find_is_said(made_up):
    one = segmentation(made_up, "spcl")
    board = build(
        [replace(one, rows=one.rows.assign(**{"target:pneumothorax": 0.0, "intersection:pneumothorax": 0.0}))]
    )
    assert np.isfinite(record(board, "spcl", "dice").value)
    assert np.isnan(record(board, "spcl", "dice_positives").value)
    assert "nothing to find in any of the test images, so left out of every mean: pneumothorax" in to_markdown(board)


def test_seeds_of_any_kind_are_averaged(made_up):
    cells = [segmentation(made_up, "spcl", seed=s) for s in range(3)]
    one = record(build(cells, **FAST), "spcl", "dice")
    assert one.seeds == 3
    assert one.value == pytest.approx(np.mean([dice(c).mean() for c in cells]))
    assert one.se_seeds == pytest.approx(np.std([dice(c).mean() for c in cells], ddof=1) / np.sqrt(3))


def test_any_order_gives_the_same_bytes(made_up):
    cells = [make(made_up, e) for e in ("spcl", "random") for make in (segmentation, retrieval, detection)]
    cells_without = [not_applicable("pixels"), not_applicable("pixels", "zero-shot")]
    first = build(cells, **FAST, not_applicable=cells_without)
    second = build(cells[::-1], **FAST, not_applicable=cells_without[::-1])
    for render in (to_markdown, to_csv, to_json):
        assert render(first) == render(second)


def test_compare_takes_each_tasks_headline_or_the_named_metrics(made_up):
    cells = [
        cell
        for e, skill in (("spcl", 2.0), ("random", 0.3))
        for cell in (made_up(e), segmentation(made_up, e, skill), retrieval(made_up, e, skill))
    ]
    rows = compare(cells, "spcl", "random", **FAST).rows
    assert {(r.protocol, r.metric) for r in rows} == {
        ("classification", "auroc"), ("segmentation", "dice"), ("text-retrieval", "recall@1"),
    }  # fmt: skip
    assert all(np.isnan(r.p_delong) for r in rows if r.protocol != "classification")
    text = comparison_to_markdown(compare(cells, "spcl", "random", **FAST, metrics=("dice", "iou")))
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Dice", "## IoU"]
    board = build(cells, **FAST)
    dice_row = next(r for r in rows if (r.metric, r.label) == ("dice", "macro"))
    assert (dice_row.difference, dice_row.p) == (record(board, "spcl", "dice").gain, record(board, "spcl", "dice").p)
    with pytest.raises(UserError, match="has the metric map@r"):
        compare(cells, "spcl", "random", **FAST, metrics=("map@r",))


def test_under_cross_validation_the_mark_does_not_promise_held_out_patients(made_up):
    one = replace_protocol(made_up("spcl", pretrained_on=("vindr",)), "classification+folds5")
    one = replace(one, rows=one.rows.assign(fold=np.arange(len(one.rows)) % 5))
    text = to_markdown(build([one], **FAST))
    assert "† spcl: pretrained on images of vindr; cross-validation tests on every image" in text


def test_a_note_is_told_once_for_all_tasks_of_a_dataset(made_up):
    def noted(one, *notes):
        return replace(one, notes=notes)

    cells = [noted(made_up("spcl", "siim"), "old images"), noted(segmentation(made_up, "spcl"), "old images", "short")]
    cells += [noted(detection(made_up, "spcl"), "old images", "short"), noted(made_up("spcl", "rsna"), "old images")]
    notes = to_markdown(build(cells, **FAST)).split("### Notes\n")[1]
    assert "- siim: old images." in notes
    assert "- rsna:classification: old images." in notes
    assert "- siim:detection, siim:segmentation: short." in notes
    assert notes.count("old images") == 2


def test_variants_of_a_protocol_have_tables_of_their_own(made_up):
    cells = [segmentation(made_up, "spcl"), replace_protocol(segmentation(made_up, "spcl"), "segmentation+unet+folds3")]
    text = to_markdown(build(cells, **FAST))
    assert text.index("### Segmentation: Dice\n") < text.index("### Segmentation (unet+folds3): Dice\n")
