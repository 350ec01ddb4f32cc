"""Whole runs that train on one dataset and test on another: figures, names, identity, leaks, wrong input."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from cxrbench import api
from cxrbench.data.decode.preprocess import load_image
from cxrbench.encoder import Preprocess
from cxrbench.engine.elsewhere import patients
from cxrbench.predictions import Predictions
from support.clinics import write_clinic
from support.command import cxrbench as command

pytestmark = pytest.mark.usefixtures("folders")

Run = Callable[..., tuple[int, str, str]]
PREPROCESS = Preprocess(size=16, resize="squash", mean=(0.0,), std=(1.0,), channels=1)


@pytest.fixture
def near(tmp_path: Path) -> Path:
    return write_clinic(tmp_path / "near", labels=("coin", "bright", "other"), unknown={"bright": 7})


@pytest.fixture
def far(tmp_path: Path) -> Path:
    return write_clinic(tmp_path / "far", seed=1, level=110)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return lambda *words: command(monkeypatch, capsys, "run", "--precision", "fp32", *words)


def cell(task: str, fraction: str = "1", seed: int = 0) -> Predictions:
    dataset, _, protocol = task.partition(":")
    (path,) = Path("results/cells", dataset, protocol).glob(f"*/fraction-{fraction}-seed-{seed}.parquet")
    return Predictions.load(path)


def features(csv: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """A clinic's table, and what the encoder ``Mine`` gives for its images."""
    table = pd.read_csv(csv)
    images = np.stack([load_image(csv.parent / name, PREPROCESS).numpy()[0] for name in table["image"]])
    return table, images.reshape(len(images), 4, 4, 4, 4).mean((2, 4)).reshape(len(images), 16)


def test_figures_are_those_of_scikit_learn_and_no_image_is_encoded_again(
    run: Run, near: Path, far: Path, encoder: str, encoder_calls: Path
) -> None:
    run("--encoder", encoder, "--tasks", f"{near}:classification,{far}:classification")
    calls = encoder_calls.read_text()
    assert sum(map(int, calls.split())) == 160
    code, out, _ = run("--encoder", encoder, "--train", f"{near}+{far}", "--tasks", f"{far}:classification", "--json")
    assert code == 0
    assert encoder_calls.read_text() == calls
    (table, x), (table_far, x_far) = features(near), features(far)
    table, x = pd.concat([table, table_far], ignore_index=True), np.concatenate([x, x_far])
    of_far, known = np.arange(len(table)) >= 80, table["bright"].notna().to_numpy()
    train, val = (((table["split"] == split) & known).to_numpy() for split in ("train", "val"))
    x = StandardScaler().fit(x[(table["split"] == "train").to_numpy()]).transform(x)
    fits = [
        LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(x[train], table["bright"][train])
        for c in np.logspace(-6, 2, 9)
    ]
    losses = [log_loss(table["bright"][val], fit.predict_proba(x[val])[:, 1]) for fit in fits]
    expected = fits[int(np.argmin(losses))].predict_proba(x)[:, 1]
    test = of_far & (table["split"] == "test").to_numpy()
    rows = cell("far:classification+train-far+train-near").test_rows()
    assert rows["image_id"].tolist() == table["image"][test].tolist()
    assert rows["patient_id"].tolist() == table["patient"][test].tolist()
    assert rows["target:bright"].tolist() == table["bright"][test].tolist()
    np.testing.assert_allclose(rows["score:bright"], expected[test], atol=2e-4)
    auroc = roc_auc_score(rows["target:bright"], expected[test])
    board = json.loads(api.leaderboard(tasks="far:classification+train-far+train-near", replicates=100).to_json())
    (value,) = [r["value"] for r in board["records"] if (r["metric"], r["label"]) == ("auroc", "bright")]
    assert value == pytest.approx(auroc, abs=1e-9)
    coin = roc_auc_score(rows["target:coin"], rows["score:coin"])
    assert json.loads(out)[0]["value"] == pytest.approx((auroc + coin) / 2, abs=1e-4)


def test_names_and_facts_keep_it_apart_from_training_on_the_own_data(run: Run, near: Path, far: Path) -> None:
    words = ("--encoder", "pixels", "--tasks", f"{far}:classification,{far}:knn")
    run(*words)
    code, out, _ = run(*words, "--train", str(near), "--fractions", "0.5,1", "--seeds", "2", "--json")
    assert (code, len(json.loads(out))) == (0, 6)
    own, there = cell("far:classification"), cell("far:classification+train-near")
    assert own.cell["identity"] != there.cell["identity"]
    assert own.cell["parts"]["dataset"] == there.cell["parts"]["dataset"]
    assert "training data" in there.cell["parts"]
    assert there.dataset["training"] == [{"name": "near", "lineage": [], "licence": ""}]
    validating = there.rows.loc[there.rows["split"] == "val", "image_id"].tolist()
    assert {image.partition(":")[0] for image in validating} == {"near"}
    assert (there.cell["train_images"], cell("far:knn+train-near", "0.5", 1).cell["train_images"]) == (48, 24)
    tables = [
        line for line in str(api.leaderboard(replicates=100)).splitlines() if line.startswith("### Classification")
    ]
    assert sum("(train-near)" in line for line in tables) >= 2
    for precision, state in (("fp32", "done"), ("bf16", "stale")):
        job = api.prepare("pixels", f"{far}:knn", train=[str(near)], precision=precision)
        assert [row["state"] for row in api.planned(job)] == [state]


def test_only_what_depends_on_the_training_data_is_stale_when_it_changes(run: Run, near: Path, far: Path) -> None:
    tasks = f"{far}:classification"
    words = ("--encoder", "pixels", "--tasks", tasks)
    run(*words)
    run(*words, "--train", str(near))

    def state(*more: str) -> tuple[str, str]:
        (row,) = json.loads(run(*words, *more, "--dry-run", "--json")[1])
        return row["state"], row["reason"]

    assert state("--train", str(near)) == ("done", "")
    text = near.read_text().splitlines()
    text[1] = text[1][:-1] + str(1 - int(text[1][-1]))
    near.write_text("\n".join(text) + "\n")
    assert state("--train", str(near)) == ("stale", "training data changed")
    assert state() == ("done", "")
    assert {verdict.condition for verdict in api.verify("results")} == {"whole"}


def test_merged_training_and_all_test_sets_as_a_column(run: Run, near: Path, far: Path) -> None:
    code, out, _ = run(
        "--encoder", "pixels", "--train", f"{near}+{far}", "--tasks", f"{near}:knn,{far}:knn,all:knn", "--json"
    )
    rows = json.loads(out)
    tasks = [f"{name}:knn+train-far+train-near" for name in ("near", "far", "all")]
    assert (code, [row["task"] for row in rows]) == (0, [*tasks[:2], f"{tasks[2]}+pooled"])
    whole, one = (cell(task).test_rows() for task in (f"{tasks[2]}+pooled", tasks[1]))
    assert len(whole) == 32
    assert [name.removeprefix("far:") for name in whole["image_id"] if name.startswith("far:")] == list(one["image_id"])
    of_far = [name.startswith("far:") for name in whole["image_id"]]
    np.testing.assert_array_equal(whole["score:bright"].to_numpy()[of_far], one["score:bright"])  # the same probe
    lines = str(api.leaderboard(replicates=100, metrics="auroc")).splitlines()
    heads = [line for line in lines if line.startswith("| Encoder") and ":knn" in line]
    assert sorted((line.count(":knn"), "all:knn" in line, "Mean" in line) for line in heads) == [
        (1, True, False), (2, False, True)
    ]  # fmt: skip


def test_folds_test_every_image_of_the_test_set_once(run: Run, near: Path, far: Path) -> None:
    code, _, err = run("--encoder", "pixels", "--train", str(near), "--tasks", f"{far}:classification", "--folds", "4")
    assert (code, err) == (0, "")
    rows = cell("far:classification+folds4+train-near").test_rows()
    assert rows["image_id"].tolist() == pd.read_csv(far)["image"].tolist()
    assert set(rows["fold"]) == {0, 1, 2, 3}


def test_protocols_that_train_by_gradient_descent(run: Run, near: Path, far: Path) -> None:
    words = ("--encoder", "random:nano-32", "--tasks", f"{far}:finetune,{far}:linear", "--epochs", "1", "--json")
    code, out, err = run(*words, "--train", f"{near}+{far}")
    assert (code, err) == (0, "")
    assert [row["task"] for row in json.loads(out)] == [
        f"far:{name}+epochs1+train-far+train-near" for name in ("finetune", "linear")
    ]
    rows = cell("far:finetune+epochs1+train-far+train-near").rows
    assert rows["split"].value_counts().to_dict() == {"val": 32, "test": 16}
    assert np.isfinite(rows["score:bright"]).all()


def related(tmp_path: Path, near: Path, lost: int = 0) -> Path:
    """Other names for the test images of a clinic and for its first ten, of which two train and the others are tested.

    ``lost``: how many of the tested ones show something else.
    """
    (near.parent / "labels.toml").write_text('lineage = ["city"]')
    folder = tmp_path / "again"
    folder.mkdir()
    table = pd.read_csv(near)
    lines = ["image,split,coin"]
    for i in table[table["split"] == "test"].index.union(range(10)):
        picture = np.asarray(Image.open(near.parent / f"{i:03}.png"))
        if i >= 2 and lost > len(lines) - 3:
            picture = np.random.default_rng(i).integers(0, 256, (24, 20), np.uint8)
        Image.fromarray(picture).save(folder / f"x{999 - i}.png")
        lines.append(f"x{999 - i}.png,{'train' if i < 2 else 'test'},{table['coin'][i]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "labels.toml").write_text('lineage = ["again", "city"]')
    return folder / "labels.csv"


def test_patients_of_a_related_set_are_told_by_their_pictures(
    run: Run, near: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the clinic's first five patients the first three train, the fourth validates; all but the first are tested."""
    again = related(tmp_path, near)
    words = ("--encoder", "pixels", "--train", str(near), "--tasks", f"{again}:knn")
    code, _, err = run(*words)
    assert (code, "their pictures tell who is who" in err) == (0, True)
    there = cell("again:knn+train-near")
    assert there.cell["train_images"] == 48 - 4
    validating = there.rows.loc[there.rows["split"] == "val", "image_id"].tolist()
    assert (len(validating), "near:006.png" in validating) == (16 - 2, False)
    assert "3 patients of near (6 images) are in the test set: left out of training and validation" in there.notes
    assert "again and near share 24 pictures under other names: their patients are taken as one" in there.notes
    assert there.test_rows()["patient_id"].tolist() == there.test_rows()["image_id"].tolist()  # as the set has them
    shutil.rmtree("results")
    monkeypatch.setattr(patients, "decoded_looks", lambda *_: pytest.fail("the pictures were compared before"))
    assert run(*words)[0] == 0
    pd.testing.assert_frame_equal(cell("again:knn+train-near").rows, there.rows)


def test_related_sets_that_do_not_tell_who_is_who_are_refused(run: Run, near: Path, tmp_path: Path) -> None:
    again = related(tmp_path, near, lost=3)
    code, _, err = run("--encoder", "pixels", "--train", str(near), "--tasks", f"{again}:knn")
    assert code == 1
    assert "3 images of again and 59 of near are not found in the other" in " ".join(err.split())
    assert not list(Path("results/cells").rglob("fraction*"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--train", "nihh", "--tasks", "FAR:classification"), "unknown dataset 'nihh'"),
        (("--train", "./gone.csv", "--tasks", "FAR:classification"), "no CSV file gone.csv"),
        (("--train", "NEAR+", "--tasks", "FAR:classification"), "has an empty part"),
        (("--train", "NEAR", "--tasks", "FAR:segmentation"), "segmentation is trained and tested on one dataset only"),
        (("--train", "NEAR", "--tasks", "FAR:zero-shot"), "zero-shot is trained and tested on one dataset only"),
        (("--train", "NEAR", "--tasks", "FAR:classification", "--preset", "spcl"), "leave one out"),
        (("--train", "NEAR", "--tasks", "FAR", "--preset", "spcl"), "classification (not with --train)"),
        (("--train", "OTHER", "--tasks", "FAR:classification"), "no label means the same in all sets"),
        (("--train", "TESTED", "--tasks", "FAR:classification"), "has no train rows"),
        (("--tasks", "all:classification"), "unknown dataset 'all'"),
    ],
)
def test_wrong_input_is_one_line(
    words: tuple[str, ...], reason: str, run: Run, near: Path, far: Path, tmp_path: Path
) -> None:
    other = write_clinic(tmp_path / "other", labels=("shadow",), images=10)
    tested = write_clinic(tmp_path / "tested", images=10)
    tested.write_text(tested.read_text().replace(",train,", ",test,").replace(",val,", ",test,"))
    places = {"NEAR": near, "FAR": far, "OTHER": other, "TESTED": tested}
    for name, path in places.items():
        words = tuple(word.replace(name, str(path)) for word in words)
    code, out, err = run("--encoder", "pixels", *words)
    assert (code, out) == (2, "")
    assert reason in err
    assert len(err.strip().splitlines()) == 1
    assert not Path("results").exists()
