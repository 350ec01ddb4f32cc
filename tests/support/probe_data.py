"""Features that carry labels, and the manifest of their images."""

from pathlib import Path

import numpy as np
import pandas as pd

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard, EncoderSpec

SPEC = EncoderSpec("fake", EncoderCard("fake"), "w", "s", "p", 0)


def make(rows: int = 600, width: int = 12, seed: int = 0) -> tuple[np.ndarray, Manifest]:
    """Features that carry two labels, and the manifest of their images, 60/20/20."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)).astype(np.float32)
    margins = x @ rng.normal(size=(width, 2)) - 1
    y = (rng.random((rows, 2)) < 1 / (1 + np.exp(-margins))).astype(np.float32)
    ids = [f"{i:04}" for i in range(rows)]
    split = np.repeat(["train", "val", "test"], [rows * 6 // 10, rows * 2 // 10, rows * 2 // 10])
    images = pd.DataFrame(
        {"image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "split": split, "path": ids, "bytes": 1}
    )
    return x, Manifest("toy", Path(), images.assign(a=y[:, 0], b=y[:, 1]), ("a", "b"))
