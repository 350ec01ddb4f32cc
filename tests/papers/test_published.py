"""What the papers print is in the files: cell by cell against the papers' text, and every name is one we know."""

import hashlib
import re
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from cxrbench.data.datasets.chexpert import COMPETITION
from cxrbench.data.datasets.mimic import LABELS as MIMIC_LABELS
from cxrbench.data.datasets.nih import LABELS as NIH_LABELS
from cxrbench.data.datasets.vindr import RADJEPA_SIX
from cxrbench.encoders.families.published.catalogue import catalogue
from cxrbench.errors import UserError
from cxrbench.papers.published import (
    COLUMNS,
    NOT_NUMBERS,
    NUMBER,
    PAPERS,
    PublishedValue,
    parse,
    published,
)
from cxrbench.tasks.retrieval.physiology import ECG, LABS

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ROOT.parent / "shared" / "papers"
SHAPES = {
    ("spcl", "1"): (7, 11, 24), ("spcl", "2"): (3, 6, 0), ("spcl", "3"): (1, 15, 0), ("spcl", "4"): (4, 6, 0),
    ("spcl", "fig2"): (5, 2, 0), ("spcl", "fig3"): (2, 1, 0),
    ("mvmae", "1"): (6, 8, 0), ("mvmae", "2"): (6, 8, 0), ("mvmae", "3"): (5, 4, 0), ("mvmae", "4"): (4, 7, 0),
    ("mvmae", "5"): (14, 5, 0), ("mvmae", "6"): (14, 5, 0), ("mvmae", "7"): (14, 5, 0), ("mvmae", "8"): (4, 4, 0),
    ("pacx", "1"): (18, 4, 0), ("pacx", "2"): (2, 6, 0), ("pacx", "3"): (6, 6, 0), ("pacx", "fig3"): (3, 1, 0),
    ("radjepa", "1"): (6, 4, 0), ("radjepa", "2"): (12, 4, 6), ("radjepa", "3"): (10, 9, 0),
    ("radjepa", "4"): (12, 5, 2), ("radjepa", "5"): (24, 6, 0), ("radjepa", "6"): (15, 6, 71),
    ("fane", "1"): (11, 12, 0), ("fane", "2"): (12, 9, 6), ("fane", "3"): (3, 6, 0), ("fane", "4"): (2, 6, 0),
    ("fane", "5"): (4, 6, 0), ("fane", "6"): (3, 5, 0), ("fane", "7"): (7, 3, 0),
}  # fmt: skip
"""Rows and columns of every printed table, and how many of its cells are empty or a dash."""
DATASETS = {
    "nih", "chexpert", "chexpert-plus", "mimic", "padchest", "brax", "vindr", "rsna", "siim", "symile", "covidx",
    "object-cxr", "vindr-ribcxr", "mimic-lungs", "iu-xray", "shenzhen", "chexchonet", "chestx6", "medmod", "cxlseg",
    "covid-qu-ex", "qata", "all",
}  # fmt: skip
PROTOCOLS = {"linear", "finetune", "segmentation", "detection", "physiology"}
WITHOUT_A_TASK = {"report-generation", "pretraining", "data"}
LABELS = {
    "chexpert": COMPETITION, "nih": NIH_LABELS, "vindr": RADJEPA_SIX, "symile": (ECG, LABS),
    "mimic": (*MIMIC_LABELS, "top-5"), "chexpert-plus": (*MIMIC_LABELS, "top-5"), "padchest": (*MIMIC_LABELS, "top-5"),
    "all": ("top-5",), "mimic-lungs": ("Lungs", "Lung zones"), "covid-qu-ex": ("Lung",),
}  # fmt: skip
METHODS = {"spcl", "mvmae", "mvmae-v2t", "mae", "pacx", "fane", "random:mvmae:base", "random:fane:resnet50"}
DATA_LINES = {
    ("spcl", "1"): ("M3AE [9] 34.4", "positive pair"), ("spcl", "2"): ("Label-Assemble [35] DN", "pre-training resou"),
    ("spcl", "3"): (" S-PCL (Ours) 84.1 82.3", " Table 4"), ("spcl", "4"): ("GLoRIA [18] 37.4", "t-SNE Visual"),
    ("mvmae", "1"): ("Supervised ViT-B/16 78.90", "Table 2:"), ("mvmae", "2"): ("Supervised ViT-B/16 85", "To better"),
    ("mvmae", "3"): ("Supervised 0.0883", "Calibration."), ("mvmae", "4"): ("MIMIC-CXR 222,758", "Figure 8"),
    ("mvmae", "5"): ("Atelectasis 0.81", "Table 6:"), ("mvmae", "6"): ("Atelectasis 0.76", "Table 7:"),
    ("mvmae", "7"): ("Atelectasis 0.80", " Label Effic"), ("mvmae", "8"): ("MVMAE One view", " (a) MVMAE-V2T"),
    ("pacx", "1"): ("TB1\\mathrm", "Refer to"), ("pacx", "2"): ("Cos Sim 0.143", "Attention Rollout"),
    ("pacx", "3"): ("CheXchoNet AUC", "6 Conclusion"),
    ("radjepa", "1"): ("BRAX (Reis", "Table 1:"), ("radjepa", "2"): ("Image & Text\tCLIP@224", "Table 2:"),
    ("radjepa", "3"): ("CLIP@224\t9.7", "Table 3:"), ("radjepa", "4"): ("NN-UNet", "Table 4:"),
    ("radjepa", "5"): ("MIMIC\tCLIP@224", "Table 5:"), ("radjepa", "6"): ("LO\t", "Table 6:"),
    ("fane", "1"): ("Random Init\t\t6.9", "Table 1:"), ("fane", "2"): ("Random Init\t\t56.1", "Table 2:"),
    ("fane", "3"): ("\t\t66.6", "Table 3:"), ("fane", "4"): ("\t67.1", "Table 4:"),
    ("fane", "5"): ("✓\t\t\t66.7", "Table 5:"), ("fane", "6"): ("1%\t65.7", "Table 6:"),
    ("fane", "7"): ("Linear Classification\tCheXpert", "Table 7:"),
}  # fmt: skip
"""How the first line of a table's cells begins in the paper's text, and the first line that is no more of it."""

COMPARED = {
    "spcl": "3196024f9eaa1efb",
    "mvmae": "a3e76e7c6987b29c",
    "pacx": "031e64d01087eded",
    "radjepa": "ea8c9cacd2d7a8a8",
    "fane": "6f85a1d000595e8c",
}
"""Digests of all cells and their places, as they were when they were last compared with the papers' text."""
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def cells(paper: str, table: str) -> list[PublishedValue]:
    return [one for one in published(paper) if one.table == table]


def text_of(paper: str) -> str:
    if not (TEXTS / f"{paper}.txt").is_file():
        pytest.skip(f"no text of the papers in {TEXTS}")
    return (TEXTS / f"{paper}.txt").read_text(encoding="utf-8")


def printed_cells(text: str, first: str, last: str) -> list[str]:
    """The values between two lines, in reading order; a table in tabs has names in its first column."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(first))
    end = next(i for i in range(start, len(lines)) if lines[i].startswith(last))
    found = []
    for line in lines[start:end]:
        joined = line.replace(" × ", "×")
        parts = joined.split("\t")[1:] if "\t" in line else joined.split()
        tidy = [part.strip().replace(" ²", "²") for part in parts]
        found += [part for part in tidy if NUMBER.fullmatch(part) or NOT_NUMBERS.fullmatch(part)]
    return found


@pytest.mark.parametrize("place", DATA_LINES, ids="-".join)
def test_a_table_is_in_the_file_as_it_is_in_the_text_cell_by_cell_in_its_order(place: tuple[str, str]) -> None:
    paper, table = place
    printed = printed_cells(text_of(paper), *DATA_LINES[place])
    if paper == "fane":
        printed = [part for part in printed if part != "✓"]  # fine-grained or not, and what an ablation has on
    assert [one.value.replace(" × ", "×") for one in cells(paper, table)] == printed


@pytest.mark.parametrize("place", [place for place in SHAPES if place[1].startswith("fig")], ids="-".join)
def test_the_numbers_of_a_figure_are_printed_in_the_text(place: tuple[str, str]) -> None:
    text = text_of(place[0])
    for one in cells(*place):
        assert re.search(rf"(?<![\d.]){re.escape(one.value.removeprefix('~'))}(?![\d]|\.\d)", text), one


@pytest.mark.parametrize("paper", PAPERS)
def test_no_cell_has_changed_since_it_was_compared_with_the_text(paper: str) -> None:
    """The texts are not everywhere. Who changes a cell compares it where they are, and writes the digest anew."""
    places = ((x.table, x.row, x.dataset, x.protocol, x.fraction, x.metric, x.label, x.value) for x in published(paper))
    assert hashlib.sha256("\n".join(map("|".join, places)).encode()).hexdigest()[:16] == COMPARED[paper]


def test_the_wheel_takes_the_files_along() -> None:
    folder = ROOT / "cxrbench" / "papers"
    taken = {path for pattern in SETUPTOOLS["package-data"]["cxrbench.papers"] for path in folder.glob(pattern)}
    assert {path for path in folder.rglob("*") if path.suffix in (".csv", ".toml")} == taken
    assert {path.stem for path in folder.glob("published/*.csv")} == set(PAPERS)


def test_every_table_has_as_many_cells_as_its_rows_and_columns_less_its_dashes() -> None:
    count = Counter((paper, one.table) for paper in PAPERS for one in published(paper))
    assert dict(count) == {place: rows * columns - blank for place, (rows, columns, blank) in SHAPES.items()}


@pytest.mark.parametrize("paper", PAPERS)
def test_datasets_protocols_labels_and_encoders_are_known(paper: str) -> None:
    for one in published(paper):
        assert one.dataset in DATASETS | {""}, one
        assert one.protocol in PROTOCOLS | WITHOUT_A_TASK, one
        assert one.protocol not in PROTOCOLS or one.dataset or one.metric in ("features", "decoder-parameters"), one
        assert not one.label or one.label in LABELS[one.dataset], one
        assert one.encoder in METHODS | {"", *(f"cxr:{name}" for name in catalogue())}, one


def test_every_number_of_a_task_is_a_share_or_a_cosine() -> None:
    for paper in PAPERS:
        for one in published(paper):
            if one.protocol in PROTOCOLS and one.dataset and one.metric != "significance":
                assert one.value == "~" or one.share is not None, one
                assert one.share is None or -0.02 <= one.share <= 1, one


def test_rows_of_a_table_in_several_papers_say_the_same() -> None:
    """S-PCL's rows of others for SIIM and RSNA detection are FaNe's, number by number."""
    names = {"GLoRIA": "GLoRIA§", "MGCA": "MGCA", "MedKLIP": "MedKLIP*"}
    theirs = {(one.row, one.dataset, one.protocol, one.fraction): one.value for one in cells("fane", "1")}
    ours = [one for one in cells("spcl", "4") if one.row in names]
    assert len(ours) == 18
    assert [theirs[names[one.row], one.dataset, one.protocol, one.fraction] for one in ours] == [
        one.value for one in ours
    ]


def test_numbers_units_and_rounding_are_read_as_printed() -> None:
    def value(text: str, percent: bool = False) -> PublishedValue:
        return replace(published("spcl")[0], value=text, percent=percent)

    printed = {
        "–1.1": -1.1,
        "+0.1": 0.1,
        "1.51%": 1.51,
        "839,364": 839364.0,
        "1.28 M": 1.28e6,
        "0.6 B": 0.6e9,
        "~+5": 5.0,
    }
    assert {text: value(text).number for text in printed} == printed
    assert [value(text).number for text in ("~", "✓✓", "336²", "224×224", "2500 × 3056")] == [None] * 5
    assert value("84.1", percent=True).share == pytest.approx(0.841)
    assert [value(text).resolution for text in ("84.1", "0.0883", "1200", "39.3 M")] == pytest.approx(
        [0.05, 5e-5, 0.5, 5e4]
    )


GOOD = 'spcl,1,A,,nih,finetune,0.01,auroc,,78.2,,,7:2:1,"Table 1, row A"'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (GOOD.replace("spcl,", "fane,"), "paper is spcl, not 'fane'"),
        (GOOD.replace("78.2", ""), "value is empty"),
        (GOOD.replace("78.2", "78,2"), "15 cells, not 14"),
        (GOOD.replace("78.2", "78.2 (best)"), "value '78.2 (best)' is neither a number nor a mark"),
        (GOOD.replace("0.01", "1%"), "fraction '1%' is neither a share"),
        (GOOD.replace(",,7:2:1", ",many,7:2:1"), "n 'many' is no number of images"),
        (GOOD.replace("row A", "row A; copied"), "origin 'copied' is not one of"),
        (GOOD.replace("nih", "nih "), "dataset has blanks at an end"),
        (
            f"{GOOD}\n{GOOD.replace('78.2', '78.3')}",
            "this cell is there already: spcl, 1, A, nih, finetune, 0.01, auroc",
        ),
    ],
)
def test_a_malformed_row_is_told_in_one_line(line: str, problem: str) -> None:
    header = ",".join(COLUMNS)
    assert len(parse(f"{header}\n{GOOD}\n", "spcl", "spcl.csv")) == 1
    with pytest.raises(UserError, match=re.escape(problem)) as told:
        parse(f"{header}\n{line}\n", "spcl", "spcl.csv")
    assert str(told.value).startswith("spcl.csv line ")
    assert "\n" not in str(told.value)


def test_other_columns_and_unknown_papers_are_told() -> None:
    with pytest.raises(UserError, match="the columns are paper,table,row,"):
        parse("paper,value\n", "spcl", "spcl.csv")
    with pytest.raises(UserError, match="no figures of 'clip' are kept"):
        published("clip")
