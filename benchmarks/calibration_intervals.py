"""How often 95% intervals of binned calibration metrics hold the truth: percentiles, and the basic ones that we give.

Run: python benchmarks/calibration_intervals.py    (two minutes; writes benchmarks/results/calibration_intervals.md)
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray
from report import write_report
from scipy.special import expit

from cxrbench.metrics.calibration import FORMULAS, MASS_BINS, mass_bins, prepare_sums
from cxrbench.metrics.classification import Weights

Array = NDArray[np.float64]
BINNED = ("ece_mass", "reliability", "resolution", "mce")
SETS, REPLICATES, ENDLESS = 300, 300, 200_000


def made_up(generator: np.random.Generator, n: int) -> tuple[Array, Array]:
    """Logits [n] that are right, and what came true [n]; about a fifth is positive."""
    logits = 1.5 * generator.standard_normal(n) - 1.8
    return logits, (generator.random(n) < expit(logits)).astype(float)


def truth(scores: Array, endless_scores: Array, probability: Array) -> dict[str, float]:
    """The metrics of endlessly many images, in the bins of these scores [n]."""
    edges = [scores[mass_bins(scores, np.zeros(len(scores))) == b].max() for b in range(MASS_BINS - 1)]
    bins = np.searchsorted(edges, endless_scores)
    size, said, so = (np.bincount(bins, w, MASS_BINS) for w in (np.ones(len(bins)), endless_scores, probability))
    share, gap = size / size.sum(), (said - so) / size
    return {
        "ece_mass": share @ abs(gap),
        "reliability": share @ gap**2,
        "resolution": share @ (so / size - probability.mean()) ** 2,
        "mce": abs(gap).max(),
    }


def main() -> None:
    """Coverage for every size of test set and sharpness."""
    generator = np.random.default_rng(0)
    endless, _ = made_up(generator, ENDLESS)
    rows = []
    for n, sharpness in product((300, 1_000, 4_000), (1.0, 1.5, 3.0)):
        held = {name: np.zeros(2) for name in BINNED}
        sums = {name: np.zeros(2) for name in BINNED}
        for _ in range(SETS):
            logits, targets = made_up(generator, n)
            scores = expit(sharpness * logits)
            prepared = prepare_sums(scores, targets)
            once = Weights.of(np.ones((n, 1), int))
            drawn = Weights.of(generator.multinomial(n, np.full(n, 1 / n), REPLICATES).T)
            for name, true in truth(scores, expit(sharpness * endless), expit(endless)).items():
                value = FORMULAS[name](prepared(once))[0]
                low, high = np.quantile(FORMULAS[name](prepared(drawn)), (0.025, 0.975))
                held[name] += [low <= true <= high, max(0, 2 * value - high) <= true <= 2 * value - low]
                sums[name] += [true, value]
        for name in BINNED:
            (true, value), (percentile, basic) = sums[name] / SETS, held[name] / SETS
            what = "calibrated" if sharpness == 1 else f"logits {sharpness:g} times too sharp"
            cells = [f"{n:,}", what, name, f"{true:.4f}", f"{value:.4f}", f"{percentile:.0%}", f"{basic:.0%}"]
            rows.append(cells)
    write_report(
        "calibration_intervals",
        "Coverage of 95% intervals of binned calibration metrics",
        ["Images", "Scores", "Metric", "Truth", "Mean value", "Percentile interval", "Basic interval"],
        rows,
        f"{SETS} made-up test sets, {REPLICATES} resamples each; the truth is that of {ENDLESS:,} images in the same "
        "bins with their true probabilities. Not one percentile interval can hold an ECE or reliability of 0.",
    )


if __name__ == "__main__":
    main()
