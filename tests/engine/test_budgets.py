"""Label budgets: so many units, nested, of what takes part; names, refusals, folds and other training sets."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrbench.data.manifest import Manifest
from cxrbench.data.subsets.selection import Unit
from cxrbench.engine.budgets.asked import Budget, budgets
from cxrbench.engine.budgets.task import Budgeted
from cxrbench.engine.registry import load_task
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, Task, TaskOptions
from cxrbench.tasks.fractions import label_fraction
from support.clinics import write_clinic
from support.command import cxrbench as command

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folders: None) -> Run:
    return lambda *words: command(monkeypatch, capsys, "run", "--precision", "fp32", *words)


def studies(patients: int = 60) -> Manifest:
    """Of each patient two studies of a PA and a lateral image; label a is frequent, b rare; 60/20/20 by patient."""
    n = 4 * patients
    of, rng = np.arange(n) // 4, np.random.default_rng(0)
    a, b = (np.repeat(rng.random(2 * patients) < share, 2).astype(np.float32) for share in (0.5, 0.04))
    b[:2], b[2:4], b[-4:] = 1, 0, (1, 1, 0, 0)
    frame = pd.DataFrame({
        "image_id": [f"i{i:03}" for i in range(n)], "patient_id": np.char.mod("p%d", of),
        "study_id": np.char.mod("s%d", np.arange(n) // 2), "view": ["PA", "L"] * (n // 2), "path": "x", "bytes": 1,
        "split": np.select([of >= patients * 8 // 10, of >= patients * 6 // 10], ["test", "val"], "train"),
        "a": a, "b": b,
    })  # fmt: skip
    return Manifest("toy", Path(), frame, ("a", "b"))


def probe(views: str | None = None) -> Task:
    return load_task("classification").configured(TaskOptions(views=views))  # type: ignore[arg-type]


def drawn(task: Task, budget: Budget, manifest: Manifest, seed: int = 0, fraction: float = 1.0) -> Manifest:
    return Budgeted.of(task, budget).drawn(manifest, Cell("e", "toy", "p", fraction, seed))[0]


@pytest.mark.parametrize("unit", ["image", "study", "patient"])
def test_exactly_so_many_units_train_nested_and_the_rest_of_the_data_stays(unit: Unit) -> None:
    manifest, before = studies(), set[str]()
    for count in (3, 8, 20, 36):
        found = drawn(probe(), Budget(count, unit), manifest).images
        train = found.loc[found["split"] == "train"]
        assert len(set(train[f"{unit}_id"])) == count
        assert before <= set(train["image_id"])
        before = set(train["image_id"])
        for split in ("val", "test"):
            assert (found["split"] == split).tolist() == (manifest.images["split"] == split).tolist()
        if count >= 8:
            assert set(train["a"]) == set(train["b"]) == {0.0, 1.0}, "every label, as soon as there is room"
        other = drawn(probe(), Budget(count, unit), manifest, seed=1).images
        assert other["split"].tolist() != found["split"].tolist() or count == 36
    with pytest.raises(NotApplicableError, match=r"fewer than the budget of 5,000"):
        drawn(probe(), Budget(5_000, unit), manifest)


def test_a_budget_of_patients_is_the_label_fraction_of_as_many() -> None:
    rng = np.random.default_rng(2)
    ids = [f"{i:03}" for i in range(300)]
    frame = pd.DataFrame({"image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "path": "x", "bytes": 1})
    split = np.repeat(["train", "val", "test"], [200, 50, 50])
    targets = (rng.random((300, 2)) < 0.3).astype(np.float32)
    manifest = Manifest("toy", Path(), frame.assign(split=split, a=targets[:, 0], b=targets[:, 1]), ("a", "b"))
    for seed in (0, 5):
        kept = label_fraction(np.array(ids[:200]), targets[:200], 0.1, seed)
        for unit in ("patient", "study", "image"):
            found = drawn(probe(), Budget(20, unit), manifest, seed)
            assert found.rows_of("train").tolist() == kept.tolist()
            by_share = drawn(probe(), Budget(None, unit), manifest, seed, fraction=0.1)
            assert by_share.rows_of("train").tolist() == kept.tolist()


def test_images_are_counted_among_those_that_take_part() -> None:
    manifest = studies()
    found = drawn(probe("1"), Budget(30, "image"), manifest).images
    train = found[found["split"] == "train"]
    assert len(train) == 30
    assert set(train["view"]) == {"PA"}
    assert "of 72" not in str(Budgeted.of(probe("1"), Budget(72, "image")).not_applicable(manifest))
    reason = Budgeted.of(probe("1"), Budget(73, "image")).not_applicable(manifest)
    assert reason == "it has 72 training images, fewer than the budget of 73"


def test_an_image_without_a_study_is_a_study_of_its_own() -> None:
    manifest = studies()
    manifest = replace(manifest, images=manifest.images.assign(study_id=""))
    found = drawn(probe(), Budget(30, "study"), manifest)
    assert len(found.rows_of("train")) == 30


def test_what_is_asked_is_read_once_in_ascending_order_and_refused_in_one_line() -> None:
    assert budgets((20, 5, 20), "study", (1.0,)) == (Budget(5, "study"), Budget(20, "study"))
    assert budgets(None, None, (0.1,)) == ()
    assert [budget.setting for budget in budgets((5,), None, (1.0,))] == ["budget5-patients"]
    assert [budget.setting for budget in budgets(None, "study", (0.1, 1.0))] == ["fractions-of-studies"]
    for wrong, message in (
        ((None, "study", (1.0,)), "of how many"), (((5,), "film", (1.0,)), "choose from patient, study, image"),
        (((5,), None, (0.1,)), "one size"), (((0,), None, (1.0,)), "1 or more"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            budgets(*wrong)
    with pytest.raises(NotApplicableError, match="trains on no subset"):
        Budgeted.of(load_task("retrieval"), Budget(5, "image"))
    paper = load_task("classification").configured(TaskOptions(preset="fane"))
    assert Budgeted.of(paper, Budget(5, "image")).protocol == "classification+preset-fane+budget5-images"
    with pytest.raises(NotApplicableError, match="preset fane says what its label fractions are of"):
        Budgeted.of(paper, Budget(None, "image"))


def test_names_and_identities_tell_budgets_apart() -> None:
    one, other, share = (
        Budgeted.of(probe("2"), b) for b in (Budget(5, "study"), Budget(9, "study"), Budget(None, "image"))
    )
    assert one.protocol == "classification+views2+budget5-studies"
    assert share.protocol == "classification+views2+fractions-of-images"
    assert one.version == other.version != probe("2").version
    assert one.seeds_matter(1.0)
    assert not share.seeds_matter(1.0)


def test_a_run_by_budget_has_a_cell_per_budget_and_says_what_does_not_fit(
    run: Run, dataset: Path, encoder: str
) -> None:
    words = ["--encoder", encoder, "--tasks", f"{dataset}:classification", "--budget-unit", "image"]
    code, out, told = run(*words, "--budget", "20,40,9000", "--seeds", "2", "--json")
    assert code == 0
    assert {(row["task"], row["seed"]) for row in json.loads(out)} == {
        (f"clinic:classification+budget{count}-images", seed) for count in (20, 40) for seed in (0, 1)
    }
    assert "classification+budget9000-images (it has 84 training images, fewer than the budget of 9,000)" in told
    for path in Path("results/cells/clinic").glob("*budget20*/*/*.parquet"):
        predictions = Predictions.load(path)
        assert (predictions.cell["train_images"], predictions.cell["train_unit"]) == (20, "image")
        assert len(predictions.rows) == 36, "validation and test are whole"
    code, out, told = run(*words, "--budget", "9000")
    assert (code, len(told.strip().splitlines())) == (2, 1)
    assert "84 training images, fewer than the budget of 9,000" in told
    code, _, told = run("--encoder", encoder, "--tasks", f"{dataset}:retrieval", "--budget", "5")
    assert (code, len(told.strip().splitlines())) == (2, 1)
    assert "--budget 5: none of the tasks (retrieval) reads it" in told


def test_a_budget_is_drawn_from_all_training_sets_and_within_each_fold(run: Run, tmp_path: Path, encoder: str) -> None:
    near, far = write_clinic(tmp_path / "near"), write_clinic(tmp_path / "far", seed=1, level=110)
    words = ["--encoder", encoder, "--train", f"{near}+{far}", "--budget", "30", "--budget-unit", "study"]
    code, out, told = run(*words, "--tasks", f"{far}:classification,all:classification", "--json")
    assert code == 0, told
    tasks = [row["task"] for row in json.loads(out)]
    assert tasks == [f"{name}:classification+budget30-studies+train-far+train-near{end}" for name, end in
                     (("far", ""), ("all", "+pooled"))]  # fmt: skip
    drawn = [Predictions.load(path).cell["train_images"] for path in Path("results/cells").glob("*/*/*/*.parquet")]
    assert drawn == [30, 30]
    code, out, _ = run(
        "--encoder", encoder, "--tasks", f"{far}:classification", "--folds", "3", "--budget", "12", "--json"
    )
    assert code == 0
    assert [row["task"] for row in json.loads(out)] == ["far:classification+budget12-patients+folds3"]
