"""The patient-clustered bootstrap: one set of resamples for every encoder, so that all comparisons are paired."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrbench.metrics.classification import Prepared, Weights

Array = NDArray[np.float64]
REPLICATES = 10_000
BLOCK = 250  # Replicates drawn at a time. A part of every result: each block has a random stream of its own.
MAX_UNDEFINED = 0.05
LEVEL = 0.95


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
    patients, patient_of_image = np.unique(np.asarray(patient_ids).astype(str), return_inverse=True)
    blocks = stream(image_set_key, seed, "patients").spawn(-(-replicates // BLOCK))
    for start, block in zip(range(0, replicates, BLOCK), blocks, strict=True):
        generator = np.random.Generator(np.random.PCG64(block))
        drawn = generator.integers(len(patients), size=(BLOCK, len(patients)), dtype=np.uint32)
        counts = np.stack(
            [np.bincount(row, minlength=len(patients)) for row in drawn[: replicates - start]],
            dtype=np.uint16,
            casting="unsafe",  # At most as many draws as patients, and 65,536 of one patient do not happen.
        )
        yield counts.T[patient_of_image]


def replicate(
    prepared: Sequence[Prepared], patient_ids: NDArray[np.generic], image_set_key: str, seed: int, replicates: int
) -> Array:
    """Values [metrics, replicates] of prepared metrics, all on the same resamples, a block at a time."""
    blocks = map(Weights.of, resample_counts(patient_ids, image_set_key, seed, replicates))
    return np.concatenate([np.stack([metric(block) for metric in prepared]) for block in blocks], axis=1)


def resample_seeds(seeds: int, image_set_key: str, seed: int, replicates: int) -> Array:
    """Weights [seeds, replicates] of training seeds, columns summing to one: as many seeds drawn as there are.

    Encoders with equally many seeds see the same draws. With one seed all weights are one.
    """
    generator = np.random.Generator(np.random.PCG64(stream(image_set_key, seed, f"{seeds} training seeds")))
    return generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=replicates).T / seeds


@dataclass(frozen=True)
class Interval:
    """A 95% interval; NaN, with a note that says why, where there is none. ``undefined``: replicates that were NaN."""

    lower: float
    upper: float
    undefined: int = 0
    note: str = ""


def interval(values: Array) -> Interval:
    """Percentile interval (Efron and Tibshirani 1993, section 13.3) of replicates [B], the NaN ones left out.

    No interval where more than 5% of them are NaN: what is left would not be a sample of the metric's distribution.
    """
    undefined = int(np.isnan(values).sum())
    if too_many_undefined(values):
        share = undefined / max(len(values), 1)
        return Interval(np.nan, np.nan, undefined, f"no interval: undefined in {share:.0%} of replicates")
    tail = (1 - LEVEL) / 2
    lower, upper = np.nanquantile(values, (tail, 1 - tail))
    return Interval(float(lower), float(upper), undefined)


def too_many_undefined(values: Array) -> bool:
    """Whether more than 5% of the replicates are NaN, or there are none at all."""
    return len(values) == 0 or bool(np.isnan(values).mean() > MAX_UNDEFINED)
