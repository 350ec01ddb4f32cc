"""What the engine promises every task: hidden truth, features when asked for, reasons remembered, options, folds."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from cxrbench.data.manifest import Manifest
from cxrbench.engine import registry
from cxrbench.engine.folds import Folded, kfold
from cxrbench.engine.plan import RunRequest
from cxrbench.engine.results import Results
from cxrbench.engine.settings import parse_bytes
from cxrbench.engine.truth import without_test_truth
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.files.leases import LostError
from cxrbench.files.names import safe_name
from cxrbench.plugins import entry_points
from cxrbench.predictions import Predictions, encoder_facts
from cxrbench.task import Cell, FrozenEncoder, OptionName, Task, TaskOptions
from cxrbench.tasks.classification.linear_probe import TASK as PROBE
from support.command import cxrbench

Run = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True, kw_only=True)
class Peek(Task):
    """Asks for no features; scores every image 0.5; is not applicable to `pixels`.

    Its protocol names every option it was given.
    """

    name: str = "peek"
    summary: str = "looks at what it is given"
    reads: frozenset[OptionName] = frozenset(get_args(OptionName))
    options: TaskOptions = field(default_factory=TaskOptions)

    @property
    def settings(self) -> tuple[str, ...]:
        return tuple(f"{name}={v}" for name, v in vars(self.options).items() if v not in (None, False, 0))

    def configured(self, options: TaskOptions) -> "Peek":
        return replace(self, options=options)

    def not_applicable(self, manifest: Manifest) -> str | None:
        return None if "bright" in manifest.labels else "it has no label bright"

    def seeds_matter(self, fraction: float) -> bool:
        del fraction
        return False

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        with open("attempts.txt", "a") as log:
            log.write(f"{cell.encoder}\n")
        if cell.encoder == "pixels":
            raise NotApplicableError(f"{cell.encoder} has no eyes")
        known = manifest.images["bright"].notna().to_numpy()
        test = (manifest.images["split"] == "test").to_numpy()
        assert not (known & test).any() if not self.sees_test_truth else known.all()
        assert encoder.context.scratch == Path("cache").resolve()
        rows = manifest.images.loc[manifest.images["split"] != "train", ["image_id", "patient_id", "split"]]
        return Predictions(
            rows=rows.assign(**{"score:bright": 0.5}), labels=("bright",), kind="multilabel",
            groups={"macro": ("bright",)}, synthetic=False, encoder=encoder_facts(encoder.spec),
            cell={"encoder": cell.encoder, "dataset": cell.dataset, "protocol": cell.protocol, "seed": cell.seed,
                  "fraction": cell.fraction, "identity": cell.identity, "parts": dict(cell.parts)},
            dataset={"name": manifest.name, "lineage": [], "notes": []},
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Neighbour(Peek):
    """Retrieval by file name: a query finds its answer at the rank that ends its name."""

    name: str = "neighbour"
    opt_in: bool = True
    sees_test_truth: bool = True

    @property
    def settings(self) -> tuple[str, ...]:
        return ()

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        probed = super().run(encoder, manifest, cell)
        rows = probed.rows.loc[probed.rows["split"] == "test", ["image_id", "patient_id", "split"]]
        rank = rows["image_id"].str.extract(r"(\d)\D*$", expand=False).astype(float) + 1
        columns = {"target:image": 1.0, "rank:image": rank, "value:recall@5:image": (rank <= 5).astype(float)}
        return replace(
            probed, rows=rows.assign(**columns), labels=("image",), kind="retrieval", groups={"macro": ("image",)}
        )


PEEK, NEIGHBOUR = Peek(), Neighbour()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line, in an empty folder, with the two tasks above as installed plugins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXRBENCH_DATA", raising=False)
    tasks, there = entry_points.TASKS, entry_points.found
    mine = {name: [EntryPoint(name, f"{__name__}:{name.upper()}", tasks)] for name in ("peek", "neighbour")}
    monkeypatch.setattr(entry_points, "found", lambda group: there(group) | (mine if group == tasks else {}))
    return lambda *words: cxrbench(monkeypatch, capsys, *words)


def only(pattern: str) -> Predictions:
    (path,) = Path("results/cells").glob(pattern)
    return Predictions.load(path)


def test_a_task_sees_no_test_truth_and_what_it_does_not_ask_for_is_not_extracted(
    run: Run, dataset: Path, encoder: str, encoder_calls: Path
) -> None:
    code, out, err = run("run", "--encoder", encoder, "--tasks", f"{dataset}:peek", "--json")
    assert (code, err) == (0, "")
    assert [(row["task"], row["metric"], row["value"]) for row in json.loads(out)] == [("clinic:peek", "AUROC", 0.5)]
    assert not encoder_calls.exists()
    truth = pd.read_csv(dataset).set_index("image")["bright"]
    rows = only("*/peek/*/*.parquet").test_rows()
    names = [name if name in truth.index else f"{name}.png" for name in rows["image_id"]]
    np.testing.assert_array_equal(rows["target:bright"], truth.loc[names])
    facts = json.loads(next(Path("results/encoders").glob("*.json")).read_text())
    assert (facts["width"], facts["images_per_second"]) == (16, None)
    run("run", "--encoder", encoder, "--tasks", f"{dataset}:classification")
    assert encoder_calls.exists()
    assert json.loads(next(Path("results/encoders").glob("*.json")).read_text())["images_per_second"] > 0


def test_a_cell_that_is_not_applicable_is_said_remembered_and_shown(run: Run, dataset: Path, encoder: str) -> None:
    words = ["run", "--encoder", f"pixels,{encoder}", "--tasks", f"{dataset}:peek,{dataset}:classification"]
    code, out, err = run(*words, "--fractions", "0.5,1", "--json")
    assert code == 0
    assert err == "clinic:peek is not applicable to pixels: it has no eyes\n"
    assert [row["task"] for row in json.loads(out)].count("clinic:peek") == 2
    code, out, err = run(*words, "--fractions", "0.5,1")
    assert (code, err) == (0, "clinic:peek is not applicable to pixels: it has no eyes\n")
    assert Path("attempts.txt").read_text().count("pixels") == 2  # one per label fraction, in the first run
    _, out, _ = run(*words, "--dry-run", "--json")
    states = {(row["encoder"], row["task"]): (row["state"], row["reason"]) for row in json.loads(out)}
    assert states["pixels", "clinic:peek"] == ("not applicable", "it has no eyes")
    assert states[encoder, "clinic:peek"] == ("done", "")
    code, text, _ = run("leaderboard", "--replicates", "100")
    assert code == 0
    (row,) = [line for line in text.splitlines() if line.startswith("| `pixels`") and "n/a" in line][:1]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["n/a"]
    assert "clinic:peek @ 50%: n/a for pixels: it has no eyes." in text
    assert "### Classification (peek): AUROC, 100% of the training labels" in text
    _, text, _ = run("leaderboard", "--replicates", "100", "--format", "json")
    peek = next(task for task in json.loads(text)["tasks"] if task["protocol"] == "peek")
    assert peek["not_applicable"] == {"pixels": "it has no eyes"}


def test_a_cell_that_is_not_applicable_is_tried_again_when_its_ingredients_change(
    run: Run, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", "--encoder", "pixels", "--tasks", f"{dataset}:peek"]
    run(*words)
    monkeypatch.setattr(f"{__name__}.PEEK", Peek(revision="2"))
    _, out, _ = run(*words, "--dry-run", "--json")
    assert [(row["state"], row["reason"]) for row in json.loads(out)] == [("stale", "protocol version changed")]
    next(Path("results/cells").glob("*/*/*/*.json")).write_text("{")
    _, out, _ = run(*words, "--dry-run", "--json")
    assert json.loads(out)[0]["state"] == "damaged"


def test_a_dataset_alone_means_what_it_can_serve_and_what_is_not_opt_in(run: Run, dataset: Path) -> None:
    _, out, _ = run("run", "--encoder", "random:micro", "--tasks", str(dataset), "--dry-run", "--json")
    tasks = {row["task"] for row in json.loads(out)}
    assert {"clinic:peek", "clinic:classification"} <= tasks
    assert "clinic:neighbour" not in tasks
    dataset.write_text(dataset.read_text().replace("bright", "dark"))
    _, out, err = run("run", "--encoder", "random:micro", "--tasks", str(dataset), "--dry-run", "--json")
    assert "clinic:peek" not in {row["task"] for row in json.loads(out)}
    assert "peek (it has no label bright)" in err
    assert len(err.splitlines()) == 1


def test_any_kind_of_cell_has_its_headline(run: Run, dataset: Path, encoder: str) -> None:
    code, out, _ = run("run", "--encoder", encoder, "--tasks", f"{dataset}:neighbour,{dataset}:peek", "--json")
    assert code == 0
    found = {row["task"]: (row["metric"], row["value"]) for row in json.loads(out)}
    rows = only("*/neighbour/*/*.parquet").rows
    assert found["clinic:neighbour"] == ("Recall@5", pytest.approx((rows["rank:image"] <= 5).mean(), abs=1e-4))
    _, text, _ = run("leaderboard", "--replicates", "100")
    assert text.index("### Classification (peek): AUROC\n") < text.index("### Retrieval (neighbour): Recall@5\n")
    assert "### Retrieval: other metrics" not in text
    assert "### Retrieval (neighbour): other metrics\n" in text


def test_options_reach_the_task_and_its_name(run: Run, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "minilm").mkdir()
    for name in ("net.pth", "dae.pth"):
        (tmp_path / name).touch()
    words = ["--decoder", "linear", "--finetune", "--augment", "2", "--epochs", "3", "--views", "all",
             "--preset", "spcl", "--text-encoder", "minilm", "--ecg-teacher", "net.pth", "--labs-teacher",
             "dae.pth"]  # fmt: skip
    _, out, _ = run("run", "--encoder", "pixels", "--tasks", f"{dataset}:peek", *words, "--dry-run", "--json")
    assert json.loads(out)[0]["task"] == (
        "clinic:peek+decoder=linear+finetune=True+augment=2+epochs=3+views=all+preset=spcl+text_encoder=minilm"
        "+ecg_teacher=net.pth+labs_teacher=dae.pth"
    )


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--decoder", "unetplus"], "choose from linear, unet, upernet"),
        (["--views", "3"], "choose from 1, 2, all"),
        (["--preset", "gloria"], "choose one of fane"),
        (["--text-encoder", "nowhere"], "no such folder"),
        (["--ecg-teacher", "nowhere.pth"], "no such file"),
        (["--cache-limit", "plenty"], "20GB"),
        (["--cache-limit", "20XB"], "20GB"),
        (["--folds", "2"], "3 or more"),
        (["--epochs", "0"], "--epochs"),
        (["--tasks", "DATA:peek+linear"], "by options such as --decoder"),
    ],
)
def test_a_bad_option_is_one_line(run: Run, dataset: Path, words: list[str], part: str) -> None:
    tasks = [] if "--tasks" in words else ["--tasks", str(dataset)]
    code, _, err = run("run", "--encoder", "pixels", *tasks, *[w.replace("DATA", str(dataset)) for w in words])
    assert code == 2
    assert part in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 20e9), ("0", 0), ("1.5 tb", 1.5e12), ("100MiB", 100 * 2**20), ("7", 7)]
)
def test_sizes(text: str, size: float) -> None:
    assert parse_bytes(text) == size


def test_names_with_options_are_file_names() -> None:
    assert safe_name("segmentation+unet+folds5") == "segmentation+unet+folds5"


def manifest(patients: list[str], **tables: Any) -> Manifest:
    n = len(patients)
    images = pd.DataFrame({
        "image_id": [f"i{i:03}" for i in range(n)], "patient_id": patients, "study_id": [f"s{i:03}" for i in range(n)],
        "view": "PA", "split": (["train", "val", "test"] * n)[:n], "path": "x", "bytes": 1,
        "bright": np.arange(n, dtype=np.float32) % 2,
    })  # fmt: skip
    return Manifest("made", Path(), images, ("bright",), **tables)


def test_nothing_of_the_test_images_is_seen() -> None:
    by_image = pd.DataFrame({"image_id": [f"i{i:03}" for i in range(6)], "label": "x"})
    by_study = pd.DataFrame({"study_id": [f"s{i:03}" for i in range(6)], "findings": "x"})
    whole = manifest(["p"] * 6, boxes=by_image, masks=by_image, reports=by_study, signals=by_study)
    seen = without_test_truth(whole)
    test = {"i002", "i005"}
    assert set(seen.images["image_id"][seen.images["bright"].isna()]) == test
    for name, column in (
        ("boxes", "image_id"),
        ("masks", "image_id"),
        ("reports", "study_id"),
        ("signals", "study_id"),
    ):
        left = getattr(seen, name)
        assert set(left[column].str[1:]) == {f"{i:03}" for i in (0, 1, 3, 4)}
        assert len(getattr(whole, name)) == 6
    assert without_test_truth(manifest(["p"] * 6)).boxes is None


@pytest.mark.parametrize("k", [3, 5])
def test_folds_are_by_patient_disjoint_and_deterministic(k: int) -> None:
    patients = [f"p{i // 3}" for i in range(120)]
    whole = manifest(patients)
    folds = kfold(whole, k, 1)
    splits = np.array([fold.images["split"] for fold in folds])
    for split in ("test", "val"):
        np.testing.assert_array_equal((splits == split).sum(0), 1)
    for row in splits:
        frame = pd.DataFrame({"patient": patients, "split": row})
        assert set(frame.groupby("patient")["split"].nunique()) == {1}
        assert abs((row == "test").sum() - 120 / k) <= 3
    np.testing.assert_array_equal(splits, [fold.images["split"] for fold in kfold(whole, k, 1)])
    assert (splits != np.array([fold.images["split"] for fold in kfold(whole, k, 2)])).any()


def test_an_image_without_a_patient_is_a_patient_of_its_own() -> None:
    splits = [fold.images["split"].tolist() for fold in kfold(manifest([""] * 9), 3, 0)]
    assert [one.count("test") for one in splits] == [3, 3, 3]
    assert (
        Folded.of(PROBE, 5).not_applicable(manifest(["a"] * 5 + ["b"] * 4)) == "it has 2 patients, fewer than 5 folds"
    )


def test_a_folded_cell_is_a_cell_of_its_own_and_pools_the_folds(
    run: Run, dataset: Path, encoder: str, encoder_calls: Path
) -> None:
    words = [
        "run",
        "--encoder",
        encoder,
        "--tasks",
        f"{dataset}:classification,{dataset}:neighbour",
        "--precision",
        "fp32",
    ]
    run(*words)
    calls = encoder_calls.read_text()
    code, out, _ = run(*words, "--folds", "4", "--json")
    assert code == 0
    assert [row["task"] for row in json.loads(out)] == [
        "clinic:classification+folds4"
    ]  # nothing is trained in the other
    assert encoder_calls.read_text() == calls
    plain, folded = only("*/classification/*/*.parquet"), only("*/classification+folds4/*/*.parquet")
    assert plain.cell["identity"] != folded.cell["identity"]
    rows = folded.test_rows()
    assert len(rows) == 120
    assert len(set(rows["image_id"])) == 120
    truth = registry.load_dataset(str(dataset), None, lambda: Path())
    np.testing.assert_array_equal(rows["target:bright"], truth.images["bright"])
    assert any("mean over the folds" in note for note in folded.notes)
    for i, fold in enumerate(kfold(truth, 4, 0)):
        mine = folded.rows[folded.rows["fold"] == i]
        for split in ("val", "test"):
            expected = fold.images["image_id"][fold.images["split"] == split]
            assert set(mine["image_id"][mine["split"] == split]) == set(expected)
    before = {path: pd.read_parquet(path) for path in Path("results").glob("cells/**/*.parquet")}
    code, out, _ = run(*words, "--folds", "4", "--json")
    assert (code, json.loads(out)) == (0, [])
    run(*words, "--folds", "4", "--results", "again")
    for path, content in before.items():
        if "folds4" in str(path):
            again = pd.read_parquet(Path("again") / path.relative_to("results"))
            pd.testing.assert_frame_equal(again, content, check_exact=True)


def test_the_store_holds_a_result_or_why_there_is_none_never_both(tmp_path: Path) -> None:
    store, cell = Results(tmp_path), Cell("a", "d", "p", parts={"x": "1"})
    rows = pd.DataFrame({"image_id": ["i"], "patient_id": ["p"], "split": ["test"]})
    facts = {"encoder": "a", "dataset": "d", "protocol": "p", "fraction": 1.0, "seed": 0, "identity": cell.identity}
    done = Predictions(rows, (), "multilabel", {}, False, cell={**facts, "parts": {"x": "1"}}, dataset={})

    def lost() -> None:
        raise LostError

    store.save(cell, done)
    with pytest.raises(LostError):
        store.save_not_applicable(cell, "no", synthetic=False, permit=lost)
    assert store.state(cell, allow_dropped=False) == ("done", "")
    store.save_not_applicable(cell, "no", synthetic=False)
    with pytest.raises(LostError):
        store.save(cell, done, lost)
    assert store.state(cell, allow_dropped=False) == ("not applicable", "no")
    assert [one.reason for one in store.load_not_applicable()] == ["no"]
    with pytest.raises(UserError, match="no finished cells"):
        store.load_predictions()
    store.save(cell, done)
    assert store.load_not_applicable() == []


def test_the_default_cache_limit_is_what_the_help_says() -> None:
    assert RunRequest.__dataclass_fields__["cache_limit"].default == parse_bytes("20GB")
