"""A paper's recipe through the command line: its split, its reading of labels, its fractions, its name in the table."""

import json
from pathlib import Path

import numpy as np
import pytest

from cxrbench.predictions import Predictions
from support.command import cxrbench

pytestmark = pytest.mark.usefixtures("folders")


def test_a_presets_cells_carry_its_name_and_its_reading_of_the_labels(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = dataset.read_text().splitlines()
    blank = [",".join([*line.split(",")[:3], ""]) if i % 5 == 1 else line for i, line in enumerate(lines)]
    dataset.write_text("\n".join(blank) + "\n")
    words = ["run", "--encoder", "pixels", "--tasks", f"{dataset}:classification", "--precision", "fp32", "--json"]
    for extra in ([], ["--preset", "mvmae:paper", "--epochs", "1"]):
        assert cxrbench(monkeypatch, capsys, *words, *extra)[0] == 0
    cells = {p.cell["protocol"]: p for p in map(Predictions.load, Path("results").glob("cells/*/*/*/*.parquet"))}
    plain, paper = cells["classification"], cells["classification+preset-mvmae-paper+epochs1"]
    assert plain.test_rows()["target:coin"].isna().any()
    assert not paper.test_rows()["target:coin"].isna().any()
    assert any("Unknown labels count as negative" in note for note in paper.dataset["notes"])
    assert len(paper.test_rows()) == len(plain.test_rows())
    assert np.isfinite(paper.test_rows()["score:coin"]).all()


def test_a_preset_brings_the_fractions_and_seeds_of_its_paper_unless_they_are_given(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def planned(*extra: str) -> list[tuple[float, int]]:
        words = ["run", "--encoder", "pixels", "--tasks", f"{dataset}:classification", "--dry-run", "--json", *extra]
        code, out, _ = cxrbench(monkeypatch, capsys, *words)
        assert code == 0
        return [(row["fraction"], row["seed"]) for row in json.loads(out)]

    assert planned() == [(1.0, 0)]
    assert planned("--preset", "fane") == [(0.01, 0), (0.1, 0), (1.0, 0)]
    assert planned("--preset", "radjepa") == [(1.0, seed) for seed in range(5)]
    assert planned("--preset", "radjepa", "--fractions", "0.5", "--seeds", "1") == [(0.5, 0)]


def test_a_preset_with_a_bare_dataset_plans_what_the_paper_has_and_names_the_rest(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--encoder", "pixels", "--tasks", str(dataset), "--dry-run", "--json", "--fractions", "1"]
    code, out, told = cxrbench(monkeypatch, capsys, *words, "--preset", "fane")
    assert code == 0
    assert {row["task"] for row in json.loads(out)} == {"clinic:classification+preset-fane"}
    for protocol in ("knn", "retrieval", "text-retrieval", "physiology", "zero-shot"):
        assert f"{protocol} (preset fane has no recipe for {protocol})" in " ".join(told.split())
