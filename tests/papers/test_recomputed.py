"""Every aggregate, repeat and difference that a paper prints, from its own cells: what does not fit is known."""

from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from cxrbench.papers.published import PAPERS, published
from cxrbench.tasks.retrieval.physiology import ECG, LABS
from support.recomputed_figures import BY_LABEL, Place, all_checks, find, markdown, number, only

PAGE = Path(__file__).resolve().parents[2] / "docs" / "published-figures.md"
DISAGREEMENTS: dict[Place, tuple[str, str]] = {
    ("radjepa", "3", "CLIP@224", "Agg."): ("23.8", "24.50"),
    ("radjepa", "3", "CLIP@336", "Agg."): ("23.4", "24.02"),
    ("radjepa", "3", "BioViL-T", "Agg."): ("32.4", "32.28"),
    ("radjepa", "3", "CheXzero", "Agg."): ("40.0", "41.13"),
    ("radjepa", "3", "MRM", "Agg."): ("51.3", "49.95"),
    ("radjepa", "3", "RAD-DINO", "Agg."): ("52.8", "50.53"),
    ("mvmae", "2", "Supervised", "mimic AUROC, best five of Table 5"): ("85.87", "87.000"),
    ("mvmae", "1", "BiomedCLIP", "mimic AUROC, of Table 5"): ("72.80", "79.714"),
    ("mvmae", "2", "BiomedCLIP", "mimic AUROC, best five of Table 5"): ("81.62", "87.000"),
    ("mvmae", "2", "Supervised", "chexpert-plus AUROC, best five of Table 6"): ("85.24", "86.800"),
    ("mvmae", "2", "Independent", "chexpert-plus AUROC, best five of Table 6"): ("86.10", "88.200"),
    ("mvmae", "1", "BiomedCLIP", "chexpert-plus AUROC, of Table 6"): ("68.57", "81.571"),
    ("mvmae", "2", "BiomedCLIP", "chexpert-plus AUROC, best five of Table 6"): ("79.07", "88.000"),
    ("mvmae", "2", "CheXagent", "chexpert-plus AUROC, best five of Table 6"): ("88.39", "89.800"),
    ("mvmae", "2", "MVMAE (ours)", "chexpert-plus AUROC, best five of Table 6"): ("87.86", "91.200"),
    ("mvmae", "2", "Supervised", "padchest AUROC, best five of Table 7"): ("90.43", "91.200"),
    ("mvmae", "1", "Independent", "padchest AUROC, of Table 7"): ("88.19", "88.714"),
    ("mvmae", "2", "Independent", "padchest AUROC, best five of Table 7"): ("92.01", "94.200"),
    ("mvmae", "1", "BiomedCLIP", "padchest AUROC, of Table 7"): ("79.12", "84.286"),
    ("mvmae", "2", "BiomedCLIP", "padchest AUROC, best five of Table 7"): ("84.34", "90.600"),
    ("mvmae", "2", "CheXagent", "padchest AUROC, best five of Table 7"): ("92.39", "93.200"),
    ("mvmae", "2", "MVMAE (ours)", "padchest AUROC, best five of Table 7"): ("92.92", "94.000"),
    ("mvmae", "1", "Supervised", "Combined AUROC"): ("84.73", "80.543"),
    ("mvmae", "1", "Supervised", "Combined F1"): ("29.47", "25.413"),
    ("mvmae", "1", "Independent", "Combined AUROC"): ("86.63", "83.717"),
    ("mvmae", "1", "Independent", "Combined F1"): ("35.47", "32.027"),
    ("mvmae", "1", "BiomedCLIP", "Combined AUROC"): ("78.95", "73.497"),
    ("mvmae", "1", "BiomedCLIP", "Combined F1"): ("19.85", "19.210"),
    ("mvmae", "1", "CheXagent", "Combined AUROC"): ("86.21", "83.907"),
    ("mvmae", "1", "CheXagent", "Combined F1"): ("32.84", "28.827"),
    ("mvmae", "1", "MVMAE-V2T (ours)", "Combined AUROC"): ("86.95", "83.747"),
    ("mvmae", "1", "MVMAE-V2T (ours)", "Combined F1"): ("36.08", "30.780"),
    ("mvmae", "1", "MVMAE (ours)", "Combined AUROC"): ("87.43", "84.803"),
    ("mvmae", "1", "MVMAE (ours)", "Combined F1"): ("37.39", "32.263"),
    ("mvmae", "2", "Supervised", "Combined AUROC"): ("89.79", "87.180"),
    ("mvmae", "2", "Supervised", "Combined F1"): ("43.30", "41.680"),
    ("mvmae", "2", "Independent", "Combined AUROC"): ("91.19", "88.767"),
    ("mvmae", "2", "Independent", "Combined F1"): ("54.54", "48.640"),
    ("mvmae", "2", "BiomedCLIP", "Combined AUROC"): ("85.35", "81.677"),
    ("mvmae", "2", "BiomedCLIP", "Combined F1"): ("43.57", "41.013"),
    ("mvmae", "2", "CheXagent", "Combined AUROC"): ("91.20", "89.730"),
    ("mvmae", "2", "CheXagent", "Combined F1"): ("52.84", "48.500"),
    ("mvmae", "2", "MVMAE-V2T (ours)", "Combined AUROC"): ("91.67", "89.203"),
    ("mvmae", "2", "MVMAE-V2T (ours)", "Combined F1"): ("57.45", "52.107"),
    ("mvmae", "2", "MVMAE (ours)", "Combined AUROC"): ("91.85", "89.987"),
    ("mvmae", "2", "MVMAE (ours)", "Combined F1"): ("60.47", "52.960"),
    ("spcl", "2", "Medical MAE", "chexpert auroc, also in Table 1"): ("89.3", "89.2"),
    ("radjepa", "5", "CLIP@336", "mimic resolution, also in Table 2"): ("316×316", "336²"),
    ("radjepa", "5", "I-JEPA", "mimic resolution, also in Table 2"): ("224×224", "448²"),
    ("radjepa", "5", "CLIP@336", "iu-xray resolution, also in Table 2"): ("316×316", "336²"),
    ("radjepa", "5", "I-JEPA", "iu-xray resolution, also in Table 2"): ("224×224", "448²"),
    ("radjepa", "5", "BiomedCLIP", "tokens of 224×224 pixels"): ("256", "196"),
    ("radjepa", "5", "BioViL", "tokens of 512×512 pixels"): ("196", "256"),
    ("radjepa", "5", "I-JEPA", "tokens of 224×224 pixels"): ("1369", "256"),
    ("radjepa", "5", "RadJEPA control", "tokens of 224×224 pixels"): ("1369", "256"),
    ("radjepa", "5", "RadJEPA", "tokens of 224×224 pixels"): ("1369", "256"),
    ("radjepa", "section 6.2.3", "RadJEPA", "vindr-ribcxr, over RAD-DINO"): ("+4.8", "+4.3"),
    ("radjepa", "section 6.3.3", "RadJEPA", "iu-xray rouge-l, over RAD-DINO*"): ("+1.7", "+2.1"),
}
"""Paper, table, row and what the number is: as printed, and from the paper's own cells."""


def test_papers_disagree_with_themselves_where_it_is_known_and_nowhere_else() -> None:
    checks = all_checks()
    assert {one.place: (one.printed, one.recomputed) for one in checks if not one.agrees} == DISAGREEMENTS
    assert [place for place, times in Counter(one.place for one in checks).items() if times > 1] == []
    assert len(checks) == 185


def test_the_page_has_the_table_of_disagreements() -> None:
    assert markdown([one for one in all_checks() if not one.agrees]) in PAGE.read_text(encoding="utf-8")


def test_the_page_says_how_many_cells_there_are_and_whose() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for paper in PAPERS:
        count = Counter(one.origin for one in published(paper))
        cells = [f"{count[origin]:,}" if count[origin] else "–" for origin in ("own", "cited", "origin not stated")]
        assert f"| `{paper}` | {sum(count.values()):,} | {' | '.join(cells)} |" in page


def test_rows_that_a_paper_says_it_copied_are_these() -> None:
    copied = {(one.paper, one.table, one.row) for paper in PAPERS for one in published(paper) if one.origin == "cited"}
    others = ("ConVIRT", "MGCA", "PRIOR", "MedKLIP*", "MLIP")
    assert copied == {
        *(("fane", "1", row) for row in (*others, "M-FLAG", "IMITATE")),
        *(("fane", "2", row) for row in (*others, "MedUnifer", "SENSE")),
        ("radjepa", "3", "RAD-DINO"),
        *(("radjepa", "4", f"RAD-DINO{row}") for row in (" (no MIM), Linear", ", Linear", ", ViTDet", ", UPerNet")),
        *(("radjepa", "5", f"RAD-DINO{row}") for row in (" control", "")),
    }
    assert all(one.n == "" for paper in PAPERS for one in published(paper) if one.origin == "cited")


def test_the_brier_scores_of_mvmae_are_of_its_validation_studies() -> None:
    """The Brier score of sets together is their mean by size: Combined fits the validation sets, not the test sets."""
    for one in find("mvmae", "3", dataset="all"):
        parts = [number(only("mvmae", "3", dataset=dataset, row=one.row)) for dataset in BY_LABEL]
        off = {}
        for split in ("validation", "test"):
            sizes = [number(only("mvmae", "4", dataset=dataset, split=split)) for dataset in BY_LABEL]
            off[split] = abs(np.average(parts, weights=sizes) - number(one))
        assert off["validation"] < 0.0002, one.row
        assert off["test"] > 0.002, one.row


@pytest.mark.parametrize("dataset", ["mimic", "padchest"])
def test_no_five_labels_are_the_top_five_of_mvmae(dataset: str) -> None:
    """For no five labels have all models (but BiomedCLIP, whose Table 1 does not fit either) the means of Table 2."""
    models = ["Supervised", "Independent", "CheXagent", "MVMAE (ours)"]
    auroc = np.array([[number(one) for one in find("mvmae", BY_LABEL[dataset], row=row)] for row in models]) * 100
    printed = [number(only("mvmae", "2", dataset=dataset, metric="auroc", row=row)) for row in models]
    fives = np.array(list(combinations(range(14), 5)))
    apart = np.abs(auroc[:, fives].mean(2) - np.array(printed)[:, None]).max(0)
    assert apart.min() > 0.505


def test_radjepa_is_below_others_where_its_own_table_of_tests_says_so() -> None:
    worse = {one.label for one in find("radjepa", "6") if one.value == "✗"}
    vindr = [one for one in find("radjepa", "3", dataset="vindr") if one.label]
    best = {label: max((x for x in vindr if x.label == label), key=number).row for label in {x.label for x in vindr}}
    assert {label for label, row in best.items() if row != "RadJEPA"} == worse == {"Cardiomegaly", "Pleural effusion"}
    assert Counter(one.value for one in find("radjepa", "6")) == {"✓✓": 16, "✓": 1, "✗": 2}


def test_combined_of_mvmaes_views_is_no_average_of_its_sets() -> None:
    """Table 8, whose caption claims no average: above every one of the three, so no weights give it."""
    for one in find("mvmae", "8", dataset="all"):
        assert number(one) > max(number(only("mvmae", "8", dataset=dataset, row=one.row)) for dataset in BY_LABEL) + 1


@pytest.mark.parametrize(
    ("paper", "table", "quoted", "wanted"),
    [
        ("spcl", "1", "89.2", {"row": "Medical MAE", "dataset": "chexpert", "fraction": ""}),
        ("pacx", "3", "0.243", {"row": "ECG", "dataset": "medmod", "metric": "f1"}),
        ("pacx", "3", "0.233", {"row": "ECG", "dataset": "vindr", "metric": "f1"}),
        ("pacx", "1", "0.253", {"row": "PaCX", "dataset": "medmod", "metric": "f1"}),
        ("pacx", "1", "0.256", {"row": "PaCX", "dataset": "vindr", "metric": "f1"}),
        ("pacx", "1", "0.996", {"row": "PaCX", "dataset": "cxlseg", "metric": "iou"}),
        ("pacx", "1", "0.942", {"row": "PaCX", "dataset": "covid-qu-ex", "metric": "iou"}),
        ("pacx", "2", "0.229", {"row": "PaCX", "metric": "cosine", "label": ECG}),
        ("pacx", "2", "0.252", {"row": "PaCX", "metric": "cosine", "label": LABS}),
        ("radjepa", "3", "55.2", {"row": "RadJEPA", "dataset": "vindr", "label": ""}),
        ("radjepa", "3", "52.8", {"row": "RAD-DINO", "dataset": "vindr", "label": ""}),
        ("radjepa", "3", "50.0", {"row": "I-JEPA", "dataset": "vindr", "label": ""}),
        ("radjepa", "3", "51.3", {"row": "MRM", "dataset": "vindr", "label": ""}),
        ("radjepa", "3", "72.7", {"row": "RadJEPA", "dataset": "rsna", "metric": "auprc"}),
        ("radjepa", "3", "89.2", {"row": "RadJEPA", "dataset": "rsna", "metric": "auroc"}),
        ("radjepa", "5", "26.1", {"row": "RadJEPA", "dataset": "mimic", "metric": "rouge-l"}),
        ("radjepa", "5", "32.6", {"row": "RadJEPA", "dataset": "mimic", "metric": "chexbert-f1-14"}),
    ],
)
def test_what_a_text_quotes_from_its_tables_is_there(
    paper: str, table: str, quoted: str, wanted: dict[str, str]
) -> None:
    assert only(paper, table, **wanted).value == quoted


def test_no_paper_prints_a_spread() -> None:
    assert {one.spread for paper in PAPERS for one in published(paper)} == {""}
