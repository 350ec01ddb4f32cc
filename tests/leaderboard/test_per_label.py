"""Tables of labels, and SDs over training seeds: against scikit-learn and pandas on the saved predictions."""

import re

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrbench.errors import UserError
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.markdown import to_markdown
from cxrbench.leaderboard.tables import build

LABELS = ("Mass", "Effusion", "Edema")


def auroc(one, label):
    rows = one.test_rows()
    return roc_auc_score(rows[f"target:{label}"], rows[f"score:{label}"])


def table(text):
    """Cells of the table of labels: label -> encoder -> text."""
    lines = [line for line in text.split("by label", 1)[1].splitlines() if line.startswith("|")]
    head, _, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[: 2 + len(LABELS)])
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in body if row[0] in LABELS}


@pytest.fixture
def cells(made_up):
    each = [made_up("spcl", strength=s, labels=LABELS, seed=k) for k, s in enumerate((1.6, 1.8, 2.0))]
    return [*each, made_up("random", strength=0.3, labels=LABELS)]


def test_a_label_has_its_value_and_interval_per_encoder(cells):
    board = build(cells, replicates=200, metrics=("auroc",))
    text = to_markdown(board, Look(labels=("all",)))
    assert "shown or not: of all of these a false `*` has a probability of at most 5%. Tests made: 3." in text
    found = table(text)
    assert list(found) == list(LABELS)
    for label in LABELS:
        mean = np.mean([auroc(one, label) for one in cells[:3]])
        (record,) = [r for r in board.records if (r.encoder, r.label) == ("spcl", label)]
        shown = found[label]["`spcl`"]
        assert shown.startswith(f"**{mean:.3f}** [{record.lower:.3f}, {record.upper:.3f}]")
        assert ("\\*" in shown) == (record.p_holm < 0.05)
        positives = int(cells[0].test_rows()[f"target:{label}"].sum())
        assert found[label]["Positives / images"] == f"{positives} / 160"


def test_labels_are_chosen_by_name_or_by_frequency(cells):
    board = build(cells, replicates=100, metrics=("auroc",))
    positives = cells[0].test_rows()[[f"target:{label}" for label in LABELS]].sum()
    most = positives.idxmax().removeprefix("target:")
    assert list(table(to_markdown(board, Look(labels=("top:1",))))) == [most]
    assert list(table(to_markdown(board, Look(labels=("Edema", "Mass"))))) == ["Mass", "Edema"]
    assert "By label" not in to_markdown(board)
    for labels, message in ((("Edma",), "the results have Mass, Effusion, Edema"), (("top:x",), "e.g. top:5")):
        with pytest.raises(UserError, match=re.escape(message)):
            to_markdown(board, Look(labels=labels))


def test_spread_is_the_sd_over_seeds_as_papers_print_it(cells):
    board = build(cells, replicates=100, metrics=("auroc",))
    text = to_markdown(board, Look(labels=("Mass",), spread="sd"))
    values = [auroc(one, "Mass") for one in cells[:3]]
    assert table(text)["Mass"]["`spcl`"].startswith(f"**{np.mean(values):.3f}** ± {np.std(values, ddof=1):.3f}")
    assert "±" not in table(text)["Mass"]["`random`"]
    means = [np.mean([auroc(one, label) for label in LABELS]) for one in cells[:3]]
    assert f"**{np.mean(means):.3f}** ± {np.std(means, ddof=1):.3f}" in text.split("### By label")[0]
    assert "mean ± SD over training seeds" in text
