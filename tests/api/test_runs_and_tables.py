"""The Python face: what the command line does, as functions."""

import json
import re
import subprocess
import sys
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


def test_folders_may_be_texts_and_names_one_text(dataset: Path) -> None:
    task = f"{dataset}:classification"
    given = cxrbench.run("pixels", task, results="mine", cache="kept", fractions=0.5, device="cpu")
    assert [row["fraction"] for row in given.rows] == [0.5]
    assert list(Path("mine").glob("cells/**/*.parquet"))
    assert Path("kept/features").is_dir()
    assert str(api.leaderboard("mine", metrics="auroc,brier", replicates=100)).count("| Brier score") == 1
    assert len(cxrbench.load_dataset(str(dataset), data="nowhere", cache="kept")) > 0
