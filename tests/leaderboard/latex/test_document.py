"""A board as LaTeX: what is in the tables is what is in the records, and LaTeX reads it."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.latex.document import to_latex
from cxrbench.leaderboard.tables import build
from support.latex_tables import faults, tabulars

EVIL = 'a_b@<script>"x" & 50% \\cmd{y} [z] ~^#$ שלום \u202e 胸片 é--ü*|`'
LABEL = "[x] & _y_ \\\\ %"


@pytest.fixture
def board(made_up: Callable) -> Board:
    """Two real sets at two label fractions, and a synthetic one; names are hostile."""
    cells = []
    for encoder, strength in (("random", 0.3), ("spcl", 1.4), (EVIL, 1.0)):
        seen = ("nih",) if encoder == "spcl" else ()
        for dataset in ("vindr", "nih"):
            cells.append(made_up(encoder, dataset, strength, pretrained_on=seen))
            cells.append(made_up(encoder, dataset, strength, labels=(LABEL,), fraction=0.1))
        cells.append(made_up(encoder, "rsna", strength, labels=("Pneumonia",), synthetic=True))
    return build(cells, baseline="random", replicates=200, efficiency={"spcl": {"parameters": 86_000_000, "x_y": 1.5}})


def test_every_row_has_all_columns_and_nothing_in_a_name_is_a_command(board: Board) -> None:
    text = to_latex(board, Look(labels=("all",)))
    assert faults(text) == []
    assert len(tabulars(text)) == 13  # headlines, over all columns, labels, other metrics, costs
    assert "\u202e" not in text


def test_the_checker_sees_what_latex_would_stumble_over() -> None:
    good = (
        "\\begin{tabular}{lS[table-format=1.3]@{\\,}l}\nA & \\multicolumn{2}{c}{B} \\\\\na & 1 & \\\\\n\\end{tabular}\n"
    )
    assert faults(good) == []
    for bad in (good.replace("a & 1 & ", "a & 1"), good + "{", good + "a_b", good + "50%", good[:-15], "}{" + good):
        assert faults(bad) != [], bad


def test_cells_have_value_place_marks_interval_and_letters_of_the_records(board: Board) -> None:
    text = to_latex(board)
    (_, rows), *_ = tabulars(text)
    for encoder in ("spcl", "random"):
        row = next(row for row in rows if row.startswith(f"\\texttt{{{encoder}}}"))
        for dataset, at in (("nih", 1), ("vindr", 3)):
            r = next(
                r for r in board.records
                if (r.encoder, r.dataset, r.metric, r.label, r.fraction) == (encoder, dataset, "auroc", "macro", 1.0)
            )  # fmt: skip
            value, beside = row.split(" & ")[at : at + 2]
            assert re.findall(r"\d\.\d{3}", value) == [f"{r.value:.3f}"]
            assert re.findall(r"\d\.\d{3}", beside) == [f"{r.lower:.3f}", f"{r.upper:.3f}"]
            marks = ("*" if r.p_holm < 0.05 else "") + r.tie_group
            assert beside.split("\\textsuperscript")[1].strip() == f"{{{marks}}}"
            assert ("dagger" in beside) == r.contaminated
    best = [re.search(r"bfseries (\S+)", row) for row in rows]
    assert any(best)
    assert text.count("{\\underline{\\num{") > 0


def test_synthetic_tables_are_stamped_and_others_are_not(board: Board) -> None:
    captions = re.findall(r"\\caption\{(.*)\}\n", to_latex(board))
    assert captions.pop() == "Efficiency"
    stamped = ["SYNTHETIC DATA" in caption for caption in captions]
    assert stamped == sorted(stamped)  # real ones first
    assert sum(stamped) == 2


def test_an_sd_stands_in_the_place_of_an_interval(made_up: Callable) -> None:
    cells = [made_up(name, strength=s, seed=seed) for name, s in (("a", 1.0), ("b", 2.0)) for seed in range(3)]
    found = build(cells, replicates=100)
    text = to_latex(found, Look(spread="sd"))
    sds = [r.sd_seeds for r in found.records if r.metric == "auroc" and r.label == "macro"]
    assert {f"$\\pm$ \\num{{{sd:.3f}}}" for sd in sds} == set(re.findall(r"\$\\pm\$ \\num\{[\d.]+\}", text))


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here: the checker alone has read it")
def test_latex_itself_reads_it(board: Board, tmp_path: Path) -> None:
    text = to_latex(board, Look(labels=("all",)))
    (tmp_path / "board.tex").write_text(text)
    needed = "\n".join(re.findall(r"(?m)^%\s+(\\usepackage.*)$", text))
    (tmp_path / "paper.tex").write_text(
        f"\\documentclass{{article}}\n{needed}\n\\begin{{document}}\n\\input{{board}}\n\\end{{document}}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=600)
    if "siunitx.sty' not found" in done.stdout or "adjustbox.sty' not found" in done.stdout:
        pytest.skip("pdflatex is here without siunitx or adjustbox")
    assert done.returncode == 0, done.stdout[-2000:]
    assert not re.search(r"(?m)^!|Missing character", (tmp_path / "paper.log").read_text(errors="replace"))
