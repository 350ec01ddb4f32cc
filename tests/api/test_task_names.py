"""Saved results are asked for by the names that a run took: a CSV by its path, whatever its dataset is called."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cxrbench
from cxrbench import api
from cxrbench.engine.registry import saved_task
from cxrbench.errors import UserError
from support.command import cxrbench as command

pytestmark = pytest.mark.usefixtures("folders")


def test_a_csv_is_called_what_its_dataset_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "clinic"
    folder.mkdir()
    assert saved_task("clinic/labels.csv:knn") == "clinic:knn"
    assert saved_task("clinic/second.csv:segmentation+upernet") == "second:segmentation+upernet"
    (folder / "second.toml").write_text('name = "ward"')
    assert saved_task("clinic/second.csv") == "ward"
    assert saved_task("vindr:classification") == "vindr:classification"
    inner = folder / "scans"
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert saved_task("../labels.csv") == "clinic"


def test_every_table_takes_the_path_that_the_run_took(
    dataset: Path, encoder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset.parent / "labels.toml").write_text('name = "ward"')
    monkeypatch.chdir(dataset.parent)
    cxrbench.run(["pixels", encoder], "./labels.csv:classification,./labels.csv:knn", precision="fp32")
    task = "./labels.csv:classification"
    for words in (["leaderboard", "--format", "json"], ["compare", "pixels", encoder, "--json"],
                  ["calibration", "--format", "json"]):  # fmt: skip
        code, text, _ = command(monkeypatch, capsys, *words, "--tasks", task, "--replicates", "100")
        rows = json.loads(text).get("records") or json.loads(text)["rows"]
        assert (code, {(row["dataset"], row["protocol"]) for row in rows}) == (0, {("ward", "classification")})
    assert api.find_cell(task, encoder="pixels").cell["dataset"] == "ward"
    assert _board("ward") == _board([task, "./labels.csv:knn"]) == _board(())
    with pytest.raises(UserError, match="no results for task 'ward:detection': the results have ward:classification"):
        api.leaderboard(tasks="./labels.csv:detection")


def _board(tasks: str | list[str] | tuple[()]) -> str:
    return api.leaderboard(tasks=tasks, replicates=100).to_csv()


def test_pictures_of_several_tasks_lie_in_a_folder_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, capsys, "show", "--out", "o")[0] == 2
    folder = tmp_path / "clinic"
    folder.mkdir()
    lines = ["image,mask,split"]
    for i in range(6):
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 4 * (i % 3) : 4 * (i % 3) + 12] = 255
        Image.fromarray(mask // 2 + 40).save(folder / f"{i}.png")
        Image.fromarray(mask).save(folder / f"m{i}.png")
        lines.append(f"{i}.png,m{i}.png,{('train', 'val', 'test')[i // 2]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    cxrbench.run("random:nano-32", "clinic/labels.csv:segmentation", epochs=1, decoder="linear", precision="fp32")
    tasks = [path.name for path in Path("results/cells/clinic").iterdir()]
    assert len(tasks) == 1
    task = f"clinic/labels.csv:{tasks[0]}"
    words = ["--encoder", "random:nano-32", "--out", "o", "--side", "64"]
    assert command(monkeypatch, capsys, "show", "--tasks", f"{task},clinic:{tasks[0]}", *words)[0] == 0
    assert len(list(Path("o").glob("*/sheet.png"))) == 2
