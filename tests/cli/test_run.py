"""Whole runs through the command line: plan, skip, resume, stale, bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cxrbench.predictions import Predictions, read_header
from support.command import cxrbench

pytestmark = pytest.mark.usefixtures("folders")


@pytest.fixture
def run_words(encoder: str, dataset: Path) -> list[str]:
    return ["run", "--encoder", f"{encoder},pixels", "--tasks", f"{dataset}:classification", "--fractions", "0.2,1",
            "--seeds", "2", "--precision", "fp32", "--batch-size", "8"]  # fmt: skip


def cells(results: Path) -> dict[str, bytes]:
    """Every cell's rows and header to the bit, but for when it was made and how long that took."""
    found = {}
    for path in sorted(results.glob("cells/**/*.parquet")):
        header = read_header(path)
        assert header.pop("made")["date"]
        sink = pa.BufferOutputStream()
        table = pq.read_table(path).replace_schema_metadata({"header": json.dumps(header, sort_keys=True)})
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        found[str(path.relative_to(results))] = sink.getvalue().to_pybytes()
    return found


def test_run_twice(
    run_words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], encoder_calls: Path
) -> None:
    code, out, _ = cxrbench(monkeypatch, capsys, *run_words, "--json")
    assert code == 0
    rows = json.loads(out)
    assert [(r["fraction"], r["seed"]) for r in rows] == [(0.2, 0), (0.2, 1), (1.0, 0)] * 2
    assert (rows[2]["metric"], rows[2]["value"] > 0.6) == ("AUROC", True)
    before, calls = cells(Path("results")), encoder_calls.read_text()
    code, out, _ = cxrbench(monkeypatch, capsys, *run_words, "--json")
    assert (code, json.loads(out)) == (0, [])
    assert (cells(Path("results")), encoder_calls.read_text()) == (before, calls)


def test_predictions_hold_validation_and_test_rows_with_true_targets(
    run_words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dataset: Path
) -> None:
    cxrbench(monkeypatch, capsys, *run_words)
    predictions = Predictions.load(next(Path("results").glob("cells/*/*/pixels/fraction-1-seed-0.parquet")))
    truth = pd.read_csv(dataset).set_index("image")
    assert set(predictions.rows["split"]) == {"val", "test"}
    assert set(predictions.labels) == {"bright", "coin"}
    named = {Path(p).name: p for p in truth.index}
    for name, target in zip(predictions.rows["image_id"], predictions.rows["target:bright"], strict=True):
        assert target == truth.loc[named.get(name) or named[f"{name}.png"], "bright"]


def test_dry_run_says_done_missing_and_stale_and_why(
    run_words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dataset: Path
) -> None:
    def states() -> list[tuple[str, str]]:
        _, out, _ = cxrbench(monkeypatch, capsys, *run_words, "--dry-run", "--json")
        return [(row["state"], row["reason"]) for row in json.loads(out)]

    assert {state for state, _ in states()} == {"missing"}
    assert not Path("results").exists()
    cxrbench(monkeypatch, capsys, *run_words)
    assert {state for state, _ in states()} == {"done"}
    text = dataset.read_text()
    dataset.write_text(text.replace("119.png,p59,0", "119.png,p59,1", 1) if "p59,0" in text else text + "\n")
    run_words[run_words.index("fp32")] = "bf16"
    assert all(state == "stale" and "precision" in why for state, why in states())
    run_words[run_words.index("bf16")] = "fp32"
    Path("mine.py").write_text(Path("mine.py").read_text() + "\n# edited\n")
    stale = states()
    assert all(state == "stale" and "encoder source" in why for state, why in stale[:3])
    shutil.rmtree(dataset.parent)
    assert {state for state, _ in states()} == {"blocked"}


def test_sigkill_at_any_moment_then_again_gives_the_same_bits(
    run_words: list[str], tmp_path: Path, encoder_calls: Path
) -> None:
    """Killed at its fourth call, begun again, killed once more six calls later, and then let be."""
    command = [sys.executable, "-m", "cxrbench", *run_words]
    whole = subprocess.run([*command, "--results", "whole", "--cache", "cache-whole"], check=True, capture_output=True)
    assert b"6 cells computed" in whole.stdout
    encoder_calls.unlink()
    again = [*command, "--results", "killed", "--cache", "cache-killed"]
    for calls in ("3", "9"):
        killed = subprocess.run(again, env=os.environ | {"DIE_AFTER": calls}, capture_output=True)
        assert killed.returncode == -signal.SIGKILL
    subprocess.run(again, check=True, capture_output=True)
    assert cells(Path("whole")) == cells(Path("killed"))


def test_bad_images_can_be_skipped_and_are_counted(
    run_words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dataset: Path
) -> None:
    dataset.with_name("011.png").write_bytes(b"not a picture")
    code, _, err = cxrbench(monkeypatch, capsys, *run_words)
    assert code == 1
    assert "6 of the cells failed" in err
    assert [line.count("011.png") for line in err.splitlines()] == [0, 0, 0, 1, 1]  # a row per encoder
    code, _, err = cxrbench(monkeypatch, capsys, *run_words, "--on-bad-image", "skip")
    assert (code, err.count("1 unreadable image of ")) == (0, 1)  # one line, though each of six cells dropped it
    predictions = Predictions.load(next(Path("results").glob("cells/*/*/pixels/fraction-1-seed-0.parquet")))
    assert predictions.dataset["dropped"] == 1
    assert any("1 unreadable" in note for note in predictions.notes)
    _, out, _ = cxrbench(monkeypatch, capsys, *run_words, "--dry-run", "--json")
    assert {row["state"] for row in json.loads(out)} == {"stale"}  # strict again: the dropped image counts


PICKLE_WITH_CODE = b"cos\nsystem\n(S'touch hacked'\ntR."


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--encoder", "imagnet", "--tasks", "DATA"], "did you mean 'imagenet'"),
        (["--encoder", "pixels", "--tasks", "vinder", "--data", "."], "did you mean 'vindr'"),
        (["--encoder", "pixels", "--tasks", "DATA:clasification"], "did you mean 'classification'"),
        (["--encoder", "pixels", "--tasks", "vindr", "--data", "."], "no folder vindr"),
        (["--encoder", "pixels", "--tasks", "vindr", "--data", "./nowhere"], "no data folder"),
        (["--encoder", "pixels", "--tasks", "./none.csv"], "none.csv"),
        (["--encoder", "spcl", "--tasks", "DATA"], "pretrain"),
        (["--encoder", "spcl@evil.pt", "--tasks", "DATA"], "evil.pt"),
        (["--encoder", "timm:vit_tiny_patch16_224@evil.pt", "--tasks", "DATA"], "evil.pt"),
        (["--encoder", "MINE:Absent", "--tasks", "DATA"], "Absent"),
        (["--encoder", "pixels", "--tasks", "DATA", "--fractions", "0,1"], "label fraction"),
        (["--encoder", "pixels", "--tasks", "DATA", "--fractions", "x"], "--fractions"),
        (["--encoder", "pixels", "--tasks", "DATA", "--device", "tpu9"], "device"),
        (["--encoder", "pixels", "--tasks", "DATA", "--on-bad-image", "ignore"], "--on-bad-image"),
        (["--encoder", ",", "--tasks", "DATA"], "no encoder"),
        (["--encoder", "pixels"], "--tasks"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str],
    part: str,
    encoder: str,
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("evil.pt").write_bytes(PICKLE_WITH_CODE)
    words = [w.replace("DATA", str(dataset)).replace("MINE", encoder.rpartition(":")[0]) for w in words]
    code, _, err = cxrbench(monkeypatch, capsys, "run", *words)
    assert code == 2
    assert part in err
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1
    assert not Path("hacked").exists()


def test_a_checkpoint_of_another_architecture_names_the_keys(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), "resnet.safetensors")
    code, _, err = cxrbench(
        monkeypatch, capsys, "run", "--encoder", "timm:vit_tiny_patch16_224@resnet.safetensors", "--tasks", str(dataset)
    )
    assert code == 2
    assert "cls_token" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["leaderboard", "--help"], ["compare", "--help"],
                                   ["pretrain", "--help"], ["data", "check", "--help"], ["encoders", "list"],
                                   ["tasks", "list"], ["data", "list"], ["--version"]])  # fmt: skip
def test_help_and_lists(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = cxrbench(monkeypatch, capsys, *words)
    assert (code, err) == (0, "")
    assert "cxrbench" in out or words[-1] == "list"


def test_a_bad_image_and_a_folder_as_output_say_what_to_do(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--encoder", "pixels", "--tasks", f"{dataset}:classification"]
    (dataset.parent / "003.png").write_bytes(b"no image")
    code, out, err = cxrbench(monkeypatch, capsys, *words)
    assert (code, "Next:" in out, "--on-bad-image skip" in err) == (1, False, True)
    code, out, _ = cxrbench(monkeypatch, capsys, *words, "--on-bad-image", "skip")
    assert (code, "Next:" in out) == (0, True)
    code, _, err = cxrbench(monkeypatch, capsys, "leaderboard", "--replicates", "100", "-o", str(dataset.parent))
    assert (code, "name a file in it" in err) == (2, True)
