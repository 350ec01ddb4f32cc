"""Printed figures beside a board: the right ones, in our unit, with what differs, never tested, none lost."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from cxrbench.api.forms import Leaderboard
from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.latex.document import to_latex
from cxrbench.leaderboard.markdown import to_markdown
from cxrbench.leaderboard.published.figure import PublishedFigure
from cxrbench.leaderboard.published.matching import beside
from cxrbench.leaderboard.tables import build
from cxrbench.papers.conditions import conditions
from cxrbench.papers.published import PAPERS, published
from cxrbench.predictions import Predictions
from support.latex_tables import faults

FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
RESULTS = ("linear", "finetune", "segmentation", "detection", "physiology")


def of_protocol(one: Predictions, protocol: str) -> Predictions:
    return replace(one, cell={**one.cell, "protocol": protocol})


@pytest.fixture
def cells(made_up: Callable) -> list[Predictions]:
    found = []
    for encoder in ("random", "cxr:rad-dino", "spcl@runs/x.ckpt"):
        found.append(made_up(encoder, "vindr", labels=("Lung Opacity", "Cardiomegaly")))
        found.append(made_up(encoder, "rsna", labels=("Pneumonia",)))
        found.append(made_up(encoder, "rsna", labels=("Pneumonia",), fraction=0.1))
        found.append(of_protocol(made_up(encoder, "chexpert", labels=FIVE), "finetune"))
        found.append(made_up(encoder, "nih", labels=("Mass",), synthetic=True))
    return found


@pytest.fixture
def board(cells: list[Predictions]) -> Board:
    return build(cells, baseline="random", replicates=100)


def of(board: Board, **wanted: str) -> list[PublishedFigure]:
    return [
        one for one in beside(board).figures
        if all(str(getattr(one, name)) == value for name, value in wanted.items())
    ]  # fmt: skip


def test_figures_stand_beside_their_task_metric_label_and_fraction_in_our_unit(board: Board) -> None:
    aggregate, opacity = of(board, encoder="RadJEPA", metric="auprc")[:2]
    found = {(one.task.dataset, one.label): one.printed for one in of(board, encoder="RadJEPA", metric="auprc")}
    assert found[aggregate.task.dataset, "macro"] == "0.552"
    assert found == {("vindr", "macro"): "0.552", ("vindr", "Lung Opacity"): found["vindr", "Lung Opacity"],
                     ("vindr", "Cardiomegaly"): "0.726", ("rsna", "macro"): "0.727"}  # fmt: skip
    assert opacity.value == float(opacity.printed)
    tenth = {one.encoder: one.printed for one in of(board, metric="auroc", label="macro") if one.task.fraction == 0.1}
    assert tenth["MGCA"] == "0.891"  # FaNe, Table 2: 89.1
    assert all(-0.02 <= one.value <= 1 for one in beside(board).figures)


def test_none_is_lost_none_is_beside_synthetic_results_and_none_is_of_another_protocol(board: Board) -> None:
    found = beside(board)
    here = {"vindr", "rsna", "chexpert"}
    known = [
        one for paper in PAPERS for one in published(paper)
        if one.dataset in here and one.protocol in RESULTS and one.metric != "significance"
    ]  # fmt: skip
    known = [one for one in known if not one.row.startswith("Δ")]
    twice = Counter((one.paper, one.row, one.dataset, one.protocol, one.metric, one.label, one.fraction, one.value)
                    for one in known)  # fmt: skip
    left = sum(map(int, re.findall(r"(\d+) of ", found.left_out[-1])))
    of_row = {(one.row, one.task, one.metric, one.label, one.printed) for one in found.figures}
    repeats = sum(times - 1 for key, times in twice.items() if times > 1 and key[3] in ("linear", "finetune"))
    assert len(of_row) == len(found.figures)
    assert len(known) - repeats <= len(found.figures) + left <= len(known)
    assert not any(one.task.synthetic or one.task.dataset == "nih" for one in found.figures)
    assert "none stands beside synthetic results" in found.left_out[0]
    assert {one.paper for one in found.figures if one.task.protocol == "finetune"} == {"S-PCL"}


def test_what_differs_is_said_of_each(board: Board) -> None:
    (fane,) = [one for one in of(board, encoder="FaNe (Ours, ResNet-50)") if one.task.fraction == 1]
    assert fane.differs == (
        "split 16,010/5,337/5,337", "5,337 images (here 160)", "224 px", "checkpoint by lowest validation loss",
    )  # fmt: skip
    mgca = next(one for one in of(board, encoder="MGCA") if one.task.fraction == 1)
    assert mgca.differs[0] == "copied from its publication"
    assert "n not said (here 160)" in mgca.differs
    whole = next(one for one in of(board, encoder="RadJEPA", label="macro") if one.task.dataset == "vindr")
    assert "mean over 6 labels (here 2)" in whole.differs
    assert "mean of five seeds" in whole.differs
    own = next(one for one in of(board, encoder="S-PCL (Ours)", label="macro"))
    assert own.ours == ("spcl@runs/x.ckpt",)
    assert "here weights of your own: spcl@runs/x.ckpt" in own.differs
    assert not any("mean over 5" in phrase for phrase in own.differs)  # the same five labels as here


def test_a_label_that_is_left_out_of_our_mean_is_not_counted(made_up: Callable) -> None:
    def without_opacity(one: Predictions) -> Predictions:
        rows = one.rows.assign(**{"target:Lung Opacity": (one.rows["image_id"] < "i0006").astype(float)})
        return replace(one, rows=rows)

    labels = ("Lung Opacity", "Cardiomegaly", "Pleural effusion")
    board = build([without_opacity(made_up(e, "vindr", labels=labels)) for e in ("a", "b")], replicates=100)
    one = of(board, encoder="RadJEPA", metric="auprc", label="macro")[0]
    assert "mean over 6 labels (here 2)" in one.differs


def test_a_paper_that_prints_two_values_has_both_and_each_says_so(board: Board) -> None:
    two = of(board, encoder="Medical MAE", label="macro")
    assert [one.printed for one in two if one.task.fraction == 1] == ["0.892", "0.893"]
    assert "the paper has 0.893 in Table 2" in two[0].differs
    assert "the paper has 0.892 in Table 1" in two[1].differs


def test_what_fits_two_places_is_named_in_both(made_up: Callable) -> None:
    cells = [made_up(e, "rsna", labels=("Pneumonia",)) for e in ("cxr:rad-dino@a", "cxr:rad-dino@b")]
    cells += [of_protocol(one, "linear") for one in cells]
    found = of(build(cells, replicates=100), encoder="RAD-DINO*", metric="auroc")
    assert [one.task.protocol for one in found] == ["classification", "linear"]
    for one in found:
        assert "may stand beside rsna:classification or rsna:linear" in one.differs
        assert "may be of cxr:rad-dino@a or cxr:rad-dino@b" in one.differs


def test_in_markdown_they_are_in_italics_and_nothing_of_ours_changes(board: Board) -> None:
    def lines(text: str) -> list[str]:
        return [re.sub(r" +|-{2,}", " ", line).replace("| |", "|") for line in text.splitlines() if "---" not in line]

    look = Look(labels=("Lung Opacity",))
    without, text = to_markdown(board), to_markdown(board, Look(), beside(board))
    assert [line for line in lines(without) if line not in lines(text)] == []
    added = [line for line in text.splitlines() if re.match(r"\| (\w+:\S+.*\| )?\*\w", line) and "*test" not in line]
    added = [line for line in added if "*smallest" not in line]
    assert len(added) > 20
    for line in added:
        assert not re.search(r"\*\*|<u>|\\\*[^ ]* \||\[", line.replace("\\*", "")), line
        assert re.search(r"\*\d\.\d+\*[⁰¹²³⁴⁵⁶⁷⁸⁹]+", line), line
    numbers = set(re.findall(r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+", "\n".join(added)))
    assert numbers <= set(re.findall(r"(?m)^- ([⁰¹²³⁴⁵⁶⁷⁸⁹]+) ", text))
    assert "*RadJEPA (RadJEPA)*" in to_markdown(build_auprc(board), look, beside(build_auprc(board)))


def build_auprc(board: Board) -> Board:
    """With AUPRC as the headline, of which RadJEPA has labels."""
    columns = tuple(replace(c, metrics=("auprc",)) for c in board.columns)
    return replace(board, columns=columns, records=tuple(r for r in board.records if r.metric == "auprc"), overall={})


def test_csv_and_json_tell_them_from_ours(board: Board) -> None:
    plain, marked = Leaderboard(board, Look()), Leaderboard(board, Look(), published=beside(board))
    ours = list(csv.DictReader(io.StringIO(plain.to_csv())))
    rows = list(csv.DictReader(io.StringIO(marked.to_csv())))
    assert [{k: v for k, v in row.items() if k not in ("published", "differs")} for row in rows[: len(ours)]] == ours
    assert {row["published"] for row in rows[: len(ours)]} == {""}
    figures = rows[len(ours) :]
    assert len(figures) == len(beside(board).figures)
    for row in figures:
        assert row["published"]
        assert row["differs"]
        assert not any(
            row[name] for name in ("lower", "upper", "p", "p_holm", "tie_group", "gain", "seeds", "patients")
        )
    whole = json.loads(marked.to_json())
    assert whole["records"] == json.loads(plain.to_json())["records"]
    assert len(whole["published"]) == len(figures)
    assert "published" not in json.loads(plain.to_json())
    assert len(marked.to_pandas()) == len(ours)


def test_in_latex_every_row_has_its_columns_and_every_number_its_note(board: Board) -> None:
    text = to_latex(board, Look(labels=("all",)), beside(board))
    assert faults(text) == []
    first = text[: text.index("\\end{table}")]
    used = set(re.findall(r"& \\textsuperscript\{(\d+)\}", first))
    assert used
    assert used <= set(re.findall(r" \\textsuperscript\{(\d+)\}[A-Z]", first))


def test_a_method_in_imported_splits_says_whose_data_they_are(made_up: Callable) -> None:
    one = next(iter(beside(build([made_up("a", "rsna.mgca", labels=("Pneumonia",))], replicates=100)).figures))
    assert "here the data are rsna.mgca" in one.differs


def test_conditions_name_labels_that_the_papers_print(board: Board) -> None:
    del board
    for paper in PAPERS:
        for one in published(paper):
            said = conditions(one)
            assert said.title
            if said.names:
                assert len(said.names) == said.labels
                printed = {x.label for x in published(paper) if x.dataset == one.dataset and x.label}
                assert not printed or printed == set(said.names), one
    sides = {x.row: conditions(x).pixels for x in published("radjepa") if x.table == "3" and x.origin == "own"}
    assert sides == {"RAD-DINO*": "518", "I-JEPA": "448", "RadJEPA": "224"}


def test_the_page_has_them_and_what_must_be_known_of_them(board: Board) -> None:
    page = Leaderboard(board, Look(), published=beside(board)).to_page()
    assert "FaNe (Ours, ResNet-50) (FaNe, Table 2)" in page
    assert "never tested, ranked or averaged" in page
    assert "that no column here is like" in page
    assert "never tested, ranked or averaged" not in Leaderboard(board, Look()).to_page()
