"""The phantom's image: soft tissue, bone, vessels and everything on the image that is not the patient's disease."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cxrbench.phantom.anatomy import Thorax
from cxrbench.phantom.grids import Grid, bump, curve, edge, look_up, radius, smoothed, spot


def soft_tissue(t: Thorax) -> Grid:
    """Attenuation of torso, neck, shoulders and arms, lungs not yet taken out."""
    an, a, y = t.anatomy, t.a, t.y
    wall = t.half_width
    neck = [(-1.2, 0.2), (-0.98, 0.21), (-0.9, 0.3)]
    shoulder = [(-0.82, 0.62 + an.shoulder), (-0.72, 0.86 + an.shoulder), (-0.6, 0.98), (-0.35, 0.93)]
    flank = [(-0.2, wall + 0.17 + an.fat), (0.1, wall + 0.06 + an.fat), (1.2, wall + 0.05 + 1.3 * an.fat)]
    half = t.by_height(curve([*neck, *shoulder, *flank]))
    q = np.clip(a / half, 0, 1)
    torso = 1 - q * q * q
    np.sqrt(torso, out=torso)
    torso *= 0.65
    torso += 0.35
    deep = np.full_like(a, 0.98)
    top = t.window((-2, 2), (-2, -0.59))
    deep[top] -= 0.22 * edge(-0.72 - y[top], 0.25)  # the neck is thinner than the chest
    torso *= deep
    inside = half - a
    if inside.min() < 0.03:  # the outline of the body is in view
        torso *= edge(inside, 0.03)
    body = torso + 0.1 * edge(-t.from_dome, 0.5)  # and the abdomen
    _draw_arms(t, body)
    if an.breast:
        low = t.window((-2, 2), (0.33 - an.breast / 1.05, 2))
        d = an.breast - radius(a[low] - 0.4 * an.width, (y[low] - 0.33) * 1.05)
        body[low] += 0.13 * np.sqrt(np.clip(d * 3, 0, 1)) * edge(y[low] - 0.1, 0.5)
    return body


def _draw_arms(t: Thorax, body: Grid) -> None:
    """Draw the arms over ``body``, with the shaft and the head of the humerus, where a wide image shows them."""
    an = t.anatomy
    thick = 0.13 + 0.3 * an.fat
    shown = np.flatnonzero(t.a.max(0) > min(0.9 + an.shoulder - thick, 0.75 + an.shoulder))
    if not len(shown):
        return
    middle = t.pose.width // 2
    for side in (shown[shown < middle], shown[shown >= middle]):
        if not len(side):
            continue
        at = slice(None), slice(side[0], side[-1] + 1)
        a, y = t.a[at], t.y[at]
        arm_axis = look_up(curve([(-0.75, 0.9 + an.shoulder), (-0.4, 1.0 + an.shoulder), (0.6, 1.12)]), y)
        from_arm = thick - np.abs(a - arm_axis)
        arm = 0.5 * np.sqrt(np.clip(from_arm * 6, 0, 1)) * edge(y + 0.72, 0.15)
        shaft = 0.13 * edge(0.045 - np.abs(a - arm_axis), 0.03) * edge(y + 0.6, 0.1)
        head = 0.13 * edge(0.1 - radius(a - 0.88 - an.shoulder, y + 0.6), 0.06)
        body[at] = np.maximum(body[at], arm) + np.maximum(shaft, head)


def air(t: Thorax) -> Grid:
    """Thickness of air in the pleural cavities: deep in the middle of a lung, thin at the wall and behind the dome."""
    depth = np.clip(t.from_wall / 0.4, 0, 1)
    np.subtract(1, depth, out=depth)
    depth *= depth
    np.subtract(1, depth, out=depth)
    np.sqrt(depth, out=depth)
    depth *= 0.75
    depth += 0.25
    depth *= 1 - 0.18 * bump(t.y - 0.5, 0.4) - 0.12 * bump(t.y + 0.75, 0.15)
    depth *= 0.66
    return depth


def retrocardiac_air(t: Thorax) -> Grid:
    """Air behind the heart and below the domes, which thins their shadows."""
    shine = np.zeros_like(t.a)
    near = t.window(_beside(t.border.max() + 0.02))
    behind = edge(-t.from_mediastinum[near], 0.02) * edge(t.a[near] - 0.12, 0.12)
    shine[near] = behind * edge(t.from_dome[near], 0.03) * 0.16
    low = t.window((-2, 2), (float((t.from_dome + t.y).min()) - 0.02, 2))
    from_dome = t.from_dome[low]
    shine[low] += edge(-from_dome, 0.02) * edge(from_dome + 0.14, 0.2) * edge(t.a[low] - 0.2, 0.2) * 0.1
    return edge(t.from_wall, 0.02) * shine


def mediastinum(t: Thorax) -> Grid:
    """Heart and great vessels, with the trachea and main bronchi as dark bands."""
    an, knob_y = t.anatomy, t.anatomy.knob_y
    shadow = np.zeros_like(t.a)
    low = t.window(_beside(t.border.max() + 0.02), (-0.16, 2))
    heart = 0.09 * np.clip(-t.from_mediastinum[low] * 5, 0, 1) * edge(t.y[low] + 0.05, 0.2)
    shadow[low] = heart * edge(t.from_dome[low] + 0.1, 0.1)
    reach = an.knob + 0.02
    at = t.window((0.055 - reach, 0.055 + reach), (knob_y - reach, knob_y + reach))
    shadow[at] += 0.03 * edge(an.knob - radius(t.x[at] - 0.055, t.y[at] - knob_y), 0.02)
    at = t.window((0.02, 0.16), (knob_y - 0.06, 2))
    shadow[at] += 0.05 * edge(0.05 - np.abs(t.x[at] - 0.09), 0.02) * edge(t.y[at] - knob_y, 0.1)
    at = t.window(_beside(max(t.border.max(), 0.21) + 0.02))
    shadow[at] *= edge(-t.from_mediastinum[at], 0.02)
    at = t.window((-0.22, 0.22), (-2, 0.2))
    x, y = t.x[at], t.y[at]
    trachea = edge(0.042 - np.abs(x + 0.01), 0.02) * edge(-0.3 - y, 0.03)
    bronchi = (
        edge(0.024 - np.abs(y + 0.28 - 0.75 * np.abs(x + 0.01)) * 0.8, 0.02)
        * edge(0.16 - t.a[at], 0.08)
        * edge(y + 0.33, 0.04)
    )
    shadow[at] -= 0.17 * np.maximum(trachea, 0.7 * bronchi)
    return shadow


def _beside(reach: float) -> tuple[float, float]:
    """What lies within ``reach`` of the midline."""
    return -float(reach), float(reach)


def tube(distance: Grid, thick: float, cortex: float = 0.55) -> Grid:
    """Projected thickness of a hollow bone of radius ``thick``: bright cortical margins, fainter inside."""
    return _chord(distance, thick) - cortex * _chord(distance, thick * 0.72)


def _chord(distance: Grid, thick: float) -> Grid:
    """Half the chord of a unit circle at a distance from its centre."""
    r = distance / np.float32(thick)
    r *= r
    np.subtract(1, r, out=r)
    np.clip(r, 0, 1, out=r)
    return np.sqrt(r, out=r)


def ribs(t: Thorax) -> Grid:
    """Ten posterior arcs that fall outwards and seven anterior parts that fall inwards."""
    an, s = t.anatomy, t.anatomy.rib_spacing
    inside = edge(t.from_wall + 0.02, 0.02)
    q = np.clip(t.a / np.maximum(t.wall, 0.1), 0, 1.05)
    slope = an.rib_slope * 1.5
    fall = slope * q * q * q - 0.055 * np.sin(np.pi * np.clip(q, 0, 1))
    u = (t.y - fall + 0.78) / s
    number = np.round(u)
    steep = np.sqrt(1 + np.square(3 * slope * q * q / np.maximum(t.wall, 0.2)))
    posterior = tube((u - number) * s / steep, 0.03) * ((number >= 0) & (number <= 10)) * edge(t.a - 0.05, 0.03)
    d = np.maximum(t.from_wall, 0)
    drop = 0.62 * d - 0.08 * np.exp(-d / 0.06) + slope * 0.75
    v = (t.y - drop + 0.70) / (s * 1.02)
    n = np.round(v)
    anterior = tube((v - n) * s / 1.18, 0.032, 0.4) * ((n >= 0) & (n <= 6)) * edge(t.a - 0.3, 0.06)
    margin = bump(t.from_wall + 0.004, 0.014) * edge(t.y + 0.72, 0.1) * (0.6 + 0.4 * np.cos(u * 2 * np.pi))
    return (inside * (0.17 * posterior + 0.1 * anterior * edge(0.62 - t.y, 0.1)) + 0.06 * margin).astype(np.float32)


def bones(t: Thorax) -> Grid:
    """Ribs, spine, clavicles and scapulae."""
    an, shadow = t.anatomy, np.zeros_like(t.a)
    at = t.window((-0.28, 0.28))  # ten widths of the spots
    a, y = t.a[at], t.y[at]
    phase = np.cos((y + 0.9) * np.float32(2 * np.pi / (s := an.rib_spacing * 0.98)))
    body = edge(0.085 - a - 0.008 * phase, 0.015) * (0.05 + 0.02 * phase)
    rows = (y + 0.9) / s
    near = (rows - np.round(rows)) * s
    shadow[at] = body + 0.045 * spot(a - 0.055, near, 0.02) + 0.05 * spot(a * 1.6, near - 0.03, 0.022)
    at = t.window((-2, 2), (-0.9, -0.5))
    a, y = t.a[at], t.y[at]
    axis = curve([(0, -0.6), (0.1, -0.615), (0.3, -0.7), (0.5, -0.72), (0.75, -0.79), (0.9, -0.78)], 0.04)
    clavicle = 0.24 * tube(y - look_up(axis, a) - an.clavicle, 0.03, 0.45)
    shadow[at] += clavicle * edge(a - 0.075, 0.03) * edge(0.8 - a, 0.04)
    for side in ((-2.0, -0.42), (0.42, 2.0)):
        at = t.window(side, (-0.75, 0.45))
        a, y = t.a[at], t.y[at]
        q = a + an.scapula
        blade = np.minimum(np.minimum(q - 0.60 - 0.12 * (y + 0.6), y + 0.66), (0.98 - q) - 0.42 * (y + 0.6))
        scapula = edge(blade, 0.03) * (0.05 + 0.05 * bump(blade - 0.015, 0.025))
        shadow[at] += scapula * edge(y + 0.7, 0.05)
    return ribs(t) + shadow


def stomach(t: Thorax) -> Grid:
    """The gas bubble below the left dome: how much attenuation it takes away."""
    an, bubble = t.anatomy, np.zeros_like(t.a)
    y, height = 0.58 + an.base + an.dome_step, 0.11 * an.stomach
    at = t.window((0.33 - 0.21, 0.33 + 0.21), (y - 1.2 * height, y + 1.2 * height))
    d = 1 - radius((t.x[at] - 0.33) / 0.17, (t.y[at] - 0.58 - an.base - an.dome_step) / height)
    bubble[at] = 0.26 * an.stomach * edge(d, 0.35) * edge(-t.from_dome[at] - 0.02, 0.03)
    return bubble


def vessels(t: Thorax) -> Grid:
    """Hila, and pulmonary vessels that branch and thin towards the periphery; in [0, 1]."""
    rng = np.random.default_rng(t.anatomy.vessels)
    pose = t.pose
    thick = 2 * pose.unit
    canvas = Image.new("L", (pose.width * 2, pose.height * 2))
    draw_lines = ImageDraw.Draw(canvas).draw.draw_lines  # ``ImageDraw.line`` takes as long again as the line itself
    starts, angles, widths = [], [], []
    for side in (-1, 1):
        n = 7
        fan = np.linspace(-1.35, 1.4, n) + rng.normal(0, 0.16, n)
        starts.append(np.stack([np.full(n, side * 0.155), np.linspace(-0.14, 0.1, n) - (0.03 if side > 0 else 0)], -1))
        angles.append(np.where(side > 0, fan, np.pi - fan))
        widths.append(rng.uniform(0.022, 0.04, n))
    p, angle, width = np.concatenate(starts), np.concatenate(angles), np.concatenate(widths)
    for _ in range(5):
        step = rng.uniform(0.08, 0.16, len(p))
        q = p + step[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        lines = (pose.pixels(np.stack([p, q], 1)) * 2).reshape(-1, 4).tolist()
        fills = np.minimum(255, 45 + 6000 * width).astype(int).tolist()
        for line, fill, across in zip(lines, fills, np.rint(width * thick).astype(int).tolist(), strict=True):
            draw_lines(line, fill, across or 1)
        spread = rng.uniform(0.15, 0.6, len(p)) * rng.choice([-1, 1], len(p))
        keep = rng.random(len(p)) < 0.8
        p = np.concatenate([q, q[keep]])
        angle = np.concatenate([angle - 0.4 * spread, (angle + spread)[keep]])
        width = np.concatenate([width * 0.78, width[keep] * 0.6])
    trees = np.asarray(canvas.reduce(2), np.float32) * np.float32(1 / 255)
    shadow = smoothed(trees, 0.6, truncate=2.5).astype(np.float64)
    width, reach = 0.055, 6.1 * 0.055  # beyond, a hilum is less than what a sum is rounded by
    at = t.window(_beside(0.165 + reach), (-0.07 - reach / 0.6, -0.04 + reach / 0.6))
    aside, down = np.square(t.a[at] - 0.165, dtype=np.float64), t.y[at] + 0.04 + 0.03 * t.left[at]
    down *= 0.6
    down *= down
    down += aside
    down *= -(float(np.float32(1 / width)) ** 2)
    hilum = np.exp(down, out=down)
    hilum *= 0.7
    shadow[at] += hilum
    return shadow


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def overlay(t: Thorax, rng: Generator, view: str) -> tuple[Grid, Grid]:
    """What says nothing about disease: added attenuation, and lead (1 white, -1 a black border), both [H, W].

    Nipple shadows, monitoring leads, tubes and lines; a side marker and, for some, the view; a collimated border.
    """
    pose, size = t.pose, (t.pose.width * 2, t.pose.height * 2)
    added = np.zeros_like(t.a)
    if rng.random() < 0.15:
        y0, x0, r = rng.uniform(0.15, 0.3), rng.uniform(0.34, 0.44), rng.uniform(0.016, 0.026)
        added += 0.07 * edge(r - np.hypot(t.a - x0, t.y - y0), 0.012)
    wires = Image.new("L", size)
    draw = ImageDraw.Draw(wires)

    def line(points: list[tuple[float, float]], width: float, fill: int) -> None:
        xy = (pose.pixels(_smooth(points)) * 2).ravel().tolist()
        draw.line(xy, fill=fill, width=max(2, round(width * pose.unit * 2)), joint="curve")

    if rng.random() < 0.2:
        for _ in range(int(rng.integers(2, 4))):
            x, y = rng.uniform(-0.6, 0.6), rng.uniform(-0.45, 0.4)
            column, row = (pose.pixels((x, y)) * 2).tolist()
            r = 0.022 * pose.unit * 2
            draw.ellipse((column - r, row - r, column + r, row + r), fill=150)
            line([(x, y), (x + rng.normal(0, 0.2), y + 0.3), (rng.normal(0, 0.6), 1.1)], 0.007, 90)
    if rng.random() < 0.12:
        line([(rng.uniform(-0.02, 0.02), -1.1), (0.0, -0.7), (-0.01, rng.uniform(-0.5, -0.36))], 0.022, 70)
    if rng.random() < 0.15:
        side = rng.choice([-1, 1])
        line([(side * 0.5, -0.72), (side * 0.2, -0.62), (-0.07, -0.45), (-0.11, rng.uniform(-0.15, 0.05))], 0.01, 100)
    if wires.getbbox():
        added += np.asarray(wires.reduce(2), np.float32) / 255
    lead = np.zeros_like(added)
    label = Image.new("L", (pose.width, pose.height))
    write = ImageDraw.Draw(label)
    size_px = int(rng.uniform(0.045, 0.075) * pose.height)
    at_left = rng.random() < 0.6
    column = (0.9 if at_left else 0.03) * pose.width
    write.text((column, rng.uniform(0.02, 0.12) * pose.height), "L" if at_left else "R", fill=255, font=_font(size_px))
    if rng.random() < 0.5:
        write.text(
            (column - (0.03 if at_left else 0) * pose.width, 0.17 * pose.height),
            view,
            fill=255,
            font=_font(int(size_px * 0.8)),
        )
    lead += np.asarray(label, np.float32) / 255
    if rng.random() < 0.25:
        top, bottom, left, right = (rng.uniform(0, 0.035, 4) * (rng.random(4) < 0.6) * pose.height).astype(int)
        border = np.zeros_like(lead)
        border[:top], border[pose.height - bottom :], border[:, :left], border[:, pose.width - right :] = 1, 1, 1, 1
        lead = np.where(border > 0, -1, lead)
    return added, lead


def _smooth(points: list[tuple[float, float]]) -> NDArray[np.float64]:
    """Thirty points [30, 2] on the Bezier curve of the given control points (de Casteljau)."""
    t = np.linspace(0, 1, 30)[:, None]
    control = np.repeat(np.array(points)[:, None], 30, axis=1)
    while len(control) > 1:
        control = control[:-1] * (1 - t) + control[1:] * t
    return control[0]
