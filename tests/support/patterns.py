"""Small images that six numbers each make: what an encoder may keep of them, or lose."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess

GRAY = Preprocess(24, "squash", (0.5,), (0.25,), channels=1)


def make_manifest(root: Path, train: int = 48, val: int = 40, test: int = 4) -> Manifest:
    """Label ``steep``: the sign of one of the numbers."""
    rng, rows = np.random.default_rng(0), []
    y, x = np.mgrid[0:24, 0:24] / 23 - 0.5
    shapes = np.stack([np.ones_like(x), 2 * x, 2 * y, np.sin(9 * x), np.cos(9 * y), np.sin(20 * (x + y))])
    splits = ["train"] * train + ["val"] * val + ["test"] * test
    for k, split in enumerate(splits):
        numbers = rng.normal(size=6)
        pixels = 120 + 20 * np.tensordot(numbers, shapes, 1) + rng.normal(0, 4, x.shape)
        path = root / f"{k:03}.png"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
        label = float(numbers[1] > 0)
        rows.append((f"i{k:03}", f"p{k:03}", "", "PA", split, path.name, path.stat().st_size, label))
    columns = ["image_id", "patient_id", "study_id", "view", "split", "path", "bytes", "steep"]
    return Manifest("patterns", root, pd.DataFrame(rows, columns=columns), ("steep",))
