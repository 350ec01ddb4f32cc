"""The phantom's lateral image: the same patient and the same findings, seen from the side.

Coordinates: z = 0 is the coronal midplane, z > 0 is the patient's back (image right: the patient faces left); y is the
frontal image's. Both lungs project on top of each other, the left one behind the heart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from cxrbench.phantom.anatomy import Anatomy, Pose, Thorax
from cxrbench.phantom.drawing import tube
from cxrbench.phantom.findings import (
    AORTA,
    CARDIOMEGALY,
    EFFUSION,
    FIBROSIS,
    NODULE,
    OPACITY,
    PNEUMOTHORAX,
    THICKENING,
    Finding,
)
from cxrbench.phantom.grids import Grid, bump, curve, edge, look_up

SHAPE = 256, 212
ZOOM = 1.25  # a lateral image takes in more than a frontal one collimated to the lungs


@dataclass
class Chest:
    """The surfaces of one patient from the side; all arrays [H, W] float32, distances positive inside the lung."""

    anatomy: Anatomy
    z: Grid
    y: Grid
    front: Grid
    back: Grid
    spine: Grid
    right_dome: Grid
    left_dome: Grid
    unit: float

    @property
    def heart_depth(self) -> float:
        """How far the heart reaches back from the sternum: half its width on the frontal image, more if enlarged."""
        return 0.44 + 1.6 * (self.anatomy.heart_ratio - 0.45)

    def lung(self, dome: Grid) -> Grid:
        """Soft-edged outline of one lung, down to its dome."""
        top = self.y + 0.74 + 0.25 * np.square((self.z - 0.06) / 0.3)
        inside = edge(self.z - self.front, 0.025) * edge(self.back - self.z, 0.025)
        return inside * edge(dome - self.y, 0.02) * edge(top, 0.05)


@dataclass(frozen=True)
class Exposure:
    """What differs from one lateral image of a patient to the next: pose, blur, noise, contrast, and the marker."""

    pose: Pose
    blur: float
    noise: Grid
    contrast: float
    level: float
    marker: Grid


def expose(rng: Generator, shape: tuple[int, int] = SHAPE) -> Exposure:
    """Put a patient sideways on the detector: small differences of shift and rotation from image to image."""
    pose = Pose(*shape, rotation=float(np.clip(rng.normal(0, 0.012), -0.04, 0.04)), zoom=ZOOM * shape[0] / min(shape),
                dx=rng.normal(0, 0.01), dy=rng.normal(0.03, 0.01))  # fmt: skip
    blur = rng.uniform(0.65, 0.8)
    noise = rng.uniform(0.008, 0.016) * rng.standard_normal(shape, dtype=np.float32)
    return Exposure(pose, blur, noise, rng.uniform(3.7, 3.9), rng.uniform(0.68, 0.70), _marker(shape, rng))


def chest(anatomy: Anatomy, pose: Pose) -> Chest:
    """The surfaces of a patient in a pose."""
    z, y = pose.grid()
    k, b = anatomy.width, anatomy.base
    front = [(-0.95, -0.05), (-0.75, -0.14), (-0.6, -0.25), (-0.3, -0.4), (0.0, -0.47), (0.3, -0.5), (0.6, -0.5)]
    back = [(-0.95, 0.1), (-0.78, 0.2), (-0.6, 0.36), (-0.3, 0.49), (0.0, 0.53), (0.3, 0.51), (0.7, 0.43)]
    column = [(-1.0, 0.06), (-0.75, 0.14), (-0.45, 0.29), (-0.1, 0.37), (0.25, 0.36), (0.6, 0.27), (1.0, 0.16)]
    dome = [(-0.6, 0.52), (-0.45, 0.44), (-0.2, 0.38), (0.0, 0.4), (0.2, 0.48), (0.35, 0.57), (0.5, 0.68)]
    right = look_up(curve(dome, 0.03), z) + b
    return Chest(
        anatomy, z, y, look_up(curve([(h, v * k) for h, v in front], 0.04), y),
        look_up(curve([(h, v * k) for h, v in back], 0.04), y), look_up(curve(column, 0.05), y),
        right, right + np.float32(anatomy.dome_step + 0.02), pose.unit,
    )  # fmt: skip


def lateral(thorax: Thorax, findings: Sequence[Finding], who: Generator, how: Exposure) -> Grid:
    """Draw a lateral chest X-ray [H, W], float32 in [0, 1], bone white.

    ``thorax`` and ``findings`` are the frontal image's: a lesion keeps its height and size; how deep it lies is drawn
    from ``who``, the patient's own stream, so that a second lateral image shows it in the same place. ``how``:
    see ``expose``.
    """
    c, shape = chest(thorax.anatomy, how.pose), (how.pose.height, how.pose.width)
    right, left = c.lung(c.right_dome), c.lung(c.left_dome)
    cavity = np.maximum(right, left)
    depth = np.minimum(c.z - c.front, c.back - c.z)
    thick = np.sqrt(np.clip(1 - np.square(1 - np.clip(depth / 0.4, 0, 1)), 0, 1))
    air = (0.3 + 0.7 * thick) * 0.34
    layers = LateralLayers(np.ones_like(c.z), np.ones_like(c.z), np.zeros_like(c.z))
    sides = {"left": left, "right": right}
    for finding in findings:
        draw_finding(c, layers, thorax, finding, sides, who)
    vessels = _vessels(c, who)
    grain = gaussian_filter(who.standard_normal(shape, dtype=np.float32), 2.5) * 5
    radiograph = _soft_tissue(c) - (right + left) * air * layers.air + _heart(c) + _bones(c, who)
    radiograph += cavity * (0.2 * vessels * layers.vessels + 0.012 * grain) + layers.added * cavity
    radiograph -= _stomach(c)
    radiograph = gaussian_filter(radiograph, how.blur, truncate=3)
    radiograph += how.noise
    image = 1 / (1 + np.exp(-how.contrast * (radiograph - how.level)))
    image = np.clip((image - 0.07) / 0.86, 0, 1)
    return np.maximum(image, how.marker).astype(np.float32)


@dataclass
class LateralLayers:
    """What findings act on, all [H, W]: a factor on the air, one on the vessels, and attenuation added in the lungs."""

    air: Grid
    vessels: Grid
    added: Grid


def draw_finding(
    c: Chest, layers: LateralLayers, thorax: Thorax, finding: Finding, sides: dict[str, Grid], rng: Generator
) -> None:
    """Add one region of one finding where a lateral image shows it; heart and aorta count by their size alone."""
    x, y, w, h = finding.box
    row, column = y + h // 2, x + w // 2
    size, middle = h / thorax.pose.unit, float(thorax.y[row, column])
    side = "left" if thorax.left[row, column] else "right"
    lung, g = sides[side], finding.grade
    if finding.name == EFFUSION:  # the posterior costophrenic angle fills first, and the surface climbs the back wall
        dome = c.left_dome if side == "left" else c.right_dome
        surface = 0.62 - 0.62 * size + 0.3 * np.clip(0.35 - c.z, 0, None) - 0.17 * bump(c.back - c.z, 0.1)
        fluid = edge(c.y - surface, 0.05) * edge(dome + 0.02 - c.y, 0.03)
        layers.air *= 1 - 0.5 * fluid
        layers.vessels *= 1 - 0.5 * fluid
        layers.added += 0.09 * fluid
    elif finding.name in (OPACITY, NODULE):
        reach = 0.3 if finding.name == OPACITY else 0.34
        z0 = rng.uniform(-reach, reach) + 0.02
        # Lungs are deep behind the heart and shallow in front: a lesion cannot lie outside them.
        z0 = float(
            np.clip(z0, np.interp(middle, [-0.7, 0.0], [-0.1, -0.32]), np.interp(middle, [-0.7, 0], [0.18, 0.4]))
        )
        if finding.name == OPACITY:
            radii = 0.5 * size * rng.uniform(0.7, 1.1), 0.5 * size
            r = _blob(c, z0, middle, radii, rng, 0.3)
            mottle = gaussian_filter(rng.standard_normal(c.z.shape, dtype=np.float32), 0.012 * c.unit) * 0.03 * c.unit
            layers.added += (0.05 + 0.13 * g) * edge(1.05 - r, 0.9) * np.clip(1 + 0.35 * mottle, 0.2, 1.8)
            layers.vessels *= 1 - (0.1 + 0.3 * g) * edge(1.05 - r, 0.9)
        else:
            r = _blob(c, z0, middle, (0.5 * size, 0.5 * size), rng, 0.1)
            layers.added += (0.14 + 0.22 * g) * edge(1 - r, 0.45) * (0.75 + 0.25 * np.clip(1 - r, 0, 1))
    elif finding.name == PNEUMOTHORAX:  # air in front and on top: a fine line behind the sternum, no vessels beyond it
        gap = (0.05 + 0.2 * g) * (1.1 - 0.75 * edge(c.y - 0.1, 0.9))
        from_front = c.z - c.front
        from_top = c.y + 0.74 + 0.25 * np.square((c.z - 0.06) / 0.3)
        line = np.minimum(from_front, from_top) - gap
        layers.vessels *= 1 - 0.5 * edge(-line, 0.02)
        layers.air *= 1 + (0.05 + 0.1 * g) * edge(-line, 0.02)
        layers.added += (0.04 + 0.05 * g) * bump(line, 0.009) * lung
    elif finding.name == THICKENING:  # a band along the back wall, at its height
        along = edge(size / 2 - np.abs(c.y - middle), 0.12)
        layers.added += (0.14 + 0.18 * g) * edge((0.03 + 0.07 * g) * along - (c.back - c.z), 0.02)
    elif finding.name == FIBROSIS:
        scale_px = 0.02 * c.unit
        fields = [gaussian_filter(rng.standard_normal(c.z.shape, dtype=np.float32), s * scale_px) for s in (1, 1.5)]
        net = np.maximum(*(bump(f / np.float32(f.std()), 0.33) for f in fields))
        weight = edge(c.y - (middle - size / 2) - 0.05, 0.35)
        layers.added += (0.04 + 0.11 * g) * weight * (net - 0.2)
    elif finding.name == CARDIOMEGALY:
        layers.vessels *= 1.2 + 0.6 * g
    elif finding.name != AORTA:
        raise ValueError(f"no lateral view of {finding.name}")


def _blob(c: Chest, z: float, y: float, radii: tuple[float, float], rng: Generator, ragged: float) -> Grid:
    """Radial coordinate of a ragged ellipse: below 1 inside."""
    dz, dy = c.z - np.float32(z), c.y - np.float32(y)
    angle = np.arctan2(dy, dz)
    shape = 1 + sum(ragged / k * np.cos(k * angle + rng.uniform(0, 6.28)) * rng.uniform(0.5, 1) for k in (2, 3, 5))
    return (np.hypot(dz / max(radii[0], 0.02), dy / max(radii[1], 0.02)) / shape).astype(np.float32)


def _soft_tissue(c: Chest) -> Grid:
    """Torso from the side, the raised arms over its top, breast in front, abdomen below the domes."""
    an = c.anatomy
    front = c.front - 0.06 - 0.5 * an.fat - 0.05 * edge(c.y - 0.3, 0.5)
    back = c.back + 0.1 + 0.4 * an.fat
    if an.breast:
        front = front - 0.5 * an.breast * bump(c.y - 0.22, 0.24)
    middle, half = (front + back) / 2, (back - front) / 2
    q = np.clip(np.abs(c.z - middle) / half, 0, 1)
    torso = 0.98 * (0.3 + 0.7 * np.sqrt(1 - q * q * q)) * edge(half - np.abs(c.z - middle), 0.03)
    arms = 0.16 * edge(-0.5 - c.y - 0.35 * np.square(c.z), 0.3) * edge(0.3 - np.abs(c.z + 0.05), 0.15)
    abdomen = 0.14 * edge(c.y - c.right_dome, 0.06) + 0.05 * edge(c.y - c.left_dome, 0.06)
    return (torso + arms + abdomen * edge(half - np.abs(c.z - middle), 0.1)).astype(np.float32)


def _heart(c: Chest) -> Grid:
    """Heart on the front of the left dome, the aorta over it, and the windpipe as a dark band."""
    an = c.anatomy
    front = look_up(curve([(-0.3, -0.34), (0.0, -0.44), (0.3, -0.48), (0.6, -0.48)], 0.04), c.y)
    depth = c.heart_depth
    posterior = front + depth * look_up(curve([(-0.28, 0.45), (-0.12, 0.62), (0.05, 0.86), (0.2, 0.98), (0.3, 1.0),
                                               (0.42, 0.9), (0.55, 0.7)], 0.04), c.y)  # fmt: skip
    inside = np.minimum(c.z - front - 0.14 * edge(-0.02 - c.y, 0.35), posterior - c.z)
    heart = edge(inside, 0.03) * edge(c.y + 0.2, 0.12) * edge(c.left_dome + 0.03 - c.y, 0.05)
    heart = heart * (0.24 + 0.12 * np.clip(inside * 4, 0, 1))
    radius = 0.3 + 1.1 * (an.knob - 0.1)
    arch_y, arch_z = an.knob_y + 0.2, 0.1
    ring = np.hypot(c.z - arch_z, c.y - arch_y) - 0.75 * radius
    arch = bump(ring, 0.35 * an.knob + 0.02) * edge(arch_y + 0.04 - c.y, 0.1)
    down = bump(c.z - arch_z - 0.75 * radius - 0.1 * (c.y - arch_y), 0.35 * an.knob + 0.02) * edge(c.y - arch_y, 0.1)
    aorta = (0.05 + 0.6 * (an.knob - 0.1)) * (arch + 0.6 * down * edge(0.4 - c.y, 0.2))
    windpipe = c.z - look_up(curve([(-1.0, -0.06), (-0.6, 0.0), (-0.25, 0.06)], 0.02), c.y)
    trachea = edge(0.04 - np.abs(windpipe), 0.025) * edge(-0.2 - c.y, 0.05)
    hilum = 0.1 * bump(np.hypot(c.z - 0.04, (c.y + 0.06) * 0.8), 0.08)
    return (heart + aorta + hilum - 0.09 * trachea).astype(np.float32)


def _bones(c: Chest, rng: Generator) -> Grid:
    """Vertebrae with their end plates, ribs of both sides, sternum, and the edges of the shoulder blades."""
    spacing = 1.15 * c.anatomy.rib_spacing
    along = (c.y + 0.9 - 0.25 * (c.z - c.spine)) / spacing
    row = along - np.round(along)
    across = c.z - c.spine
    block = edge(0.085 - np.abs(across), 0.02) * edge(0.43 - np.abs(row), 0.08)
    plates = bump(np.abs(row) - 0.4, 0.05) * edge(0.085 - np.abs(across), 0.02)
    spinous = bump(across - 0.15, 0.045) * bump(row - 0.1, 0.2)
    # Towards the diaphragm less muscle and bone lies over the spine: it darkens downwards.
    shade = 1.15 - 0.45 * edge(c.y + 0.1, 1.0)
    spine = shade * (0.16 * block + 0.08 * plates + 0.05 * spinous + 0.06 * edge(0.16 - np.abs(across - 0.02), 0.1))
    inside = edge(c.z - c.front + 0.02, 0.03) * edge(c.back + 0.02 - c.z, 0.03)
    fall = 0.5 * (c.back - c.z) - 0.05 * np.square(c.back - c.z)
    ribs = np.zeros_like(c.z)
    for offset in (0.0, rng.uniform(0.25, 0.5)):  # the two sides do not project onto each other
        u = (c.y + 0.72 - fall) / spacing + offset
        n = np.round(u)
        ribs += tube((u - n) * spacing / 1.12, 0.026) * ((n >= 0) & (n <= 9))
    sternum = 0.16 * edge(0.028 - np.abs(c.z - c.front + 0.035), 0.015) * edge(c.y + 0.58, 0.05) * edge(0.2 - c.y, 0.05)
    blades = np.zeros_like(c.z)
    for z0 in (0.34, 0.42):
        blades += bump(c.z - z0 - 0.12 * (c.y + 0.5), 0.014) * edge(c.y + 0.75, 0.1) * edge(-0.15 - c.y, 0.15)
    return (spine + 0.075 * inside * ribs + sternum + 0.07 * blades).astype(np.float32)


def _vessels(c: Chest, rng: Generator) -> Grid:
    """Vessels of both lungs, from the hila outwards; in [0, 1]."""
    height, width = c.z.shape
    canvas = Image.new("L", (width * 2, height * 2))
    draw = ImageDraw.Draw(canvas)
    z0, y0 = float(c.z[0, 0]), float(c.y[0, 0])
    for angle in rng.uniform(0, 2 * np.pi, 26):
        z, y, w = 0.04, -0.06, rng.uniform(0.012, 0.024)
        for _ in range(4):
            angle += rng.normal(0, 0.3)
            step = rng.uniform(0.06, 0.13)
            end = z + step * np.cos(angle), y + step * np.sin(angle)
            line = [2 * c.unit * v for v in (z - z0, y - y0, end[0] - z0, end[1] - y0)]
            draw.line(line, fill=int(50 + 5000 * w), width=max(1, round(2 * w * c.unit)))
            (z, y), w = end, w * 0.75
    return gaussian_filter(np.asarray(canvas.reduce(2), np.float32) / 255, 0.6, truncate=2.5)


def _stomach(c: Chest) -> Grid:
    """The gas bubble below the left dome, towards the front."""
    size = c.anatomy.stomach
    d = 1 - np.hypot((c.z + 0.12) / 0.16, (c.y - c.left_dome - 0.08) / (0.09 * size))
    return (0.2 * size * edge(d, 0.35) * edge(c.y - c.left_dome - 0.02, 0.03)).astype(np.float32)


def _marker(shape: tuple[int, int], rng: Generator) -> Grid:
    """A lead letter in a corner."""
    label = Image.new("L", (shape[1], shape[0]))
    size = int(rng.uniform(0.04, 0.06) * shape[0])
    at = (rng.uniform(0.03, 0.1) * shape[1], rng.uniform(0.03, 0.12) * shape[0])
    ImageDraw.Draw(label).text(at, "L" if rng.random() < 0.8 else "LAT", fill=247, font=ImageFont.load_default(size))
    return np.asarray(label, np.float32) / 255
