"""Frozen networks whose embeddings of ECGs and laboratory values are the targets of the ``physiology`` protocol."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.files.digests import file_sha256


@dataclass(frozen=True)
class FrozenTeacher:
    """A file of weights. ``option``: by which it was named, as messages call it."""

    path: Path
    option: str

    def located(self) -> "FrozenTeacher":
        """Itself. Raises UserError if there is no such file."""
        if not self.path.is_file():
            raise UserError(f"{self.option} {self.path}: no such file; give the teacher's weights")
        return self

    @property
    def name(self) -> str:
        """The file's name without its ending, fit for that of a result."""
        return re.sub(r"[^A-Za-z0-9._]+", "-", self.path.stem)

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 of the file."""
        return file_sha256(self.path)


def taught_ecgs(teacher: FrozenTeacher, paths: Sequence[Path], cache: Path, device: str) -> NDArray[np.float32]:
    """Features [n, E] that a Net1D (ECGFounder: 1024) gives for recordings, kept in ``cache`` for other encoders.

    Raises UserError for weights that do not fit.
    """
    from cxrbench.encoders.ecg.teacher import ecg_embeddings

    return ecg_embeddings(paths, teacher.path, cache, device=device).embeddings


def taught_labs(teacher: FrozenTeacher, percentiles: NDArray[np.floating]) -> NDArray[np.float32]:
    """Code [n, E] (PaCX-MAE's: 256) of the autoencoder for percentiles [n, K], NaN where a test was not made.

    A missing test's value is 0, as the autoencoder saw it in training; PaCX-MAE's code leaves it at its training mean
    here. Raises UserError for weights that do not fit.
    """
    import torch

    from cxrbench.encoders.labs.autoencoder import labs_embeddings, load_dae

    model = load_dae(teacher.path, percentiles.shape[1])
    x = torch.from_numpy(np.nan_to_num(percentiles).astype(np.float32))
    made = torch.from_numpy(np.isfinite(percentiles).astype(np.float32))
    return labs_embeddings(model, x, made).numpy()
