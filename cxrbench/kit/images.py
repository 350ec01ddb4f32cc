"""Eight phantom images that an encoder is shown: the same everywhere, with the findings that it is for."""

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray

from cxrbench.phantom.findings import FINDINGS
from cxrbench.phantom.image import render

SEED = 14
GRADE = 0.8
SHAPES = ((256, 256), (256, 224), (224, 256), (256, 208))
"""Portrait and landscape too: what a crop or a squeeze does to them is part of what is compared."""


@functools.cache
def phantom_images() -> tuple[NDArray[np.float32], ...]:
    """Gray images [H, W] float32 in [0, 1], one per finding, of 256 gray values: no last bit depends on a library."""
    images = []
    for i, finding in enumerate(FINDINGS):
        pixels = render((SEED, i), {finding: GRADE}, shape=SHAPES[i % len(SHAPES)]).image
        images.append((np.rint(pixels * 255) / np.float32(255)).astype(np.float32))
    return tuple(images)


def images_sha256() -> str:
    """Hex sha256 of the images: where a library draws them otherwise, features cannot be compared."""
    digest = hashlib.sha256()
    for image in phantom_images():
        digest.update(f"{image.shape}|".encode() + np.rint(image * 255).astype(np.uint8).tobytes())
    return digest.hexdigest()
