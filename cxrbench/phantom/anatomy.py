"""The phantom's patient: where wall, diaphragm, mediastinum and heart are, on the pixel grid of one image.

Anatomy coordinates: x = 0 is the midline, x > 0 is the patient's left (image right); y grows downwards, the lung apices
lie near -0.78 and the costophrenic angles near 0.65. A frontal image shows about [-1, 1] in both.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from cxrbench.phantom.grids import Grid, bins, curve, edge, look_up

Mask = NDArray[np.bool_]

CARDIOMEGALY_RATIO = 0.50  # cardiothoracic ratio above which the heart is called enlarged
ENLARGED_KNOB = 0.115  # radius of the aortic knob above which the aorta is called enlarged


@dataclass(frozen=True)
class Anatomy:
    """What identifies a patient; lengths in anatomy coordinates.

    ``width``: scale of the rib cage; ``base``: downward shift of the diaphragm; ``fat``: thickness of the chest wall;
    ``heart_ratio``: cardiothoracic ratio; ``knob``: radius of the aortic knob; ``breast``: radius, 0 for none;
    ``rib_slope``, ``rib_spacing``, ``clavicle``, ``scapula``, ``shoulder``: bony variants;
    ``vessels``: seed of the vessel trees.
    """

    width: float
    base: float
    dome_step: float
    dome_arch: float
    fat: float
    heart_ratio: float
    heart_share: float
    knob: float
    knob_y: float
    breast: float
    rib_slope: float
    rib_spacing: float
    clavicle: float
    scapula: float
    shoulder: float
    stomach: float
    vessels: int

    @staticmethod
    def sample(rng: Generator, *, cardiomegaly: float | None = None, aorta: float | None = None) -> "Anatomy":
        """A patient; ``cardiomegaly``, ``aorta``: grades in [0, 1], None for a heart or a knob of normal size."""
        u = rng.uniform
        female, spread = rng.random() < 0.5, np.clip(rng.normal(size=4), -2.2, 2.2).tolist()
        heart, knob = abs(spread[2]), abs(spread[3])
        return Anatomy(
            width=1.0 + 0.015 * spread[0],
            base=0.015 * spread[1],
            dome_step=u(0.01, 0.07),
            dome_arch=u(0.12, 0.22),
            fat=u(0.10, 0.12),
            heart_ratio=CARDIOMEGALY_RATIO - 0.005 - 0.032 * heart
            if cardiomegaly is None
            else CARDIOMEGALY_RATIO + 0.005 + 0.12 * cardiomegaly,
            heart_share=u(0.29, 0.37),
            knob=ENLARGED_KNOB - 0.003 - 0.015 * knob if aorta is None else ENLARGED_KNOB + 0.003 + 0.055 * aorta,
            knob_y=u(-0.42, -0.34),
            breast=u(0.3, 0.34) if female else 0.0,
            rib_slope=u(0.17, 0.23),
            rib_spacing=u(0.118, 0.134),
            clavicle=u(-0.04, 0.05),
            scapula=u(0.0, 0.13),
            shoulder=u(-0.01, 0.01),
            stomach=u(0.4, 1.0),
            vessels=int(rng.integers(2**31)),
        )


@dataclass(frozen=True)
class Pose:
    """Where the patient stands on the detector: ``height`` x ``width`` pixels, rotation in radians, zoom, shift."""

    height: int
    width: int
    rotation: float
    zoom: float
    dx: float
    dy: float

    @property
    def unit(self) -> float:
        """Pixels per unit of anatomy coordinates."""
        return min(self.height, self.width) / 1.95 * self.zoom

    def grid(self) -> tuple[Grid, Grid]:
        """Anatomy coordinates x, y [height, width] of the pixel centres."""
        u = (np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2)[None] / self.unit - self.dx
        v = (np.arange(self.height, dtype=np.float32) + 0.5 - self.height / 2)[:, None] / self.unit - self.dy
        c, s = np.float32(np.cos(self.rotation)), np.float32(np.sin(self.rotation))
        return (c * u + s * v).astype(np.float32), (c * v - s * u).astype(np.float32)

    def pixels(self, points: ArrayLike) -> NDArray[np.float64]:
        """Pixel coordinates [..., 2] (column, row) of anatomy points [..., 2] (x, y)."""
        x, y = np.moveaxis(np.asarray(points, np.float64), -1, 0)
        c, s = np.cos(self.rotation), np.sin(self.rotation)
        u, v = c * x - s * y + self.dx, s * x + c * y + self.dy
        return np.stack([u * self.unit + self.width / 2, v * self.unit + self.height / 2], -1)


Window = tuple[slice, slice]
"""Rows and columns of a part of a grid."""


class Thorax:
    """The surfaces of one patient on one grid; all arrays [H, W] float32, distances positive inside the lung."""

    def __init__(self, anatomy: Anatomy, pose: Pose) -> None:
        self.anatomy, self.pose = anatomy, pose
        self.half_width = 0.69 * anatomy.width

    @cached_property
    def _grid(self) -> tuple[Grid, Grid]:
        return self.pose.grid()

    @property
    def x(self) -> Grid:
        """Distance from the midline, positive on the patient's left."""
        return self._grid[0]

    @property
    def y(self) -> Grid:
        """Height, growing downwards."""
        return self._grid[1]

    @cached_property
    def a(self) -> Grid:
        """Distance from the midline on either side."""
        return np.abs(self.x)

    @cached_property
    def left(self) -> Mask:
        """The patient's left: image right."""
        return self.x > 0

    @cached_property
    def wall_curve(self) -> Grid:
        """Distance of the chest wall from the midline, by height."""
        k = self.anatomy.width
        knots = [(-0.86, -0.1), (-0.8, 0.1), (-0.78, 0.25), (-0.74, 0.34), (-0.66, 0.43), (-0.5, 0.53), (-0.25, 0.615),
                 (0.05, 0.665), (0.3, 0.69), (0.6, 0.69), (0.8, 0.67)]  # fmt: skip
        return curve([(y, v * k) for y, v in knots])

    @cached_property
    def wall(self) -> Grid:
        """Distance of the chest wall from the midline."""
        return self.by_height(self.wall_curve)

    @cached_property
    def _bins(self) -> NDArray[np.intp]:
        return bins(self.y)

    def by_height(self, table: Grid) -> Grid:
        """Values of a ``curve`` of the height."""
        return table.take(self._bins, mode="clip")

    @cached_property
    def from_wall(self) -> Grid:
        """Distance from the chest wall."""
        return self.wall - self.a

    @cached_property
    def from_dome(self) -> Grid:
        """Height above the diaphragm."""
        return look_up(self.dome_curve(), self.x) - self.y

    @cached_property
    def from_mediastinum(self) -> Grid:
        """Distance from the mediastinum and the heart."""
        return self.a - self.border

    def window(self, x: tuple[float, float], y: tuple[float, float] = (-2.0, 2.0)) -> Window:
        """The part of the grid that holds every pixel with its coordinates in these ranges; it may be empty.

        Most structures are small: they are drawn in their window, and are exactly zero outside it.
        """
        pose, unit = self.pose, self.pose.unit
        cos, sin = math.cos(pose.rotation), math.sin(pose.rotation)
        columns = [(cos * at - sin * height + pose.dx) * unit + pose.width / 2 for at in x for height in y]
        rows = [(sin * at + cos * height + pose.dy) * unit + pose.height / 2 for at in x for height in y]
        left, right = max(0, math.floor(min(columns)) - 1), max(0, math.ceil(max(columns)) + 1)
        top, bottom = max(0, math.floor(min(rows)) - 1), max(0, math.ceil(max(rows)) + 1)
        return slice(top, bottom), slice(left, right)

    def dome_curve(self) -> Grid:
        """Height y of the diaphragm as a function of x."""
        an, h = self.anatomy, self.half_width
        top, arch = 0.40 + an.base, an.dome_arch
        knots = []
        for t in np.linspace(-1.3, 1.3, 53):
            a = abs(t)
            step = an.dome_step * (1.0 if t > 0.1 else 0.0 if t < -0.1 else (t + 0.1) * 5)
            rise = ((a - 0.5) / 0.5) ** 2 if a > 0.5 else 0.35 * ((0.5 - a) / 0.5) ** 2
            knots.append((t * h, top + step + arch * rise))
        return curve(knots, 0.012)

    @property
    def heart_reach(self) -> tuple[float, float]:
        """How far the heart reaches from the midline to the patient's right and left."""
        total = self.anatomy.heart_ratio * 2 * self.half_width
        return total * self.anatomy.heart_share, total * (1 - self.anatomy.heart_share)

    @cached_property
    def border(self) -> Grid:
        """Half-width of the mediastinum and heart on the side of each pixel, the aortic knob included."""
        right, left = self.heart_reach
        b = self.anatomy.base
        left_knots = [
            (-0.95, 0.1), (-0.75, 0.115), (-0.55, 0.105), (-0.45, 0.11), (-0.3, 0.12), (-0.2, 0.14), (-0.12, 0.15),
            (-0.03, 0.165), (0.1 + b / 2, 0.165 + (left - 0.165) * 0.5), (0.22 + b, 0.165 + (left - 0.165) * 0.87),
            (0.33 + b, left), (0.42 + b, left * 0.985), (0.5 + b, left * 0.86), (0.56 + b, left * 0.6), (0.62 + b, 0.1),
        ]  # fmt: skip
        right_knots = [
            (-0.95, 0.1), (-0.75, 0.1), (-0.55, 0.095), (-0.35, 0.105), (-0.15, 0.125), (0.0, 0.13),
            (0.1 + b, 0.13 + (right - 0.13) * 0.75), (0.22 + b, right), (0.32 + b, right * 0.96),
            (0.42 + b, right * 0.8), (0.5 + b, 0.1),
        ]  # fmt: skip
        r, lft = (self.by_height(curve(knots, 0.025)) for knots in (right_knots, left_knots))
        knob, knob_y = self.anatomy.knob, self.anatomy.knob_y
        at = self.window((0, 2), (knob_y - knob, knob_y + knob))
        chord = np.sqrt(np.clip(knob**2 - np.square(self.y[at] - knob_y), 0, None))
        lft[at] = np.maximum(lft[at], (0.055 + chord) * (chord > 0))
        np.copyto(r, lft, where=self.left)
        return r

    @cached_property
    def cavity(self) -> Grid:
        """Pleural cavity beside the mediastinum, soft-edged: what is seen as lung on the image."""
        return edge(self.from_wall, 0.012) * edge(self.from_dome, 0.014) * edge(self.from_mediastinum, 0.014)

    @cached_property
    def lung(self) -> Mask:
        """The visible lung fields."""
        return self.cavity > 0.5

    @cached_property
    def heart(self) -> Mask:
        """The heart: the silhouette below the great vessels, above the diaphragm."""
        return (self.from_mediastinum < 0) & (self.y > -0.08) & (self.from_dome > -0.05)

    @cached_property
    def aortic_knob(self) -> Mask:
        """The aortic knob: a disc that overlaps the midline structures on the patient's left."""
        an = self.anatomy
        return np.square(self.x - 0.055) + np.square(self.y - an.knob_y) < an.knob**2
