"""What is said below a paper's table of cells without a value, and of masks that are all empty."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pandas as pd

from cxrbench.api.papers.one_run import PlannedRun, warming_up
from cxrbench.api.papers.remarks import data_notes, empty_masks, undefined
from cxrbench.leaderboard.papers.record import PaperRecord
from cxrbench.papers.read import read_paper
from cxrbench.papers.runs import table_runs
from cxrbench.predictions import Predictions


def record(label: str, reason: str, dataset: str = "nih", column: str = "AUROC") -> PaperRecord:
    return PaperRecord(
        "spcl", "3", label, column, "spcl", dataset, "classification", 1.0, "auroc", label, math.nan, reason=reason
    )


def test_labels_that_a_test_set_does_not_define_share_a_line() -> None:
    none = "undefined on this test set ({}: 0 patients on the rarer side)"
    records = [record(label, none.format(label)) for label in ("Hernia", "Edema", "Hernia")]
    assert undefined(records) == ["Hernia, Edema: undefined on this test set (0 patients on the rarer side)"]
    two = [*records, record("Edema", none.format("Edema"), "vindr")]
    assert undefined(two) == [
        "nih: Hernia, Edema: undefined on this test set (0 patients on the rarer side)",
        "vindr: Edema: undefined on this test set (0 patients on the rarer side)",
    ]
    mean = record("macro", none.format("Hernia"), column="mAUC")
    assert undefined([mean]) == ["mAUC: undefined on this test set (Hernia: 0 patients on the rarer side)"]
    assert undefined([replace(mean, value=1.0), replace(mean, encoder=""), replace(mean, reason="not here")]) == []


def board(dataset: str, *notes: str) -> Any:
    column = SimpleNamespace(task=SimpleNamespace(dataset=dataset), notes=notes)
    return SimpleNamespace(remarks=("said of all",), columns=[column])


def test_what_several_runs_say_of_their_data_is_said_once_with_the_sets_that_it_is_of() -> None:
    table = read_paper("mvmae").table("1")
    assert table is not None
    runs = [PlannedRun(run, True, {}, {}, {}) for run in table_runs(table)[:2]]
    boards = [
        (runs[0], board("mimic", "all train", "90 images", "padchest: no split")),
        (runs[1], board("padchest", "all train", "no split", "mimic: 90 images", "one label: rare")),
    ]
    assert data_notes(boards, named=True) == [
        "said of all", "mimic, padchest: all train", "mimic: 90 images", "padchest: no split",
        "padchest: one label: rare",
    ]  # fmt: skip
    assert data_notes(boards[:1], named=False) == ["said of all", "all train", "90 images", "padchest: no split"]


def test_epochs_within_the_warm_up_of_a_recipe_are_said() -> None:
    table = read_paper("spcl").table("3")
    assert table is not None
    (run,) = table_runs(table)

    def told(**settings: Any) -> list[str]:
        one = PlannedRun(run, True, {}, {}, {"preset": "spcl:paper", **settings}, SimpleNamespace())  # type: ignore[arg-type]
        return warming_up([one])

    assert told(epochs=1) == ["nih:classification: so few epochs end within the warm-up: little is learnt"]
    assert told(epochs=30) == told() == []
    assert warming_up([PlannedRun(run, True, {}, {}, {"preset": "spcl:paper", "epochs": 1})]) == [], "nothing is run"


def masks(predicted: list[int], fraction: float) -> Predictions:
    rows = pd.DataFrame({"image_id": ["a", "b"], "patient_id": ["a", "b"], "predicted:x": predicted})
    cell: dict[str, Any] = {"encoder": "fane", "dataset": "rsna", "protocol": "segmentation", "fraction": fraction}
    return Predictions(
        rows=rows, kind="segmentation", labels=("x",), groups={}, synthetic=True, cell={**cell, "seed": 0}
    )


def test_masks_that_are_all_empty_are_said_for_their_dice_looks_like_a_result() -> None:
    table = read_paper("fane").table("6")
    assert table is not None
    run = PlannedRun(table_runs(table)[0], True, {}, {}, {})
    assert empty_masks(run, [masks([0, 3], 1.0)]) == []
    (line,) = empty_masks(run, [masks([0, 0], 0.01), masks([0, 0], 0.1), masks([0, 3], 1.0)])
    assert line.startswith("rsna: fane at 1%, 10% predicts no pixel of any test image")
