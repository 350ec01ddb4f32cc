"""The probe sweep, 14 labels x 9 strengths on 10,000 x 768 features, against a loop over scikit-learn.

    python benchmarks/probe.py

Features have a decaying spectrum, as those of real encoders have; labels have 2 to 30% positives. Both solve the same
126 problems on the same standardized features; scikit-learn, timed on two labels
and extrapolated, runs with its default solver and tolerance and enough
iterations. Both pick, for each label, the strength with the lowest validation log loss, and are judged by validation
AUROC.
"""

import os
import time

import numpy as np
import torch
from report import write_report
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from cxrbench.tasks.classification.linear_probe import STRENGTHS
from cxrbench.tasks.classification.logistic import fit_sigmoid

ROWS, VALIDATION, WIDTH, LABELS = 10_000, 2_000, 768, 14
PEER_LABELS = (0, 13)  # the rarest and the commonest: scikit-learn's time on them is extrapolated to all 14


def problem() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0]
    scale = (1 + np.arange(WIDTH)) ** -1.0
    latent = rng.normal(size=(ROWS + VALIDATION, WIDTH))
    x = (latent * scale) @ rotation
    x = (x - x[:ROWS].mean(0)) / x[:ROWS].std(0)
    margins = latent @ (rng.normal(size=(WIDTH, LABELS)) * np.sqrt(scale)[:, None])
    margins = 1.5 * margins / margins.std(0) + np.linspace(-4.5, -1.2, LABELS)
    return x, (rng.random(margins.shape) < 1 / (1 + np.exp(-margins))).astype(float)


def judged(margins: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Validation AUROC of each of PEER_LABELS at its best strength. margins: [n, S, L]."""
    best = [
        np.argmin([log_loss(y[:, j], 1 / (1 + np.exp(-margins[:, s, j]))) for s in range(len(STRENGTHS))])
        for j in PEER_LABELS
    ]
    return np.array([roc_auc_score(y[:, j], margins[:, s, j]) for j, s in zip(PEER_LABELS, best, strict=True)])


def main() -> None:
    x, y = problem()
    wall, cpu = time.perf_counter(), time.process_time()
    features = torch.from_numpy(x[:ROWS].astype(np.float32))
    model = fit_sigmoid(features, torch.from_numpy(y[:ROWS].astype(np.float32)), torch.tensor(STRENGTHS))
    margins = model.margins(torch.from_numpy(x[ROWS:].astype(np.float32))).reshape(VALIDATION, -1, LABELS).numpy()
    ours = (time.perf_counter() - wall, time.process_time() - cpu)
    assert bool(model.converged.all())

    wall, cpu = time.perf_counter(), time.process_time()
    theirs = np.empty_like(margins)
    for s, strength in enumerate(STRENGTHS):
        for j in PEER_LABELS:
            peer = LogisticRegression(C=strength, max_iter=5000).fit(x[:ROWS], y[:ROWS, j])
            theirs[:, s, j] = peer.decision_function(x[ROWS:])
    share = LABELS / len(PEER_LABELS)
    peers = ((time.perf_counter() - wall) * share, (time.process_time() - cpu) * share)

    mine, other = judged(margins, y[ROWS:]), judged(theirs, y[ROWS:])
    write_report(
        "probe",
        f"Probe sweep: {LABELS} labels x {len(STRENGTHS)} strengths, {ROWS:,} x {WIDTH}",
        ["", "wall s", "CPU s", "mean validation AUROC"],
        [
            ["cxrbench, one batched solve", f"{ours[0]:.2f}", f"{ours[1]:.2f}", f"{mine.mean():.4f}"],
            [
                f"scikit-learn, 126 fits, extrapolated from {9 * len(PEER_LABELS)}",
                f"{peers[0]:.1f}",
                f"{peers[1]:.1f}",
                f"{other.mean():.4f}",
            ],
            ["ratio", f"{peers[0] / ours[0]:.0f} x", f"{peers[1] / ours[1]:.0f} x", ""],
        ],
        f"Largest difference of any label's validation AUROC: {np.abs(mine - other).max():.5f} (target: 0.002 at most, "
        f"and at least 5 times faster). {os.cpu_count()} cores.",
    )


if __name__ == "__main__":
    main()
