"""A phantom patient's visit: images of several views, a pacemaker now and then, and a report of what is on them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import Finding
from cxrbench.phantom.grids import Grid
from cxrbench.phantom.image import Radiograph, black
from cxrbench.phantom.lateral import expose, lateral
from cxrbench.phantom.reports import WrittenReport, report_file, seen, write_report

DEVICES = 0.12  # share of patients with a pacemaker


class Shot(NamedTuple):
    """One image of a study: its view (PA, AP, L), what the table says of it, its size [H, W], and what draws it."""

    view: str
    position: str
    shape: tuple[int, int]
    paint: Callable[[], Grid]

    @property
    def image(self) -> Grid:
        """The pixels [H, W], float32 in [0, 1]; drawn anew each time."""
        return self.paint()


def number(case: Case, first: int) -> int:
    """An identifier of MIMIC's form: ``first`` plus seven digits, no two of a part alike."""
    return first + (case.number * 7_919 + case.seed * 104_729 + 31) % 9_999_991


class Study(NamedTuple):
    """What a patient's visit leaves: images, a report with CheXpert's labels of it, and its whole text."""

    shots: list[Shot]
    findings: tuple[Finding, ...]
    device: bool
    report: WrittenReport
    text: str


def study_of(case: Case) -> Study:
    """The study of a case: its images in the order that they were taken, and what was written about them."""
    image, device = case.image(), bool(case.rng(6).random() < DEVICES)
    shots = _shots(case, image, device)
    if case.blank:
        shots = [shot._replace(paint=partial(black, shot.shape)) for shot in shots]
    report = write_report(seen(image.findings), rng := case.rng(4), device=device)
    text = report_file(report, rng, sex=case.sex, views=[shot.view for shot in shots])
    return Study(shots, image.findings, device, report, text)


def marks_of(report: WrittenReport, labels: Sequence[str]) -> list[str]:
    """CheXpert's labels of a report as its tables have them: 1.0, 0.0, -1.0, or nothing where not mentioned."""
    return [f"{report.labels[name]:.1f}" if name in report.labels else "" for name in labels]


def _shots(case: Case, radiograph: Radiograph, device: bool) -> list[Shot]:
    """The images of one study: bedside images alone, others mostly with a lateral, now and then one image twice."""
    rng = case.rng(3)
    who = np.random.SeedSequence((case.seed, case.number, 77))

    def frontal(paint: Callable[[], Grid]) -> Shot:
        position = radiograph.view if rng.random() > 0.02 else ""
        paced = (lambda: _paced(paint(), _FRONTAL)) if device else paint
        return Shot(radiograph.view, position, radiograph.shape, paced)

    def first() -> Shot:
        return frontal(lambda: radiograph.image)

    def again() -> Shot:
        how = retake(rng, radiograph.shape)
        return frontal(lambda: retaken(radiograph.image, how))

    def side() -> Shot:
        how = expose(rng)
        position = "LATERAL" if rng.random() < 0.7 else "LL"

        def paint() -> Grid:
            image = lateral(radiograph.thorax, radiograph.findings, np.random.default_rng(who), how)
            return _paced(image, _LATERAL) if device else image

        return Shot("L", position, (how.pose.height, how.pose.width), paint)

    kind = rng.random()
    if radiograph.view == "AP":
        return [first(), *([again()] if kind > 0.85 else [])]
    if kind < 0.12:
        return [first()]
    if kind < 0.17:
        return [side()]
    shots = [first(), side()]
    if kind > 0.8:
        shots.append(side() if rng.random() < 0.5 else again())
    return shots


class Retake(NamedTuple):
    """How a second exposure differs: an affine transform (of Pillow), a change of contrast, and noise."""

    matrix: tuple[float, ...]
    gamma: float
    noise: NDArray[np.float64]


def retake(rng: Generator, shape: tuple[int, int]) -> Retake:
    """The same patient exposed again: a little turned, shifted and enlarged, at another exposure."""
    height, width = shape
    angle, scale = rng.normal(0, 0.012), 1 / rng.uniform(1.03, 1.06)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    x, y = width / 2 * (1 + rng.normal(0, 0.01)), height / 2 * (1 + rng.normal(0, 0.01))
    matrix = (c, -s, x - c * width / 2 + s * height / 2, s, c, y - s * width / 2 - c * height / 2)
    return Retake(matrix, rng.uniform(0.9, 1.12), 0.006 * rng.standard_normal(shape))


def retaken(image: Grid, how: Retake) -> Grid:
    """The image of a second exposure."""
    size = image.shape[1], image.shape[0]
    turned = Image.fromarray(image).transform(size, Image.Transform.AFFINE, how.matrix, Image.Resampling.BICUBIC)
    return np.clip(np.clip(np.asarray(turned), 0, 1) ** how.gamma + how.noise, 0, 1).astype(np.float32)


# A pacemaker: centre and radii of its case and the way of its lead, as shares of width and height.
_FRONTAL = (0.80, 0.17, 0.055, 0.04), ((0.77, 0.15), (0.62, 0.1), (0.46, 0.2), (0.46, 0.5), (0.58, 0.74))
_LATERAL = (0.2, 0.22, 0.02, 0.05), ((0.22, 0.2), (0.4, 0.1), (0.5, 0.3), (0.42, 0.5), (0.3, 0.68))


def _paced(image: Grid, drawing: tuple[tuple[float, ...], tuple[tuple[float, float], ...]]) -> Grid:
    """The image with a pacemaker on it."""
    (x, y, rx, ry), way = drawing
    height, width = image.shape
    canvas = Image.new("L", (width * 2, height * 2))
    draw = ImageDraw.Draw(canvas)
    size = np.array([width * 2, height * 2])
    box = (np.array([x - rx, y - ry, x + rx, y + ry]) * np.tile(size, 2)).tolist()
    draw.rounded_rectangle(box, radius=0.6 * ry * height, fill=235)
    t = np.linspace(0, 1, 40)[:, None]
    points = np.repeat(np.array(way)[:, None], 40, axis=1)
    while len(points) > 1:
        points = points[:-1] * (1 - t) + points[1:] * t
    draw.line((points[0] * size).ravel().tolist(), fill=225, width=3, joint="curve")
    return np.maximum(image, np.asarray(canvas.reduce(2), np.float32) / 255).astype(np.float32)


def gray(image: Grid) -> Image.Image:
    """An image as an 8-bit image."""
    return Image.fromarray(np.rint(image * 255).astype(np.uint8))
