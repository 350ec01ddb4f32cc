"""Masks as predictions hold them: COCO's compressed run lengths."""

from typing import Any

import numpy as np
from pycocotools import mask as coco


def compressed(mask: np.ndarray) -> str:
    """The run lengths of a mask [H, W], true or 1 where something is."""
    encoded: Any = coco.encode(np.asfortranarray(mask, np.uint8))
    return encoded["counts"].decode()
