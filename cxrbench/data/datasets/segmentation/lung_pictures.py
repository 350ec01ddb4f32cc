"""Masks from pictures of lungs on black: which pixels are lung, and which lung."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, label

from cxrbench.data.annotations.mask_files import is_jpeg, read_mask
from cxrbench.data.annotations.masks import Box
from cxrbench.data.decode.images import decode
from cxrbench.errors import UserError

DARK = 12 / 255  # what a JPEG may have where black was drawn
LEAST, MOST = 0.02, 0.75  # share of a picture that lungs take
SPECK = 0.02  # of the largest piece

Mask = NDArray[np.bool_]
Side = Literal["left", "right"]
"""Of the patient: the right lung is on the left of the image."""


def lung_mask(path: Path) -> Mask:
    """Which pixels [H, W] of a lung picture or of a mask are lung; holes are filled, specks dropped.

    Raises UserError for what cannot be read, and for a picture that is lung nearly everywhere or nearly nowhere.
    """
    drawn = np.asarray(decode(path)) > DARK if is_jpeg(path) else read_mask(path) != 0
    if not LEAST <= drawn.mean() <= MOST:
        raise UserError(f"{path} is no picture of lungs on black: {drawn.mean():.0%} of it is not black")
    pieces, sizes = _pieces(np.asarray(binary_fill_holes(drawn), bool))
    return np.isin(pieces, 1 + np.flatnonzero(sizes >= SPECK * sizes.max()))


def two_lungs(mask: Mask, boxes: Mapping[str, Box], size: tuple[int, int]) -> dict[Side, Mask]:
    """The patient's lungs from the mask of both. ``boxes``: Chest ImaGenome's, in pixels of an image of ``size``.

    A piece of the mask belongs to the side of the middle on which its centre lies. Where that leaves one side empty,
    the mask is cut along the middle. The middle lies between the boxes of the lungs, or else of all that is lung.
    """
    columns = np.flatnonzero(mask.any(0))
    middle = (columns[0] + columns[-1] + 1) / 2
    if "left lung" in boxes and "right lung" in boxes:
        middle = sum(boxes[name].x + boxes[name].width / 2 for name in ("left lung", "right lung")) / 2
        middle *= mask.shape[1] / size[1]
    x = np.arange(mask.shape[1]) + 0.5
    pieces, sizes = _pieces(mask)
    centres = np.array([(x * (pieces == n + 1).sum(0)).sum() / count for n, count in enumerate(sizes)])
    right = np.isin(pieces, 1 + np.flatnonzero(centres < middle))
    if not right.any() or (right == mask).all():
        right = mask & (x < middle)
    return {"right": right, "left": mask & ~right}


def box_mask(box: Box, size: tuple[int, int], shape: tuple[int, int]) -> Mask:
    """Which pixels of a grid of ``shape``, laid over an image of ``size``, have their centres in a box of the image."""
    y, x = ((np.arange(cells) + 0.5) * pixels / cells for cells, pixels in zip(shape, size, strict=True))
    return ((y >= box.y) & (y < box.y + box.height))[:, None] & ((x >= box.x) & (x < box.x + box.width))


def _pieces(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The connected pieces of a mask, numbered from 1, and how many pixels each has."""
    pieces = np.zeros(mask.shape, np.int32)
    label(mask, np.ones((3, 3)), output=pieces)
    return pieces, np.bincount(pieces.ravel())[1:]
