"""Maps as colours over a radiograph."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]
# Dark violet, red, orange, pale yellow: lightness rises all the way, so that it reads without colours, too.
HEAT = np.array([(20, 0, 60), (110, 20, 110), (200, 50, 70), (250, 145, 20), (255, 250, 170)], float)
AGAINST, FOR = np.array((40, 110, 255), float), np.array((255, 60, 30), float)
OPAQUE = 0.7
"""Weight of the colour of the strongest place over the radiograph."""
DIMMED = 0.6
"""How bright the radiograph is under a map, so that light colours stand out from what is white in it."""


def heat(radiograph: Image.Image, values: Floats, low: float, high: float) -> Image.Image:
    """A map [h, w] over a picture [h, w] of an image, from ``low`` to ``high``; nothing where it is NaN."""
    share = np.clip((values - low) / max(high - low, 1e-30), 0, 1)
    at = np.nan_to_num(share) * (len(HEAT) - 1)
    colours = np.stack([np.interp(at, np.arange(len(HEAT)), channel) for channel in HEAT.T], axis=2)
    weight = np.where(np.isnan(share), 0, OPAQUE * (1 + 2 * np.nan_to_num(share)) / 3)  # the weakest: a third of it
    return _blended(radiograph, colours, weight)


def signed(radiograph: Image.Image, values: Floats, largest: float) -> Image.Image:
    """A map with a sign: red above 0, blue below, the stronger the nearer to ``largest``; nothing at 0 and NaN."""
    share = np.clip(np.nan_to_num(values) / max(largest, 1e-30), -1, 1)
    colours = np.where(share[:, :, None] > 0, FOR, AGAINST)
    return _blended(radiograph, colours, OPAQUE * np.abs(share))


def _blended(radiograph: Image.Image, colours: Floats, weight: Floats) -> Image.Image:
    gray = np.asarray(radiograph, float) * DIMMED
    mixed = gray * (1 - weight[:, :, None]) + colours * weight[:, :, None]
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def shares(values: Floats) -> Floats:
    """What of a map is above 0, as shares of its sum; NaN stays."""
    positive = np.maximum(values, 0)
    return positive / max(float(np.nansum(positive)), 1e-30)
