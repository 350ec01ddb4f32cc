"""The Python face: what the command line does, as functions."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import cxrbench
from cxrbench import api
from cxrbench.errors import UserError
from support.command import CommandLine

pytestmark = pytest.mark.usefixtures("folders")


def test_importing_it_costs_nothing() -> None:
    heavy = {"numpy", "pandas", "torch", "typer", "rich", "platformdirs"}
    code = f"import sys, cxrbench.api; print(cxrbench.__version__, sorted(set(sys.modules) & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1)[1] == "[]\n"
    assert all(hasattr(cxrbench, name) for name in cxrbench.__all__)
    assert set(cxrbench.__all__) <= set(dir(cxrbench))
    with pytest.raises(AttributeError, match="has no attribute 'evalute'"):
        cxrbench.evalute  # type: ignore[attr-defined]  # noqa: B018


def test_three_lines_run_an_encoder_and_show_a_table(
    encoder: str, dataset: Path, encoder_calls: Path, command_line: CommandLine, capsys: pytest.CaptureFixture[str]
) -> None:
    given = cxrbench.run([encoder, "pixels"], f"{dataset}:classification", precision="fp32")
    assert capsys.readouterr().out == ""
    assert [(row["encoder"], row["metric"]) for row in given.rows] == [(encoder, "AUROC"), ("pixels", "AUROC")]
    assert "AUROC" in str(given)
    html = replace(given, remarks=("<remark>",))._repr_html_()
    assert all(text in html for text in ("<table>", "pixels", "AUROC", "<p>&lt;remark&gt;</p>"))
    calls = encoder_calls.read_text()
    again = cxrbench.run(f"{encoder},pixels", [f"{dataset}:classification"], precision="fp32")
    assert (again.rows, encoder_calls.read_text()) == (given.rows, calls)
    cell = next(Path("results").glob("cells/*/*/pixels/*.parquet"))
    damaged = bytearray(cell.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    cell.write_bytes(damaged)
    mended = cxrbench.run("pixels", f"{dataset}:classification", precision="fp32")
    assert (mended.rows, cell.read_bytes() == damaged) == (given.rows[1:], False)
    for words, text in (
        (["leaderboard", "--replicates", "100"], api.leaderboard(replicates=100).to_markdown()),
        (["compare", "pixels", encoder, "--json"], cxrbench.compare("pixels", encoder).to_json()),
    ):
        assert command_line(*words) == (0, text, "")
    whole = json.loads(api.leaderboard(replicates=100, rope=0.02).to_json())
    assert whole["records"]
    assert whole["rope"] == 0.02


def test_what_fails_or_cannot_be_asked_has_a_row_that_says_why(encoder: str, dataset: Path) -> None:
    broken = encoder.replace("Mine", "Broken")
    given = cxrbench.run([broken, encoder], [f"{dataset}:classification", f"{dataset}:zero-shot"])
    metrics = [row["metric"] for row in given.rows]
    assert "failed: " in metrics[0]
    assert "NaN" in metrics[0]
    assert metrics[2] == "AUROC"
    assert metrics[3].startswith("not applicable: ")


def test_encoders_and_datasets_by_name(dataset: Path) -> None:
    manifest = cxrbench.load_dataset(str(dataset))
    assert (len(manifest), manifest.labels) == (120, ("bright", "coin"))
    pixels = cxrbench.load_encoder("pixels")
    size = pixels.preprocess.size
    assert pixels(torch.zeros(2, pixels.preprocess.channels, size, size)).pooled.shape == (2, 256)


@pytest.mark.parametrize(
    ("encoders", "settings", "message"),
    [
        (3, {}, "encoders are 3: give names in a list"),
        ("pixels", {"fractions": "1"}, "fractions='1': give numbers"),
        ("pixels", {"seeds": 0}, "seeds=0: give a whole number of 1 or more"),
        ("pixels", {"folds": 3.5}, "folds=3.5: give a whole number"),
        ("pixels", {"results": 3}, "results=3: give a path"),
        ("pixels", {"finetune": "no"}, "finetune='no': give True or False"),
        ("pixels", {"views": 1}, "views=1: give a text"),
        ("pixels", {"result": "r"}, "unknown setting 'result': did you mean 'results'? known: "),
    ],
)  # fmt: skip
def test_a_wrong_type_is_one_line(encoders: Any, settings: Any, message: str, dataset: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        cxrbench.run(encoders, f"{dataset}:classification", **settings)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: cxrbench.run("pixels", "x", progress=True), "progress=True: give a Progress"),  # type: ignore[arg-type]
        (lambda: cxrbench.read_run_file(3), "path=3: give a text or a path"),  # type: ignore[arg-type]
        (lambda: api.leaderboard(replicates="many"), "replicates='many': give a whole number of 100 or more"),  # type: ignore[arg-type]
        (lambda: api.leaderboard(replicates=0), "replicates=0: give a whole number of 100 or more"),
        (lambda: api.leaderboard(seed="x"), "seed='x': give a whole number of 0 or more"),  # type: ignore[arg-type]
        (lambda: api.leaderboard(rope="x"), "rope='x': give a number"),  # type: ignore[arg-type]
        (lambda: api.by_group("sex", seed=-1), "seed=-1: give a whole number of 0 or more"),
        (lambda: cxrbench.compare("a", "b", margin="x"), "margin='x': give a number"),  # type: ignore[arg-type]
        (lambda: api.compare_protocols("a", "b,c", margin=True), "margin=True: give a number"),
        (lambda: api.leaderboard_of_protocols("a", "b", replicates=9), "replicates=9: give a whole number"),
        (lambda: cxrbench.calibration(replicates=2.5), "replicates=2.5: give a whole number"),  # type: ignore[arg-type]
        (lambda: cxrbench.pretrain(None, "x"), "the method is a NoneType: it is named here"),  # type: ignore[arg-type]
        (lambda: cxrbench.pretrain("spcl", "x.csv", epoch=3), "unknown setting 'epoch': did you mean 'epochs'?"),  # type: ignore[call-arg]
        (lambda: cxrbench.pretrain("spcl", "x.csv", epochs="3"), "epochs='3': give a whole number"),  # type: ignore[arg-type]
        (lambda: cxrbench.pretrain("spcl", "x.csv", lr="1e-3"), "lr='1e-3': give a number"),  # type: ignore[arg-type]
        (lambda: cxrbench.pretrain("spcl", "x.csv", betas=0.9), "betas=0.9: give 2 numbers"),  # type: ignore[arg-type]
        (lambda: cxrbench.pretrain("spcl", "x.csv", half=1), "half=1: give True or False"),  # type: ignore[arg-type]
        (lambda: cxrbench.pretrain("spcl", "x.csv", options=["ratio=1"]), "options=['ratio=1']: give a dict"),  # type: ignore[arg-type]
        (lambda: api.pretraining_recipe("spcl", epochs=1.5), "epochs=1.5: give a whole number"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_wrong_type_is_one_line_of_every_question(ask: Callable[[], object], message: str) -> None:
    Path("x.csv").write_text("image\n")
    with pytest.raises(UserError, match=re.escape(message)) as told:
        ask()
    assert "\n" not in str(told.value)


def test_folders_may_be_texts_and_names_one_text(dataset: Path) -> None:
    task = f"{dataset}:classification"
    given = cxrbench.run("pixels", task, results="mine", cache="kept", fractions=0.5, device="cpu")
    assert [row["fraction"] for row in given.rows] == [0.5]
    assert list(Path("mine").glob("cells/**/*.parquet"))
    assert Path("kept/features").is_dir()
    assert str(api.leaderboard("mine", metrics="auroc,brier", replicates=100)).count("| Brier score") == 1
    assert len(cxrbench.load_dataset(str(dataset), data="nowhere", cache="kept")) > 0
