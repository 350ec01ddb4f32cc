"""The phantom's findings: each changes the image and gives its mask out of one and the same geometry.

A grade in [0, 1] sets how large and how dense a finding is: 0 is barely visible, 1 is unmissable. Beside its region a
finding has companion signs over both lungs, as in patients: fine nodules beside an opacity, thickened septa with an
effusion, congested vessels with a large heart, streaks of air in the chest wall beside a pneumothorax. They are
textures without a mean, so a mean gray value does not show them, and every patch does. The mask holds the region only.

Where a finding is and how it is painted are two steps: masks and boxes are known without a pixel of the image. All
random numbers are drawn in the first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.ndimage import find_objects, label

from cxrbench.phantom.anatomy import CARDIOMEGALY_RATIO, ENLARGED_KNOB, Mask, Thorax
from cxrbench.phantom.grids import Grid, bump, curve, edge, look_up, radius
from cxrbench.phantom.textures import septa, striae, texture

OPACITY = "Lung Opacity"
EFFUSION = "Pleural effusion"
CARDIOMEGALY = "Cardiomegaly"
PNEUMOTHORAX = "Pneumothorax"
NODULE = "Nodule/Mass"
THICKENING = "Pleural thickening"
AORTA = "Aortic enlargement"
FIBROSIS = "Pulmonary fibrosis"
FINDINGS = (OPACITY, EFFUSION, CARDIOMEGALY, PNEUMOTHORAX, NODULE, THICKENING, AORTA, FIBROSIS)


@dataclass(frozen=True)
class Finding:
    """One region of one finding: ``name`` from FINDINGS, its ``grade``, its ``mask`` [H, W]."""

    name: str
    grade: float
    mask: Mask

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The tight box x, y, width, height of the mask, in pixels."""
        rows, columns = find_objects(self.mask.astype(np.uint8))[0]
        return columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start


@dataclass
class Layers:
    """What findings act on, all [H, W]: a factor on the air in the lungs, one on the vessels, and added attenuation."""

    air: Grid
    vessels: Grid
    added: Grid


Paint = Callable[[Layers], None]


class Findings:
    """The findings of an image, ``grades`` (name -> grade): each is placed when it is first asked for.

    Heart and aorta count by their size, drawn already.
    """

    def __init__(self, t: Thorax, grades: Mapping[str, float], rng: Generator) -> None:
        self.thorax, self.grades = t, grades
        self.streams: dict[str, Generator] = dict(zip(FINDINGS, rng.spawn(len(FINDINGS)), strict=True))
        self.placed: dict[str, tuple[list[Mask], Paint]] = {}

    def of(self, name: str) -> list[Finding]:
        """The regions of one finding."""
        return [Finding(name, self.grades.get(name, 0.0), mask) for mask in self._place(name)[0] if mask.any()]

    def all(self) -> tuple[Finding, ...]:
        """The regions of all findings, heart and aorta last."""
        return tuple(finding for name in (*PLACE, CARDIOMEGALY, AORTA) for finding in self.of(name))

    def any(self) -> bool:
        """Whether there is a finding at all."""
        return any(self.of(name) for name in (CARDIOMEGALY, AORTA, *PLACE))

    def paint(self, layers: Layers) -> None:
        """Paint all findings."""
        for name in (*PLACE, CARDIOMEGALY):
            self._place(name)[1](layers)

    def _place(self, name: str) -> tuple[list[Mask], Paint]:
        if name not in self.placed:
            self.placed[name] = self._first_placed(name)
        return self.placed[name]

    def _first_placed(self, name: str) -> tuple[list[Mask], Paint]:
        t, grade = self.thorax, self.grades.get(name, 0.0)
        if name in PLACE and name in self.grades:
            return PLACE[name](t, self.streams[name], grade)
        if name == CARDIOMEGALY and t.anatomy.heart_ratio > CARDIOMEGALY_RATIO:
            return [t.heart], lambda layers: _congest(layers, grade)
        if name == AORTA and t.anatomy.knob > ENLARGED_KNOB:
            return [t.aortic_knob], lambda layers: None
        return [], lambda layers: None


def _congest(layers: Layers, grade: float) -> None:
    """Pulmonary venous congestion, behind a large heart."""
    layers.vessels *= 1.5 + 1.5 * grade


def _pick(rng: Generator, where: Mask) -> tuple[int, int]:
    """A random pixel (row, column) of a mask."""
    at = np.flatnonzero(where)
    return divmod(int(at[rng.integers(len(at))]), where.shape[1])


def _blob(t: Thorax, x: float, y: float, radii: tuple[float, float], rng: Generator, ragged: float) -> Grid:
    """Radial coordinate of a ragged ellipse: below 1 inside."""
    dx, dy = t.x - np.float32(x), t.y - np.float32(y)
    angle = np.arctan2(dy, dx)
    shape = 1 + sum(ragged / k * np.cos(k * angle + rng.uniform(0, 6.28)) * rng.uniform(0.5, 1) for k in (2, 3, 5))
    return (radius(dx / radii[0], dy / radii[1]) / shape).astype(np.float32)


def opacity(t: Thorax, rng: Generator, grade: float) -> tuple[list[Mask], Paint]:
    """Air-space opacity: ill-defined, mottled patches in one or both lungs, denser towards their middle.

    Around them both lungs are full of nodules too small to be outlined (bronchopneumonic foci).
    """
    mottle, foci = texture(rng, t.a, 0.03 * t.pose.unit), texture(rng, t.a, 0.025 * t.pose.unit)
    patches: list[Grid] = []
    central = t.lung & (t.from_wall > 0.09) & (t.from_dome > 0.08)
    for side in rng.permutation([-1, 1])[: 1 + (rng.random() < 0.35 + 0.2 * grade)]:
        where = central & ((t.x > 0) == (side > 0)) & (t.y > rng.uniform(-0.65, 0.15))
        if not where.any():
            continue
        row, column = _pick(rng, where)
        size = (0.75 + 0.65 * grade) * rng.uniform(0.85, 1.2)
        radii = (rng.uniform(0.13, 0.2) * size, rng.uniform(0.15, 0.27) * size)
        patches.append(_blob(t, t.x[row, column], t.y[row, column], radii, rng, 0.3))

    def paint(layers: Layers) -> None:
        mottled = mottle()
        layers.added += (0.03 + 0.065 * grade) * foci() * t.cavity
        for r in patches:
            field = edge(1.05 - r + 0.07 * mottled, 0.9)
            uneven = np.clip(1 + 0.35 * (1 - 0.4 * grade) * mottled, 0.2, 1.8)
            layers.added += (0.045 + 0.14 * grade) * field * uneven * t.cavity
            layers.vessels *= 1 - (0.2 + 0.6 * grade) * field

    return [(r < 1) & t.lung for r in patches], paint


def effusion(t: Thorax, rng: Generator, grade: float) -> tuple[list[Mask], Paint]:
    """Pleural effusion: fluid from the costophrenic angle up, its surface a meniscus that climbs the wall."""
    side = rng.choice([-1, 1])
    height = 0.07 + 0.62 * grade * rng.uniform(0.75, 1.1)
    floor = 0.60 + t.anatomy.base
    surface = floor - height * (0.5 + 0.5 * bump(t.from_wall, 0.1 + 0.22 * grade)) - 0.14 * (bump(t.from_wall, 0.05))
    depth = (t.y - surface) * ((t.x > 0) == (side > 0)) - 10.0 * ((t.x > 0) != (side > 0))
    # Fluid in the pleura seldom comes without some in the lungs: interstitial oedema thickens the septa on both sides.
    lines = septa(rng, t)

    def paint(layers: Layers) -> None:
        fluid = edge(depth, 0.04) * edge(t.from_wall, 0.012)
        layers.air *= 1 - 0.9 * fluid
        layers.vessels *= 1 - fluid
        layers.added += 0.03 * fluid * t.cavity
        layers.added += (0.035 + 0.07 * grade) * lines() * t.cavity

    return [(depth > 0) & t.lung], paint


def pneumothorax(t: Thorax, rng: Generator, grade: float) -> tuple[list[Mask], Paint]:
    """Pneumothorax: lung shrunk from wall and apex towards its hilum; a fine visceral line, no vessels beyond."""
    streaks, spaces = striae(rng, t), []
    for side in rng.permutation([-1, 1])[: 1 + (rng.random() < 0.06)]:
        here = (t.x > 0) == (side > 0)
        foot = rng.uniform(0.1, 0.4) + 0.4 * grade
        top = 0.16 + 0.32 * grade
        shrink = look_up(curve([(-1, top), (-0.6, top), (foot, 0.0), (foot + 0.1, -0.02)], 0.04), t.y)
        hilum_x, hilum_y = 0.15, 0.1 * grade
        scale = 1 / (1 - shrink)
        inner_y = hilum_y + (t.y - hilum_y) * scale
        gap = look_up(t.wall_curve, inner_y) - hilum_x - (t.a - hilum_x) * scale
        wave = 0.006 * np.cos(t.y * rng.uniform(8, 14) + rng.uniform(0, 6))
        spaces.append((here, (gap + wave) * here + 10.0 * ~here))

    def paint(layers: Layers) -> None:
        layers.added += (0.04 + 0.07 * grade) * streaks()
        for here, gap in spaces:
            free = edge(-gap, 0.012) * t.cavity
            # The other lung and what is left of this one carry the whole blood flow.
            layers.vessels *= (1 - free) * (1.25 + 0.75 * grade)
            layers.air *= 1 + (0.05 + 0.10 * grade) * free - (0.02 + 0.04 * grade) * (1 - free) * here * t.cavity
            layers.added += (0.04 + 0.045 * grade) * bump(gap, 0.009) * edge(t.from_wall - 0.01, 0.01) * t.cavity

    return [(gap < 0) & t.lung for _, gap in spaces], paint


def nodule(t: Thorax, rng: Generator, grade: float) -> tuple[list[Mask], Paint]:
    """Nodule or mass: one to three round shadows with a fairly sharp margin."""
    shadows: list[Grid] = []
    where = t.lung & (t.from_wall > 0.07) & (t.from_dome > 0.05) & (t.from_mediastinum > 0.04)
    for _ in range(1 + (rng.random() < 0.25) + (rng.random() < 0.12)):
        row, column = _pick(rng, where)
        size = (0.03 + 0.1 * grade) * rng.uniform(0.85, 1.25)
        radii = (size, size * rng.uniform(0.85, 1.15))
        shadows.append(_blob(t, t.x[row, column], t.y[row, column], radii, rng, 0.1))

    def paint(layers: Layers) -> None:
        for r in shadows:
            layers.added += (0.16 + 0.28 * grade) * edge(1 - r, 0.45) * (0.75 + 0.25 * np.clip(1 - r, 0, 1)) * t.cavity

    return [(r < 1) & t.lung for r in shadows], paint


def thickening(t: Thorax, rng: Generator, grade: float) -> tuple[list[Mask], Paint]:
    """Pleural thickening: an uneven band along the lateral wall, or a cap over the apex."""
    bands: list[Grid] = []
    for side in rng.permutation([-1, 1])[: 1 + (rng.random() < 0.35)]:
        here = (t.x > 0) == (side > 0)
        apical = rng.random() < 0.4
        top = -0.85 if apical else rng.uniform(-0.5, 0.0)
        length = 0.35 if apical else rng.uniform(0.35, 0.7)
        thickness = (0.028 + 0.075 * grade) * (1 + 0.3 * np.cos(t.y * rng.uniform(10, 25) + rng.uniform(0, 6)))
        ends = edge(t.y - top, 0.12) * edge(top + length - t.y, 0.12)
        inset = np.minimum(t.from_wall, (t.y + 0.79) * 0.75) if apical else t.from_wall
        bands.append((thickness * ends - inset) * here - 1.0 * ~here)

    def paint(layers: Layers) -> None:
        for depth in bands:
            layers.added += (0.2 + 0.25 * grade) * edge(depth + 0.004, 0.02) * t.cavity

    return [(depth > 0) & t.lung for depth in bands], paint


def fibrosis(t: Thorax, rng: Generator, grade: float) -> tuple[list[Mask], Paint]:
    """Pulmonary fibrosis: a net of fine lines in the lower and outer zones of both lungs."""
    scale = 0.04 * t.pose.unit
    everywhere, fine, coarse = (texture(rng, t.a, scale * times) for times in (1, 1, 1.5))
    top = 0.25 - 0.45 * grade + rng.uniform(-0.1, 0.1)
    extent = t.y - top + 0.3 * bump(t.from_wall, 0.15) - 0.1

    def paint(layers: Layers) -> None:
        layers.added += (0.04 + 0.08 * grade) * everywhere() * t.cavity  # finer than the net
        net = np.maximum(bump(fine(), 0.35), bump(coarse(), 0.3))
        weight = edge(extent, 0.35) * t.cavity
        layers.added += (0.09 + 0.26 * grade) * weight * (net - 0.2)
        layers.vessels *= 1 - 0.3 * weight

    mask = (extent > 0) & t.lung
    return [r for r in (mask & ~t.left, mask & t.left) if r.any()], paint


PLACE: dict[str, Callable[[Thorax, Generator, float], tuple[list[Mask], Paint]]] = {
    OPACITY: opacity,
    EFFUSION: effusion,
    PNEUMOTHORAX: pneumothorax,
    NODULE: nodule,
    THICKENING: thickening,
    FIBROSIS: fibrosis,
}


def regions(mask: Mask) -> list[Mask]:
    """The connected regions of a mask (8-connected), largest first; specks below 0.5% of the largest are dropped."""
    parts = np.zeros(mask.shape, np.int32)
    label(mask, np.ones((3, 3)), output=parts)
    sizes = np.bincount(parts.ravel())[1:]
    return [parts == i + 1 for i in np.argsort(-sizes, kind="stable") if sizes[i] >= 0.005 * sizes.max()]
