"""Cells that cost nothing but themselves: small CSVs, and encoders whose features lie in files."""

from pathlib import Path

import numpy as np
from PIL import Image

IMAGES = 60


def make_clinic(root: Path, seed: int = 0) -> Path:
    """A CSV of 60 images of 8 x 8 pixels, of 60 patients; its label is chance."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True)
    lines = ["image,patient,split,bright"]
    for i in range(IMAGES):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(root / f"{i}.png")
        lines.append(f"{i}.png,p{i},{('train', 'train', 'val', 'test')[i % 4]},{int(rng.random() < 0.5)}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root / "labels.csv"


def make_clinics(folder: Path, *, datasets: int, encoders: int) -> tuple[str, str]:
    """``--encoder`` and ``--tasks``: so many CSVs, and so many files of embeddings of all their images."""
    tables = [make_clinic(folder / f"clinic{k}", k) for k in range(datasets)]
    names = [str(table.with_name(f"{i}.png")) for table in tables for i in range(IMAGES)]
    rng, specs = np.random.default_rng(0), []
    for k in range(encoders):
        file = folder / f"encoder{k}.npz"
        np.savez(file, images=np.array(names, str), embeddings=rng.normal(size=(len(names), 8)).astype(np.float32))
        specs.append(f"embeddings:{file}")
    return ",".join(specs), ",".join(f"{table}:knn" for table in tables)
