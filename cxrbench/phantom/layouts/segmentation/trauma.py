"""What the phantom has for CANDID-PTX alone: a chest tube and a broken rib, each with its mask, over any image."""

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from cxrbench.phantom.anatomy import Mask
from cxrbench.phantom.grids import Grid, smoothed
from cxrbench.phantom.image import Radiograph
from cxrbench.phantom.layouts.segmentation.ribs import STEPS, rib_outline

TUBE = 0.03  # its width, in anatomy coordinates
BRIGHTER, DARKER = 0.3, 0.35


def chest_tube(image: Radiograph, rng: Generator) -> Mask:
    """Where a tube runs from the side of the chest up to the apex."""
    side = int(rng.choice([-1, 1]))
    low, top = rng.uniform(0.1, 0.3), rng.uniform(-0.55, -0.4)
    share = np.linspace(0, 1, 30)
    x = side * ((1 - share) ** 2 * 0.72 + 2 * share * (1 - share) * rng.uniform(0.3, 0.5) + share**2 * 0.3)
    y = (1 - share) ** 2 * low + 2 * share * (1 - share) * (low - 0.15) + share**2 * top
    canvas = Image.new("1", (image.shape[1], image.shape[0]))
    points = image.thorax.pose.pixels(np.stack([x, y], axis=1)).ravel().tolist()
    width = max(2, round(TUBE * image.thorax.pose.unit))
    ImageDraw.Draw(canvas).line(points, fill=1, width=width, joint="curve")
    return np.asarray(canvas, bool)


def fracture(image: Radiograph, rng: Generator) -> Mask:
    """A short piece of one of the middle ribs, near the wall: where a reader would outline a fracture."""
    outline = rib_outline(image.thorax, str(rng.choice(["L", "R"])), int(rng.integers(5, 9)))
    column, row = outline[STEPS - 4]  # on the upper edge of the back part
    reach = 0.06 * image.thorax.pose.unit
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    return np.square(columns + 0.5 - column) + np.square(rows + 0.5 - row - reach / 2) < reach**2


def with_marks(image: Radiograph, tube: Mask | None, broken: Mask | None) -> Radiograph:
    """The image with a bright tube and a dark gap across the rib in the middle of ``broken``."""

    def paint() -> Grid:
        pixels = np.array(image.image, np.float32)
        if tube is not None:
            pixels += BRIGHTER * smoothed(tube.astype(np.float32), 0.7)
        if broken is not None and broken.any():
            rows, columns = np.nonzero(broken)
            gap = np.zeros_like(pixels)
            middle = int(columns.mean())
            gap[rows.min() : rows.max() + 1, middle - 1 : middle + 2] = 1
            pixels -= DARKER * smoothed(gap, 0.7)
        return np.clip(pixels, 0, 1)

    return replace(image, paint=paint)
