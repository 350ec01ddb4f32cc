"""The patient-clustered bootstrap: one set of resamples for every encoder, so that all comparisons are paired."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from cxrbench.cores import cores
from cxrbench.memory import keep_freed
from cxrbench.metrics.prepared import Prepared, Weights
from cxrbench.metrics.together import Together

Array = NDArray[np.float64]
REPLICATES = 10_000
BLOCK = 250  # Replicates drawn at a time. A part of every result: each block has a random stream of its own.
MAX_UNDEFINED = 0.05
MOST_THREADS = 8  # each holds a block of weights: 100 MB at 50,000 images
WIDE = 1 << 20  # bytes of weights: of few images several blocks are read at once, as many as a core's cache holds


def stream(key: str, seed: int, purpose: str) -> np.random.SeedSequence:
    """The source of randomness that (data set key, seed) alone determine, one for each purpose."""
    digest = hashlib.sha256(f"{key}|{seed}|{purpose}".encode()).digest()
    return np.random.SeedSequence(int.from_bytes(digest))


def resample_counts(
    patient_ids: NDArray[np.generic], image_set_key: str, seed: int, replicates: int
) -> Iterator[NDArray[np.uint16]]:
    """How often each image is drawn in each replicate: blocks [n, up to 250] of ``replicates`` columns altogether.

    A replicate draws as many patients as there are, with replacement; a patient's images come along together (the
    cluster bootstrap: Davison and Hinkley 1997, section 3.8). The counts depend on the patients, the key and the seed
    alone, and a smaller number of replicates gives the first columns of a larger one.
    """
    return (draw() for draw in _blocks(patient_ids, image_set_key, seed, replicates))


def _blocks(
    patient_ids: NDArray[np.generic], image_set_key: str, seed: int, replicates: int
) -> list[Callable[[], NDArray[np.uint16]]]:
    """A function for each block, which draws it; they may be called in any order, and at once."""
    patients, patient_of_image = np.unique(np.asarray(patient_ids).astype(str), return_inverse=True)
    sources = stream(image_set_key, seed, "patients").spawn(-(-replicates // BLOCK))
    rows = max(1, WIDE // (8 * len(patients)))  # replicates that are counted at once

    def draw(source: np.random.SeedSequence, wanted: int) -> NDArray[np.uint16]:
        generator = np.random.Generator(np.random.PCG64(source))
        drawn = generator.integers(len(patients), size=(BLOCK, len(patients)), dtype=np.uint32)[:wanted]
        counts = np.concatenate(
            [_counts(drawn[at : at + rows]) for at in range(0, len(drawn), rows)],
            dtype=np.uint16,
            casting="unsafe",  # At most as many draws as patients, and 65,536 of one patient do not happen.
        )
        return counts.T[patient_of_image]

    starts = range(0, replicates, BLOCK)
    return [partial(draw, source, replicates - at) for at, source in zip(starts, sources, strict=True)]


def _counts(drawn: NDArray[np.uint32]) -> NDArray[np.int64]:
    """How often each of P patients stands in each row of draws [rows, P]: [rows, P]."""
    rows, patients = drawn.shape
    places = drawn + np.arange(rows)[:, None] * patients
    return np.bincount(places.ravel(), minlength=rows * patients).reshape(rows, patients)


def replicate(
    prepared: Sequence[Prepared], patient_ids: NDArray[np.generic], image_set_key: str, seed: int, replicates: int
) -> Array:
    """Values [metrics, replicates] of prepared metrics, all on the same resamples."""
    return replicate_cells([Together.of(prepared)], patient_ids, image_set_key, seed, replicates)[0]


def unheard(replicates: int) -> None:
    """For who wants not to be told."""


def replicate_cells(
    cells: Sequence[Together],
    patient_ids: NDArray[np.generic],
    image_set_key: str,
    seed: int,
    replicates: int,
    told: Callable[[int], None] = unheard,
) -> Array:
    """Values [cells, metrics, replicates], all on the same resamples, some blocks at a time, a thread for each core.

    Their products are small: several threads of a BLAS would spend the time waiting for each other. ``told``: how many
    more replicates of a cell are done.
    """
    found = np.empty((len(cells), cells[0].metrics, replicates))
    draws = _blocks(patient_ids, image_set_key, seed, replicates)
    several = max(1, WIDE // (np.dtype(np.float32).itemsize * BLOCK * len(patient_ids)))

    def fill(first: int) -> None:
        weights = Weights.of(np.concatenate([draw() for draw in draws[first : first + several]], axis=1))
        for values, cell in zip(found, cells, strict=True):
            values[:, first * BLOCK : first * BLOCK + weights.sums.shape[1]] = cell(weights)
            told(weights.sums.shape[1])

    keep_freed()
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads()) as pool:
        list(pool.map(fill, range(0, len(draws), several)))
    return found


@cache
def _libraries() -> ThreadpoolController:
    """The libraries that have threads of their own: looked for once."""
    return ThreadpoolController()


def threads() -> int:
    """How many blocks are worked on at once: the cores that this process may use, at most ``MOST_THREADS``.

    ``OMP_NUM_THREADS``, with which a shared machine says how many are ours, is a limit here too.
    """
    ours, asked = cores(), os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(ours, MOST_THREADS, int(asked) if asked.isdigit() else ours))


@dataclass(frozen=True)
class Interval:
    """Limits of an interval; NaN, with a note that says why, where there is none."""

    lower: float
    upper: float
    note: str = ""


def percentile_interval(values: Array, level: float) -> Interval:
    """Percentile interval (Efron and Tibshirani 1993, section 13.3) of replicates [B], the NaN ones left out.

    No interval where more than 5% of them are NaN: what is left would not be a sample of the metric's distribution.
    """
    if note := too_many_undefined(values):
        return Interval(np.nan, np.nan, note)
    tail = (1 - level) / 2
    lower, upper = np.nanquantile(values, (tail, 1 - tail))
    return Interval(float(lower), float(upper))


def percentile_p(improvements: Array) -> float:
    """One-tailed p of replicates [B] of a paired improvement, the NaN ones left out: (1 + #{<= 0}) / (B + 1).

    The level at which the one-sided percentile interval ends at zero (Efron and Tibshirani 1993, section 15.5),
    the observed sample counted in, so that it is never 0. It takes the distribution of the replicates about their mean
    for that of the estimate about the truth, has a floor of 1 / (B + 1), and knows nothing of training seeds.
    """
    if too_many_undefined(improvements):
        return float("nan")
    defined = len(improvements) - np.count_nonzero(np.isnan(improvements))
    return float((1 + np.count_nonzero(improvements <= 0)) / (defined + 1))


def too_many_undefined(values: Array) -> str:
    """Why replicates [B] show no distribution: more than 5% of them are NaN, or there are none. Else ""."""
    share = np.count_nonzero(np.isnan(values)) / len(values) if len(values) else 1.0
    return f"no interval: undefined in {share:.0%} of replicates" if share > MAX_UNDEFINED else ""
