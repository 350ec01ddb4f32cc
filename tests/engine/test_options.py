"""An option that no task reads is refused, one that some do not read is said."""

from pathlib import Path

import pytest

from cxrbench.engine.folds import Folded
from cxrbench.engine.options import unread_options
from cxrbench.engine.registry import load_task
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.task import Task, TaskOptions
from support.command import cxrbench

NAMES = ("classification", "knn", "retrieval", "zero-shot", "segmentation", "detection")


def tasks(*names: str) -> list[Task]:
    return [load_task(name) for name in names]


@pytest.mark.parametrize(
    ("options", "planned", "would"),
    [
        (TaskOptions(decoder="upernet"), ("classification", "detection"), "segmentation"),
        (TaskOptions(decoder="unet"), ("retrieval",), "segmentation"),  # the default, but not of this one
        (TaskOptions(finetune=True), ("knn",), "detection, segmentation"),
        (TaskOptions(augment=2), ("classification",), "detection, segmentation"),
        (TaskOptions(views="2"), ("segmentation",), "classification, knn"),
        (TaskOptions(epochs=3), ("retrieval", "zero-shot"), "detection, segmentation"),
        (TaskOptions(text_encoder=Path("x")), ("knn",), "text-retrieval"),
        (TaskOptions(ecg_teacher=Path("x")), ("knn",), "physiology"),
        (TaskOptions(labs_teacher=Path("x")), ("text-retrieval",), "physiology"),
    ],
)
def test_an_option_that_nobody_reads_names_who_would(
    options: TaskOptions, planned: tuple[str, ...], would: str
) -> None:
    with pytest.raises(UserError, match=rf"none of the tasks \({', '.join(planned)}\) reads it; {would} would"):
        unread_options(options, tasks(*planned), lambda: tasks(*NAMES, "text-retrieval", "physiology"))


def test_a_preset_of_a_protocol_that_follows_the_paper_without_one_says_so() -> None:
    told = "physiology follows that paper as it stands, without a preset"
    with pytest.raises(UserError, match=f"none of the tasks .physiology. reads it; {told}: leave it out"):
        unread_options(TaskOptions(preset="pacx:paper"), tasks("physiology"), lambda: tasks(*NAMES))
    with pytest.raises(NotApplicableError, match=f"preset pacx:paper has no recipe for physiology: {told}"):
        load_task("physiology").configured(TaskOptions(preset="pacx:paper"))
    with pytest.raises(NotApplicableError, match=r"preset spcl has no recipe for physiology$"):
        load_task("physiology").configured(TaskOptions(preset="spcl"))
    with pytest.raises(UserError, match="reads it; classification, detection"):
        unread_options(TaskOptions(preset="spcl"), tasks("physiology"), lambda: tasks(*NAMES))


def test_what_some_read_is_a_remark_about_the_others() -> None:
    planned = tasks("classification", "segmentation", "detection")
    assert unread_options(TaskOptions(decoder="linear"), planned, list) == [
        "--decoder linear: classification does not read it", "--decoder linear: detection does not read it",
    ]  # fmt: skip
    assert unread_options(TaskOptions(views="all"), tasks("classification", "knn"), list) == []
    assert unread_options(TaskOptions(), planned, list) == []


def test_folds_and_seeds_are_options_too() -> None:
    with pytest.raises(UserError, match=r"--folds 5: none of the tasks \(retrieval\) reads it; knn would"):
        unread_options(TaskOptions(), tasks("retrieval"), lambda: tasks("retrieval", "knn"), folds=5)
    with pytest.raises(UserError, match="--seeds 3: none of the tasks"):
        unread_options(TaskOptions(), tasks("classification"), list, seeds=3)
    assert unread_options(TaskOptions(), tasks("classification"), list, seeds=3, fractions=(0.1, 1.0)) == []
    assert unread_options(TaskOptions(), tasks("classification"), list, seeds=3, folds=5) == []
    remarks = unread_options(TaskOptions(), tasks("segmentation", "retrieval"), list, seeds=3)
    assert [remark.partition(" has")[0] for remark in remarks] == ["--seeds 3: retrieval"]
    folded = Folded.of(load_task("classification"), 5)
    assert unread_options(TaskOptions(), [folded], list, folds=5, seeds=2) == []


@pytest.mark.usefixtures("folders")
def test_a_run_refuses_or_says_it(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--encoder", "pixels", "--dry-run", "--tasks"]
    code, _, err = cxrbench(monkeypatch, capsys, *words, f"{dataset}:classification", "--decoder", "unet")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "segmentation would" in err
    code, out, err = cxrbench(monkeypatch, capsys, *words, str(dataset), "--views", "2", "--epochs", "3")
    assert code == 2  # of what this dataset can be asked, nothing is trained in epochs
    code, out, err = cxrbench(
        monkeypatch, capsys, *words, f"{dataset}:classification,{dataset}:retrieval", "--folds", "3"
    )
    assert code == 0
    assert "--folds 3: retrieval does not read it" in err
    assert "classification+folds3" in out
