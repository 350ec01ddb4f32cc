"""What a run would cost: against sums that are done by hand, and the real measurement of a small encoder."""

import json
from collections.abc import Callable
from dataclasses import replace
from math import isnan, nan
from pathlib import Path
from types import SimpleNamespace

import pytest

from cxrbench import api
from cxrbench.engine.budgets.asked import Budget
from cxrbench.engine.budgets.task import Budgeted
from cxrbench.engine.folds import Folded
from cxrbench.engine.job import Job
from cxrbench.engine.registry import load_task
from cxrbench.passes import images_in_training
from cxrbench.schedule import probe as probe_module
from cxrbench.schedule.cost import cost_of, to_extract
from cxrbench.schedule.cost_plan import CostPlan, Speed
from cxrbench.schedule.estimates import CellTimes, EarlierCell, speed_by_gflops, speed_in_store
from cxrbench.schedule.graph import Graph, graph_of
from cxrbench.schedule.measured import Measurements
from cxrbench.schedule.probe import Probed, elsewhere
from cxrbench.task import Cell, Task, TaskOptions
from cxrbench.tasks.classification.finetune import RECIPE as TUNED
from cxrbench.tasks.classification.finetune import FineTune
from cxrbench.tasks.classification.linear_sgd import RECIPE, LinearSGD
from support.command import cxrbench

pytestmark = pytest.mark.usefixtures("folders")
Run = Callable[..., tuple[int, str, str]]
IMAGES, WIDTH = 120, 256


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr(probe_module, "SECONDS", 0.05)
    return lambda *words: cxrbench(monkeypatch, capsys, "run", *words)


@pytest.fixture
def job(dataset: Path) -> Job:
    """Two protocols of one encoder, three seeds of the second: 2 + 3 cells on 120 images."""
    return api.prepare(["pixels"], [f"{dataset}:{name}" for name in ("classification", "linear")], seeds=3)


def graph_with(job: Job) -> Graph:
    return graph_of(job)


def cost(job: Job, measured: Measurements, workers: int) -> CostPlan:
    return cost_of(graph_with(job), set(), measured, workers, gpu=False)


def test_hours_disk_and_makespan_are_the_sums_done_by_hand(job: Job) -> None:
    times = CellTimes({("", "clinic", "classification"): 7.0, ("", "clinic", "linear"): 5.0}, {"clinic": IMAGES})
    measured = Measurements({("pixels", "clinic"): Speed(10.0, "store")}, times=times)
    assert to_extract(graph_with(job), set()) == [("pixels", "clinic")]
    for workers, seconds in ((1, 12 + 7 + 15), (2, 12 + 12), (4, 12 + 7), (50, 12 + 7)):
        plan = cost(job, measured, workers)
        assert plan.hours * 3600 == pytest.approx(seconds), workers
        assert (plan.gpu_hours, plan.cpu_hours * 3600) == (0, pytest.approx(34))
        assert plan.chain_hours * 3600 == pytest.approx(19)
    (row,) = plan.rows
    assert (row.images, row.cells, row.pooled_bytes, row.dense_bytes) == (IMAGES, 4, IMAGES * WIDTH * 4, 0)
    assert (row.extraction_hours * 3600, row.cell_hours * 3600) == (pytest.approx(12), pytest.approx(22))
    assert not plan.remarks


def test_what_is_in_the_cache_is_not_extracted_again(job: Job) -> None:
    graph = graph_with(job)
    assert not to_extract(graph, set(graph.parts))
    plan = cost_of(graph, set(graph.parts), Measurements({}), 1, gpu=False)
    assert (plan.rows[0].images, plan.rows[0].extraction_hours) == (0, 0)


def test_what_is_not_known_is_said_and_counts_as_nothing(job: Job) -> None:
    plan = cost(job, Measurements({("pixels", "clinic"): Speed(nan, "unknown", "the disk is on fire")}), 1)
    assert plan.hours == 0
    assert isnan(plan.rows[0].extraction_hours)
    assert plan.to_json()["rows"][0]["cell_hours"] is None
    assert [line.split(":")[0] for line in plan.remarks] == [
        "cells of classification, 1 of them, count as 0 h", "cells of linear, 3 of them, count as 0 h",
        "extracting pixels on clinic counts as 0 h",
    ]  # fmt: skip
    assert plan.remarks[-1].endswith("the disk is on fire")


def test_networks_count_as_gpu_hours_where_there_is_one(job: Job) -> None:
    measured = Measurements(
        {("pixels", "clinic"): Speed(1.0, "store")}, times=CellTimes({("linear",): 0.5}, {"clinic": 8})
    )
    plan = cost_of(graph_with(job), set(), measured, 1, gpu=True)
    assert plan.gpu_hours * 3600 == pytest.approx(IMAGES + sum(4 * (u.needs == "gpu") for u in graph_with(job).cells))


def earlier(encoder: str, dataset: str, seconds: float, date: str = "1", fraction: float = 1.0) -> EarlierCell:
    return EarlierCell(encoder, dataset, "knn", fraction, seconds, date)


def test_cells_take_what_those_took_that_are_most_alike() -> None:
    images = {"small": 100, "large": 1000, "new": 400}
    known = [earlier("a", "small", 4.0), earlier("a", "small", 2.0, fraction=0.1), earlier("b", "small", 8.0)]
    times = CellTimes.of(known, images, {})
    assert times.seconds(Cell("a", "small", "knn")) == 4
    assert times.seconds(Cell("a", "small", "knn", 0.5)) == 3  # of the encoder and the task
    assert times.seconds(Cell("c", "small", "knn")) == 6  # of the task and the fraction
    assert times.seconds(Cell("c", "new", "knn")) == pytest.approx(4 * 4 / 1)  # median 0.04 s an image
    assert isnan(times.seconds(Cell("a", "small", "linear")))


def test_extraction_is_taken_off_the_first_cell_that_had_it() -> None:
    known = [earlier("a", "set", 53.0, "1"), earlier("a", "set", 3.0, "2"), earlier("b", "set", 3.0, "1")]
    times = CellTimes.of(known, {"set": 100}, {"a": Speed(2.0, "store"), "b": Speed(2.0, "store")})
    assert {times.seconds(Cell(name, "set", "knn")) for name in ("a", "b", "c")} == {3}


def test_speeds_of_other_devices_are_no_measurement_and_gflops_are_the_last_resort() -> None:
    facts = {"images_per_second": 9.0, "device": "cuda:0", "precision": "bf16"}
    assert speed_in_store(facts, "cuda", "bf16") == Speed(9.0, "store")
    assert speed_in_store(facts, "cpu", "bf16") is None
    assert speed_in_store(facts, "cuda", "fp32") is None
    assert speed_by_gflops(10.0, [(1.0, 40.0), (10.0, 6.0), (4.0, 20.0)]) == Speed(6.0, "GFLOPs")
    assert speed_by_gflops(nan, [(1.0, 40.0)]).source == "unknown"
    assert speed_by_gflops(1.0, []).source == "unknown"


def test_other_images_cost_their_decoding() -> None:
    """0.1 s an image, of which 0.04 s decoding; images that decode in 0.09 s and, for a GPU, in 0.3 s."""
    probed = Probed(10.0, 0.04, 8, 0, 0, 0)
    assert 1 / elsewhere(probed, 0.09, device="cpu") == pytest.approx(0.15)
    assert 1 / elsewhere(probed, 0.09, device="cuda") == pytest.approx(0.1)
    assert 1 / elsewhere(probed, 0.3, device="cuda:1") == pytest.approx(0.3)


def test_a_dry_run_measures_and_leaves_nothing(run: Run, dataset: Path, tmp_path: Path) -> None:
    words = ["--encoder", "pixels", "--tasks", f"{dataset}:classification", "--results", str(tmp_path / "none")]
    code, out, _ = run(*words, "--dry-run", "--cost", "--on", "3", "--json")
    found = json.loads(out)
    (row,) = found["rows"]
    assert code == 0
    assert (found["workers"], row["images"], row["speed"], row["cells"]) == (3, IMAGES, "probe", 1)
    assert row["extraction_hours"] * 3600 == pytest.approx(IMAGES / row["images_per_second"])
    assert row["memory_bytes"] > 10**8
    assert not (tmp_path / "none").exists()
    text = run(*words, "--dry-run", "--cost")[1]
    assert "on 1 worker: " in text
    assert "cells of classification, 1 of them, count as 0 h" in text


def augmented(task: Task) -> Task:
    moved = ({"flip": 0.5}, {"noise": 0.1})
    return replace(task, recipe=replace(RECIPE, epochs=4, augmentation=moved))  # type: ignore[call-arg]


def test_a_recipe_that_augments_runs_the_encoder_in_every_epoch(dataset: Path) -> None:
    (manifest,) = (api.load_dataset(str(dataset)),)
    train, cell = len(manifest.rows_of("train")), Cell("pixels", "clinic", "linear", 0.5)
    linear, val, rates = load_task("linear"), len(manifest.rows_of("val")), len(RECIPE.learning_rates)
    held = val + len(manifest.rows_of("test"))
    assert isinstance(linear, LinearSGD)
    assert images_in_training(linear, manifest, cell) == 0, "features are made once"
    moved = augmented(linear)
    assert images_in_training(moved, manifest, cell) == round(rates * 4 * 0.5 * train) + held
    framed = replace(linear, recipe=replace(RECIPE, epochs=4, frame={"resize": "pad", "size": 256, "crop": 224}))
    assert images_in_training(framed, manifest, cell) == round(rates * 4 * 0.5 * train) + held
    flipped = replace(linear, recipe=replace(RECIPE, augmentation=({"flip": 0.5},)))
    assert images_in_training(flipped, manifest, cell) == round(0.5 * train), "once more, whatever the epochs"
    assert images_in_training(load_task("knn"), manifest, cell) == 0
    five = images_in_training(Folded.of(moved, 5), manifest, cell)
    assert five == pytest.approx(5 * (rates * 4 * 0.5 * len(manifest) * 3 / 5 + len(manifest) * 2 / 5), rel=0.1)
    few = images_in_training(Budgeted.of(moved, Budget(10, "image")), manifest, cell)
    assert few == rates * 40 + held


def test_training_an_encoder_costs_its_passes_and_those_over_what_it_selects_by_and_predicts(dataset: Path) -> None:
    manifest, cell = api.load_dataset(str(dataset)), Cell("pixels", "clinic", "finetune", 0.5)
    train, val, test = (len(manifest.rows_of(split)) for split in ("train", "val", "test"))
    whole = load_task("finetune")
    assert isinstance(whole, FineTune)
    for select, every, looks in (("val_loss", 1, 10), ("val_loss", 4, 3), ("last", 4, 1)):
        recipe = replace(TUNED, learning_rates=(1e-3, 1e-4), epochs=10, select=select, select_every=every)
        found = images_in_training(replace(whole, recipe=recipe), manifest, cell)
        assert found == round(2 * (10 * 3 * 0.5 * train + looks * val)) + val + test, (select, every)


@pytest.mark.parametrize(
    ("preset", "images", "asked"),
    [("pacx", "flipped", {"pooled", "network"}), ("fane", "anew", {"network"}), ("mvmae", "anew", {"network"})],
)
def test_a_papers_linear_head_asks_for_features_where_they_are_made_once(
    preset: str, images: str, asked: set[str]
) -> None:
    """Then they are extracted before, by all workers, and counted as extraction."""
    task = load_task("linear").configured(TaskOptions(preset=preset))
    assert isinstance(task, LinearSGD)
    assert task._recipe("", None).images == images
    assert task.asks == asked


def test_cells_that_augment_cost_their_encoders_passes_until_one_of_them_was_run(dataset: Path) -> None:
    job = api.prepare(["pixels"], f"{dataset}:linear")
    graph = graph_with(job)
    (unit,) = graph.cells
    assert unit.planned.task is not None
    unit = replace(unit, planned=replace(unit.planned, task=augmented(unit.planned.task)))
    graph = Graph((replace(graph.groups[0], cells=(unit,)),))
    assert unit.planned.manifest is not None
    train, val, test = (len(unit.planned.manifest.rows_of(split)) for split in ("train", "val", "test"))
    images = len(RECIPE.learning_rates) * 4 * train + val + test
    speeds = {("pixels", "clinic"): Speed(10.0, "store")}
    assert Measurements(speeds).seconds(unit) == pytest.approx(images / 10)
    assert to_extract(graph, set(graph.parts)), "its speed is measured"
    (line,) = cost_of(graph, set(graph.parts), Measurements(speeds), 1, gpu=False).remarks
    assert "1 of them, count as the passes of their encoder over the images that they train on" in line
    others = CellTimes({("", "clinic", "linear"): 3.0}, {"clinic": IMAGES})
    assert Measurements(speeds, times=others).seconds(unit) == pytest.approx(images / 10), "another encoder's"
    own = CellTimes({("pixels", "clinic", "linear"): 3.0}, {"clinic": IMAGES})
    assert Measurements(speeds, times=own).seconds(unit) == 3
    assert isnan(Measurements({("pixels", "clinic"): Speed(nan, "unknown")}).seconds(unit))


def test_a_papers_preset_tells_its_passes(folders: None) -> None:
    from cxrbench.tasks.dense.segmentation import TASK

    manifest = SimpleNamespace(name="rsna", rows_of=lambda split: range(100))
    cell = Cell("fane", "rsna", "segmentation")
    task = TASK.configured(TaskOptions(preset="fane:paper", epochs=2))
    assert images_in_training(task, manifest, cell) == 200  # type: ignore[arg-type]
    assert images_in_training(TASK, manifest, cell) == 0  # type: ignore[arg-type]
    tuned = TASK.configured(TaskOptions(finetune=True))
    few, many = 3 * 200 * 16 + 10 * 100, 3 * 8 * 1000 + 10 * 1000  # 8 looks at validation, and in the end it and test
    assert images_in_training(tuned, manifest, cell) == few, "at least 200 steps of 16"  # type: ignore[arg-type]
    manifest.rows_of = lambda split: range(1000)
    assert images_in_training(tuned, manifest, cell) == many  # type: ignore[arg-type]


def test_the_cost_is_asked_of_a_dry_run_only(run: Run, dataset: Path) -> None:
    words = ["--encoder", "pixels", "--tasks", f"{dataset}:classification"]
    for more in (["--cost"], ["--on", "2"], ["--dry-run", "--on", "2"]):
        code, _, err = run(*words, *more)
        assert code == 2
        assert "--dry-run --cost --on 8" in err


def test_blocked_cells_are_named_and_not_counted(run: Run, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("class Broken:\n    pass\n")
    broken = f"{tmp_path / 'broken.py'}:Broken"
    words = ("--encoder", f"pixels,{broken}", "--tasks", f"{dataset}:knn", "--results", str(tmp_path / "r"))
    code, out, _ = run(*words, "--dry-run", "--cost")
    assert (code, "1 cells of " in out, "blocked and not counted" in out) == (0, True, True)
