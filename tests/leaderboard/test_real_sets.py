"""What is asked of results, on the labels, patients and groups of real sets: against pandas and scikit-learn.

Scores are made up. The sets lie beside the repository, or the tests are skipped.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, roc_auc_score

from cxrbench.data.attributes import group_of
from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.datasets import nih
from cxrbench.data.manifest import Manifest
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.comparison.compare import compare
from cxrbench.leaderboard.markdown import to_markdown
from cxrbench.leaderboard.protocols.tables import compare_protocols
from cxrbench.leaderboard.subgroups.evaluate import by_group
from cxrbench.leaderboard.tables import build
from cxrbench.predictions import Predictions

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@cache
def manifest_of(name: str) -> Manifest:
    """The manifest of a real set; skips the test where it is not there."""
    if not (DATA / name).is_dir():
        pytest.skip(f"no real data in {DATA / name}")
    return nih.read(DATA / name) if name == "nih" else read_csv(DATA / name / "labels.csv")


def scored(
    manifest: Manifest, encoder: str, strength: float, protocol: str = "classification", seed: int = 0
) -> Predictions:
    """Predictions of all of the set's images: its truth, and noise."""
    rng = np.random.default_rng([seed, sum(map(ord, encoder + protocol))])
    targets = manifest.targets().astype(float)
    logits = np.exp(strength * targets + rng.standard_normal(targets.shape))
    exclusive = manifest.kind == "multiclass"
    scores = logits / (logits.sum(1, keepdims=True) if exclusive else 1 + logits)
    rows = manifest.images[["image_id", "patient_id"]].assign(split="test")
    columns = {f"score:{x}": scores[:, k] for k, x in enumerate(manifest.labels)}
    columns |= {f"target:{x}": targets[:, k] for k, x in enumerate(manifest.labels)}
    cell = {"encoder": encoder, "dataset": manifest.name, "protocol": protocol, "fraction": 1.0, "seed": seed}
    return Predictions(
        rows=pd.concat([rows, pd.DataFrame(columns)], axis=1), labels=manifest.labels, kind=manifest.kind,  # type: ignore[arg-type]
        groups=manifest.groups, synthetic=False, cell=cell | {"parts": {"dataset": "d"}},
        dataset={"name": manifest.name},
    )  # fmt: skip


def auroc(rows: pd.DataFrame, label: str) -> float:
    return float(roc_auc_score(rows[f"target:{label}"], rows[f"score:{label}"]))


def enough(rows: Any, label: str) -> bool:
    """Whether 10 patients have the finding, and 10 have an image without it."""
    return bool(rows.groupby(f"target:{label}")["patient_id"].nunique().reindex([0.0, 1.0]).fillna(0).min() >= 10)


@pytest.mark.parametrize("by", ["sex", "view", "age"])
def test_nih_by_group(by: str) -> None:
    manifest = manifest_of("nih")
    cells = [scored(manifest, "good", 2.0), scored(manifest, "random", 0.2)]
    groups = group_of(manifest, by)
    found = by_group(cells, {"d": groups}, by, replicates=50)
    rows: Any = cells[0].test_rows()
    rows["group"] = rows["image_id"].map(groups)
    if by in ("sex", "view"):
        column = {"sex": "Patient Gender", "view": "View Position"}[by]
        table: Any = pd.read_csv(DATA / "nih" / "Data_Entry_2017_v2020.csv")
        known = dict(zip(table["Image Index"].str.removesuffix(".png"), table[column], strict=True))
        assert (rows["group"] == rows["image_id"].map(known)).all()
    shown = {r.group for r in found.records}
    labels = [x for x in cells[0].labels if all(enough(rows[rows["group"] == g], x) for g in shown)]
    values = rows[rows["group"].isin(shown)].groupby("group")[rows.columns.tolist()].apply(
        lambda of: np.mean([auroc(of, x) for x in labels])
    )  # fmt: skip
    mine = {r.group: r for r in found.records if r.encoder == "good"}
    assert {group: r.value for group, r in mine.items()} == pytest.approx(values.to_dict(), abs=1e-12)
    assert mine[values.idxmin()].gap == pytest.approx(values.max() - values.min(), abs=1e-12)
    assert {g: r.patients for g, r in mine.items()} == rows.groupby("group")["patient_id"].nunique()[[*mine]].to_dict()


def test_nih_by_label_the_most_frequent_first() -> None:
    one = scored(manifest_of("nih"), "good", 2.0)
    board = build([one], metrics=("auroc",), replicates=50)
    rows: Any = one.test_rows()
    positives = rows[[f"target:{x}" for x in one.labels]].sum().sort_values(ascending=False)
    most = [name.removeprefix("target:") for name in positives.index[:5]]
    text = to_markdown(board, Look(labels=("top:5",))).split("by label")[1]
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert {*lines} >= {*most}
    for label in most:
        assert f"{auroc(rows, label):.3f}" in lines[label]
        assert f"{positives[f'target:{label}']:,.0f} / {len(rows):,}" in lines[label]


def test_kermany_a_csv_of_exclusive_classes() -> None:
    manifest = manifest_of("kermany")
    seeds = [scored(manifest, "good", 1.5, seed=s) for s in range(3)]
    other = scored(manifest, "random", 0.2)
    board = build([*seeds, other], replicates=50)
    found = {r.metric: r for r in board.records if (r.encoder, r.label) == ("good", "macro")}
    truth = [one.targets(one.test_rows()) for one in seeds]
    scores = [one.scores(one.test_rows()) for one in seeds]
    each = [np.mean([auroc(one.test_rows(), x) for x in manifest.labels]) for one in seeds]
    assert (found["auroc"].value, found["auroc"].sd_seeds) == pytest.approx((np.mean(each), np.std(each, ddof=1)))
    right = [accuracy_score(t.argmax(1), s.argmax(1)) for t, s in zip(truth, scores, strict=True)]
    assert found["accuracy"].value == pytest.approx(np.mean(right))
    brier = [
        np.mean([brier_score_loss(t[:, k], s[:, k]) for k in range(3)]) for t, s in zip(truth, scores, strict=True)
    ]
    assert found["brier"].value == pytest.approx(np.mean(brier))
    (row,) = [r for r in compare([*seeds, other], "good", "random", replicates=50).rows if r.label == "macro"]
    base = np.mean([auroc(other.test_rows(), x) for x in manifest.labels])
    assert row.difference == pytest.approx(np.mean(each) - base, abs=1e-12)


def test_kermany_two_protocols_of_one_encoder() -> None:
    manifest = manifest_of("kermany")
    cells = [scored(manifest, "good", s, protocol) for s, protocol in ((1.5, "classification"), (0.5, "knn"))]
    found = compare_protocols(cells, "good", ("classification", "knn"), replicates=50)
    for label in manifest.labels:
        (row,) = [r for r in found.rows if r.label == label]
        a, b = (auroc(one.test_rows(), label) for one in cells)
        assert (row.value_a, row.value_b, row.difference) == pytest.approx((a, b, a - b), abs=1e-12)
