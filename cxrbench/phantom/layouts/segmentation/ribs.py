"""Outlines of the phantom's ribs: the posterior arc and, of the upper six, the anterior part that continues it."""

import numpy as np
from numpy.typing import NDArray

from cxrbench.phantom.anatomy import Thorax
from cxrbench.phantom.grids import look_up

MARGIN = 0.036  # half the width of what a reader outlines: the rib and its bright cortex
MEDIAL = 0.38  # how far from the midline the anterior parts end
SPINE = 0.08
TURN = 0.07  # how far from the wall the inner edges of the two parts meet
ANTERIOR = 6
NUMBERS = range(1, 11)
STEPS = 12
ROUNDS = 12


def rib_outline(t: Thorax, side: str, number: int) -> NDArray[np.float64]:
    """Corners [n, 2] (column, row) of rib ``R1`` ... ``L10`` in pixels, which may lie outside of the image.

    The curves are those along which ``drawing.ribs`` draws. Anterior parts cross the posterior arcs of the next ribs.
    """
    upper, lower = _posterior(t, number, -MARGIN), _posterior(t, number, MARGIN)
    if number - 1 < ANTERIOR:
        front_lower, front_upper = _anterior(t, number, MARGIN), _anterior(t, number, -MARGIN)
        inner_back = lower[lower[:, 0] < _wall(t, lower[:, 1]) - TURN]
        inner_front = front_upper[front_upper[:, 0] < _wall(t, front_upper[:, 1]) - TURN]
        points = np.concatenate([upper, front_lower, inner_front[::-1], inner_back[::-1]])
    else:
        points = np.concatenate([upper, lower[::-1]])
    points[:, 0] *= 1 if side == "L" else -1
    return t.pose.pixels(points)


def _posterior(t: Thorax, number: int, shift: float) -> NDArray[np.float64]:
    """An edge of the posterior arc, from the spine to the wall: [STEPS, 2] distance from the midline and height."""
    an = t.anatomy
    slope, share = an.rib_slope * 1.5, np.linspace(0, 1, STEPS)
    a, y = np.zeros(STEPS), np.full(STEPS, (number - 1) * an.rib_spacing - 0.78)
    for _ in range(ROUNDS):  # the arc depends on the wall at its own height
        wall = np.maximum(_wall(t, y), 0.1)
        a = SPINE + share * (wall - SPINE)
        q = a / wall
        steep = np.sqrt(1 + np.square(3 * slope * q * q / np.maximum(wall, 0.2)))
        y = (number - 1) * an.rib_spacing - 0.78 + slope * q**3 - 0.055 * np.sin(np.pi * q) + shift * steep
    return np.stack([a, y], axis=1)


def _anterior(t: Thorax, number: int, shift: float) -> NDArray[np.float64]:
    """An edge of the anterior part, from the wall to its medial end: [STEPS, 2]."""
    an = t.anatomy
    slope, share = an.rib_slope * 1.5, np.linspace(0, 1, STEPS)
    a, y = np.zeros(STEPS), np.full(STEPS, number * an.rib_spacing * 1.02 - 0.6)
    for _ in range(ROUNDS):
        wall = np.maximum(_wall(t, y), MEDIAL)
        d = share * (wall - MEDIAL)
        a = wall - d
        drop = 0.62 * d - 0.08 * np.exp(-d / 0.06) + slope * 0.75
        y = number * an.rib_spacing * 1.02 - 0.70 + drop + shift * 1.18
    return np.stack([a, y], axis=1)


def _wall(t: Thorax, y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of the chest wall from the midline at some heights."""
    return np.asarray(look_up(t.wall_curve, y), np.float64)
