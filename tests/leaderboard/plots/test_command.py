"""``cxrbench plot`` on a results folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrbench.engine.results import Results
from cxrbench.predictions import Predictions
from cxrbench.task import Cell
from support.command import CommandLine

pytestmark = pytest.mark.usefixtures("folders")


@pytest.fixture
def store(made_up: Any) -> Path:
    """Two encoders on two data sets."""
    results = Results(Path("results"))
    for encoder, strength in (("spcl", 2.0), ("random", 0.3)):
        for dataset in ("vindr", "siim"):
            made: Predictions = made_up(encoder, dataset, strength=strength)
            made = replace(made, encoder={**made.encoder, "name": encoder, "fingerprint": encoder})
            results.save(Cell(encoder, dataset, "classification"), made)
    return results.root


def test_pictures_are_listed_and_drawn(store: Path, command_line: CommandLine) -> None:
    code, said, _ = command_line("plot", "list")
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()][:3] == ["forest", "matrix", "ranks"]
    words = ["--replicates", "100", "--names", "spcl=S-PCL"]
    code, said, problem = command_line("plot", "forest", "-o", "one.pdf", "--width", "single", *words)
    assert (code, said) == (0, "one.pdf: AUROC · classification\n")
    assert problem.startswith("not on it: AUPRC · classification; ")
    assert problem.endswith("choose by --metrics, --tasks and --fraction\n")
    assert command_line("plot", "forest", "-o", "two.pdf", "--width", "single", "--metrics", "auroc", *words)[0] == 0
    assert Path("one.pdf").read_bytes() == Path("two.pdf").read_bytes()
    for name in ("roc", "reliability"):
        code, _, _ = command_line("plot", name, "-o", f"{name}.svg", "--encoders", "S-PCL", "--names", "spcl=S-PCL")
        assert (code, Path(f"{name}.svg").is_file()) == (0, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pie", "-o", "a.png"], "no picture 'pie': choose from forest, matrix"),
        (["forest"], "where to? Add -o forest.pdf"),
        (["forest", "-o", "a.gif"], "ends in .png, .svg, .pdf"),
        (["forest", "-o", "a.png", "--width", "wide"], "--width is single or double, not 'wide'"),
        (["forest", "-o", "a.png", "--by", "sex"], "forest is of no groups of patients: leave out --by"),
        (["groups", "-o", "a.png"], "groups: say --by sex, age, view, site or scanner"),
        (["forest", "-o", "a.png", "--label", "Edema"], "forest is not of one label: leave out --label"),
        (["roc", "-o", "a.png", "--metrics", "auprc"], "roc is of scores, with no metric and no baseline"),
        (["fractions", "-o", "a.png", "--fraction", "1"], "fractions is of all label fractions: leave out --fraction"),
        (["roc", "-o", "a.png", "--label", "Hernia"], "no task has curves of it"),
        (["roc", "-o", "a.png", "--encoders", "mae"], "--encoders mae: the results have random, spcl"),
        (["forest", "-o", "a.png", "--results", "nowhere"], "no finished cells in nowhere: run `cxrbench run` first"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    words: list[str], message: str, store: Path, command_line: CommandLine
) -> None:
    code, _, problem = command_line("plot", *words, "--replicates", "100")
    assert (code, problem.count("\n")) == (2, 1)
    assert message in problem
    assert not list(Path().glob("a.*"))
