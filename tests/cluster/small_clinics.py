"""Cells that cost nothing but themselves: small CSVs, and encoders whose features lie in files."""

from pathlib import Path

import numpy as np
from PIL import Image

IMAGES = 60


def make_clinics(folder: Path, *, datasets: int, encoders: int) -> tuple[str, str]:
    """``--encoder`` and ``--tasks`` of CSVs of 60 images of 60 patients and files of embeddings of them all."""
    rng = np.random.default_rng(0)
    names, tables = [], []
    for k in range(datasets):
        root = folder / f"clinic{k}"
        root.mkdir(parents=True)
        lines = ["image,patient,split,bright"]
        for i in range(IMAGES):
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(root / f"{i}.png")
            lines.append(f"{i}.png,p{i},{('train', 'train', 'val', 'test')[i % 4]},{int(rng.random() < 0.5)}")
            names.append(str(root / f"{i}.png"))
        (root / "labels.csv").write_text("\n".join(lines) + "\n")
        tables.append(f"{root / 'labels.csv'}:knn")
    specs = []
    for k in range(encoders):
        file = folder / f"encoder{k}.npz"
        np.savez(file, images=np.array(names, str), embeddings=rng.normal(size=(len(names), 8)).astype(np.float32))
        specs.append(f"embeddings:{file}")
    return ",".join(specs), ",".join(tables)
