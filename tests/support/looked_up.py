"""What a manifest says of an image, as plain values."""

from collections import Counter
from typing import Any

from cxrbench.data.manifest import Manifest


def column(manifest: Manifest, name: str) -> dict[str, Any]:
    """A column of the image table by image id."""
    return dict(zip(manifest.images["image_id"].tolist(), manifest.images[name].tolist(), strict=True))


def cells(manifest: Manifest, image_id: str, *names: str) -> list[Any]:
    """Some cells of an image's row."""
    return [column(manifest, name)[image_id] for name in names]


def positives(manifest: Manifest, label: str) -> dict[str, tuple[int, int]]:
    """Per split how many images there are, and how many are positive."""
    pairs = list(zip(manifest.images["split"].tolist(), manifest.images[label].tolist(), strict=True))
    images, found = Counter(split for split, _ in pairs), Counter(split for split, value in pairs if value == 1)
    return {split: (images[split], found[split]) for split in images}
