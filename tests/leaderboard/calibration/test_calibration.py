import csv
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit, softmax
from scipy.stats import t
from sklearn.metrics import brier_score_loss, log_loss

from cxrbench.cli.main import app
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.leaderboard.calibration.recalibration import recalibrate
from cxrbench.leaderboard.calibration.report import BINNED, calibration
from cxrbench.leaderboard.calibration.tables import to_csv, to_json, to_markdown
from cxrbench.leaderboard.calibration.variants import AS_GIVEN, variants
from cxrbench.leaderboard.statistics.bootstrap import resample_counts
from cxrbench.leaderboard.tables import build
from cxrbench.metrics.calibration import CALIBRATION
from cxrbench.predictions import Predictions
from cxrbench.task import Cell

LABELS = ("Nodule", "Effusion", "Mass")
B = 150


def sharp(encoder="spcl", sharpness=3.0, kind: Any = "multilabel", n=700, seed=0, **facts) -> Predictions:
    """Predictions that are ``sharpness`` times as sure as they should be, of patients with two images each."""
    rng, of_encoder = np.random.default_rng(7), np.random.default_rng([sum(map(ord, encoder)), seed])
    logits = 1.3 * rng.standard_normal((n, 3)) - (0, 0.5, 1)
    noisy = sharpness * (logits + 0.3 * of_encoder.standard_normal((n, 3)))
    if kind == "multiclass":
        targets = np.eye(3)[[rng.choice(3, p=row) for row in softmax(logits, axis=1)]]
    else:
        targets = (rng.random((n, 3)) < expit(logits)).astype(float)
    scores = softmax(noisy, axis=1) if kind == "multiclass" else expit(noisy)
    rows = pd.DataFrame({
        "image_id": [f"i{i:04}" for i in range(n)],
        "patient_id": [f"p{i // 2}" for i in range(n)],
        "split": ["val"] * (n // 2) + ["test"] * (n - n // 2),
        **{f"score:{label}": scores[:, k] for k, label in enumerate(LABELS)},
        **{f"target:{label}": targets[:, k] for k, label in enumerate(LABELS)},
    })  # fmt: skip
    dataset = facts.pop("dataset", "vindr")
    cell = {"encoder": encoder, "dataset": dataset, "protocol": "classification", "fraction": 1.0, "seed": seed}
    synthetic = facts.pop("synthetic", False)
    groups = {"macro": LABELS, **facts.pop("groups", {})}
    return Predictions(
        rows, LABELS, kind, groups, synthetic, cell, {"pretrained_on": []}, {"name": dataset, "notes": []}
    )


def report(*cells, **how):
    return calibration(variants(cells, **how), replicates=B)


def value(of, metric, method=AS_GIVEN, label="macro", encoder="spcl"):
    (found,) = [r for r in of.records if (r.metric, r.method, r.label, r.encoder) == (metric, method, label, encoder)]
    return found


def test_values_before_and_after_are_scikit_learns():
    one = sharp()
    of = report(one)
    for method in (AS_GIVEN, "temperature", "isotonic"):
        rows = (one if method == AS_GIVEN else recalibrate(one, method)).test_rows()
        for name, reference in (("brier", brier_score_loss), ("nll", log_loss)):
            theirs = [reference(rows[f"target:{x}"], rows[f"score:{x}"]) for x in LABELS]
            for label, number in zip(LABELS, theirs, strict=True):
                assert value(of, name, method, label).value == pytest.approx(number, abs=1e-12)
            assert value(of, name, method).value == pytest.approx(np.mean(theirs), abs=1e-12)


def test_the_parts_of_the_mean_add_up_to_the_mean():
    for kind in ("multilabel", "multiclass"):
        of = report(sharp(kind=kind))
        for method in (AS_GIVEN, "temperature", "isotonic"):
            r, s, u, w, whole = (
                value(of, name, method).value
                for name in ("reliability", "resolution", "uncertainty", "within_bins", "brier")
            )
            assert r - s + u + w == pytest.approx(whole, abs=1e-12)


def test_recalibration_of_overconfident_scores_is_found_to_help_and_of_calibrated_ones_is_not():
    worse, fine = report(sharp(sharpness=4.0)), report(sharp(sharpness=0.92))
    for metric in ("brier", "nll"):
        for method in ("temperature", "isotonic"):
            r = value(worse, metric, method)
            assert r.gain_lower > 0
            assert r.p < 1e-4
            assert r.p <= r.p_holm
            assert r.gain == pytest.approx(value(worse, metric).value - r.value)
            assert value(fine, metric, method).p_holm > 0.05
    assert value(worse, "ece_mass", "temperature").value < value(worse, "ece_mass").value / 2
    assert np.isnan(value(worse, "ece_mass", "temperature").p)
    assert value(worse, "nll", "temperature", "Nodule").temperature > 2
    assert np.isnan(value(worse, "nll", "isotonic", "Nodule").temperature)


def test_intervals_are_of_the_shared_resamples_and_those_of_bins_are_turned_round():
    one = sharp()
    (task,) = variants([one])
    of = calibration([task], replicates=B, seed=5)
    rows = task.tests.rows["spcl"][0]
    counts = np.concatenate(list(resample_counts(task.tests.patients, task.tests.key, 5, B)), axis=1)
    for name, metric in CALIBRATION.items():
        scores, targets = rows["score:Mass"].to_numpy(), rows["target:Mass"].to_numpy()
        drawn, r = metric(scores, targets, counts), value(of, name, label="Mass")
        low, high = np.quantile(drawn, (0.025, 0.975))
        df = min(len(np.unique(task.tests.patients[targets == side])) for side in (0, 1)) - 1
        width = np.array([-1, 1]) * t.ppf(0.975, df) * drawn.std(ddof=1)
        if name in BINNED:
            low, high = (max(0, 2 * r.value - end) for end in (high, low))
            assert r.unbiased == pytest.approx(max(0, 2 * r.value - drawn.mean()), abs=1e-12)
        elif name == "brier":
            low, high = expit(logit(r.value) + width / (r.value * (1 - r.value)))
        else:
            low, high = r.value + width
        assert (r.lower, r.upper) == pytest.approx((low, high), abs=1e-12)


def with_few(patients):
    """``sharp`` with so many patients (of one positive test image each) with a Mass."""
    one = sharp()
    rows: Any = one.rows.copy()
    test = rows.index[rows["split"] == "test"]
    rows.loc[test, "target:Mass"] = 0.0
    rows.loc[test[: 2 * patients : 2], "target:Mass"] = 1.0
    return replace(one, rows=rows)


@pytest.mark.parametrize(("patients", "interval", "tested"), [(4, False, False), (6, True, False), (12, True, True)])
def test_few_patients_are_gated_as_on_the_leaderboard(patients, interval, tested):
    of = report(with_few(patients), methods=("temperature",))
    board = build([with_few(patients)], replicates=B)
    for name in ("brier", "nll", "ece_mass", "reliability"):
        r = value(of, name, "temperature", "Mass")
        assert np.isfinite(r.value)
        assert np.isfinite([r.lower, r.upper]).all() == interval
        assert np.isfinite(r.p) == (tested and name in ("brier", "nll"))
        assert np.isfinite(value(of, name, "temperature").lower)
        others = [value(of, name, label=x).value for x in (LABELS if tested else LABELS[:2])]
        assert value(of, name).value == pytest.approx(np.mean(others))
    assert value(of, "nll", "temperature").p < 0.05
    (notes,) = of.notes.values()
    assert any("Mass" in note for note in notes)
    assert {*notes} <= {note.removeprefix("AUROC, AUPRC, F1, Accuracy, Brier score, ECE: ").removeprefix(
        "AUROC, AUPRC, F1, Accuracy, Brier score: ") for note in board.columns[0].notes}  # fmt: skip
    (brier,) = [r for r in board.records if (r.metric, r.label) == ("brier", "macro")]
    mine = value(of, "brier")
    assert (mine.value, mine.n, mine.patients) == (pytest.approx(brier.value), brier.n, brier.patients)
    assert (mine.lower, mine.upper) == pytest.approx((brier.lower, brier.upper))


def test_an_interval_holds_the_number_that_it_stands_behind():
    of = report(sharp(sharpness=1.1), sharp(sharpness=1.1, seed=1), sharp("pixels", sharpness=3.0))
    for r in of.records:
        number = r.unbiased if r.metric in BINNED else r.value
        assert r.lower <= number <= r.upper
    r = value(of, "ece_mass")
    assert r.upper < r.value  # as of such scores: what is printed first is not what the interval is of
    assert f"{r.value:.3f} → {r.unbiased:.3f} [{r.lower:.3f}, {r.upper:.3f}]" in to_markdown(of)


def test_how_far_it_is_is_told():
    told = []
    calibration(variants([sharp()], methods=("temperature",)), replicates=B, advance=lambda *of: told.append(of))
    assert told[-1] == (2 * B, 2 * B)


def test_what_stands_under_the_table_is_what_was_done():
    text = to_markdown(calibration(variants([sharp(), sharp("pixels")]), replicates=20))
    assert "Tests made: 4 of the Brier score and 4 of the NLL" in text
    assert "Student's t" in text
    assert "With one seed they are conditional on what it trained" in text
    assert "percentiles" not in text
    assert "use more" not in text  # p has no floor that more replicates would lower


def test_percentiles_of_reliability_miss_the_truth_and_the_intervals_given_do_not():
    """Calibrated scores: true reliability is 0."""
    covered = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        one = sharp()
        p = rng.beta(1, 3, len(one.rows))
        rows = one.rows.assign(**{"score:Mass": p, "target:Mass": (rng.random(len(p)) < p).astype(float)})
        r = value(report(replace(one, rows=rows), methods=()), "reliability", label="Mass")
        assert r.value > 0.001
        covered += r.lower == 0
    assert covered >= 7


def test_log_loss_of_exclusive_classes_is_that_of_the_softmax():
    one = sharp(kind="multiclass")
    rows = one.test_rows()
    truth, scores = one.targets(rows).argmax(1), one.scores(rows)
    of = report(one)
    assert value(of, "nll").value == pytest.approx(log_loss(truth, scores), abs=1e-12)
    assert value(of, "nll", label="Mass").value == pytest.approx(log_loss(truth == 2, scores[:, 2]), abs=1e-12)
    assert value(of, "nll", "temperature").p < 1e-4


def test_groups_seeds_and_labels_that_one_encoder_lacks():
    group = {"two": ("Nodule", "Effusion")}
    cells = [sharp(seed=seed, groups=group) for seed in (0, 1)]
    other = sharp("pixels", groups=group)
    other = replace(other, rows=other.rows.assign(**{"score:Mass": np.nan}))
    of = report(*cells, other)
    each = [value(report(one), "brier", label=x).value for one in cells for x in group["two"]]
    assert value(of, "brier", label="two").value == pytest.approx(np.mean(each))
    assert value(of, "brier").value == pytest.approx(np.mean(each))  # Mass leaves the mean of both encoders.
    assert np.isnan(value(of, "brier", label="Mass", encoder="pixels").value)


def test_synthetic_and_real_share_no_table_and_synthetic_is_stamped():
    text = to_markdown(report(sharp(), sharp(dataset="rsna", synthetic=True)))
    real, _, synthetic = text.partition("## Results on synthetic data")
    assert "vindr:classification" in real
    assert "rsna:" not in real
    assert "SYNTHETIC" not in real
    assert "rsna:classification" in synthetic
    assert "vindr:" not in synthetic
    assert synthetic.strip().startswith("> **SYNTHETIC DATA.**")


def test_renderings_agree():
    of = report(sharp())
    rows = list(csv.DictReader(io.StringIO(to_csv(of))))
    whole = json.loads(to_json(of))
    assert len(rows) == len(whole["records"]) == len(CALIBRATION) * 3 * 4
    after = value(of, "nll", "temperature")
    assert f"{after.value:.3f} [{after.lower:.3f}, {after.upper:.3f}] \\*" in to_markdown(of)
    (row,) = [r for r in rows if (r["metric"], r["method"], r["label"]) == ("nll", "temperature", "macro")]
    assert float(row["value"]) == pytest.approx(after.value, abs=1e-6)


def test_labels_that_validation_cannot_recalibrate_are_named_in_the_notes():
    one = sharp()
    rows = one.rows.copy()
    rows.loc[rows["split"] == "val", "target:Mass"] = 0.0
    text = to_markdown(report(replace(one, rows=rows)))
    assert "temperature: scores left as they are, validation images do not show both classes: Mass (spcl)." in text


def test_wrong_names_and_other_kinds_are_one_line():
    with pytest.raises(UserError, match="unknown encoder 'resnet': the results have spcl"):
        variants([sharp()], encoders=["resnet"])
    with pytest.raises(UserError, match="no results for task 'nih'"):
        variants([sharp()], tasks=["nih"])
    with pytest.raises(UserError, match="only classification can be calibrated"):
        variants([replace(sharp(), kind="segmentation")])


def test_command_writes_tables_and_diagrams(tmp_path, capsys):
    store = Results(tmp_path / "results")
    for encoder in ("spcl", "imagenet"):
        one = sharp(encoder)
        facts = {k: one.cell[k] for k in ("encoder", "dataset", "protocol", "fraction", "seed")}
        store.save(Cell(**facts), one)
    arguments = ["calibration", "--results", str(store.root), "--replicates", "100", "--encoders", "spcl"]
    plots = ["--plots", str(tmp_path / "plots")]
    app([*arguments, *plots, "--method", "temperature", "-o", str(tmp_path / "a.md")], standalone_mode=False)
    names = ["vindr-classification", *(f"vindr-classification-{label}" for label in LABELS)]
    assert sorted(path.stem for path in (tmp_path / "plots").iterdir()) == sorted(names)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "plots").iterdir())
    text = (tmp_path / "a.md").read_text()
    assert "temperature" in text
    assert "isotonic |" not in text
    assert "imagenet" not in text
    with pytest.raises(UserError, match="--method is temperature, isotonic or all"):
        app([*arguments, "--method", "platt"], standalone_mode=False)
    with pytest.raises(UserError, match=r"--plots .*a.md is a file: name a folder"):
        app([*arguments, "--plots", str(tmp_path / "a.md")], standalone_mode=False)
    assert capsys.readouterr().out == ""  # told before anything is computed
