"""Eighteen small images and a short pretraining of S-PCL."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess
from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig

GRAY = Preprocess(32, "squash", (0.5,), (0.25,), channels=1)


# 14 training images in batches of 4: 3 batches per epoch, 9 in all, no step at an epoch's end but the last.
CONFIG = PretrainConfig(arch="nano-32", epochs=6, batch_size=4, accumulate=2, precision="32", accelerator="cpu")


def make_manifest(root: Path, name: str = "toy") -> Manifest:
    rng = np.random.default_rng(0)
    rows = []
    for k in range(18):
        Image.fromarray(rng.integers(0, 256, (40, 50), np.uint8)).save(root / f"{k:02}.png")
        split = "train" if k < 14 else "val" if k < 16 else "test"
        rows.append(
            (f"i{k:02}", f"p{k:02}", "", "PA", split, f"{k:02}.png", (root / f"{k:02}.png").stat().st_size, 0.0)
        )
    columns = ["image_id", "patient_id", "study_id", "view", "split", "path", "bytes", "Nodule"]
    return Manifest(name, root, pd.DataFrame(rows, columns=columns), ("Nodule",), lineage=("nih",))
