"""Small data sets in a user's own layout: a CSV beside images of which a label can be seen."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cxrbench.data.manifest import Manifest
from cxrbench.engine.elsewhere.joined import Joined, joined


def write_clinic(
    folder: Path,
    *,
    labels: Sequence[str] = ("bright", "coin"),
    images: int = 80,
    seed: int = 0,
    level: int = 90,
    toml: str = "",
    unknown: Mapping[str, int] | None = None,
) -> Path:
    """The path of a CSV with ``images`` images of half as many patients: every fifth is tested, every fifth validates.

    ``bright`` is visible, all other labels are chance; ``unknown``: labels of which every so-manieth image is blank.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    lines = [",".join(("image", "patient", "split", *labels))]
    for i in range(images):
        values = {label: int(rng.random() < 0.4) for label in labels}
        pixels = np.clip(rng.normal(level + 25 * values.get("bright", 0), 30, (24, 20)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.png")
        split = {3: "val", 4: "test"}.get(i // 2 % 5, "train")
        cells = ["" if i % (unknown or {}).get(label, images + 1) == 1 else str(values[label]) for label in labels]
        lines.append(",".join((f"{i:03}.png", f"p{i // 2}", split, *cells)))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    if toml:
        (folder / "labels.toml").write_text(toml)
    return folder / "labels.csv"


def join(training: Sequence[Manifest], tested: Manifest | None) -> Joined:
    """Datasets that nobody has registered."""
    return joined(training, tested, {})
