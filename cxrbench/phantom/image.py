"""One phantom image: from a seed and findings to pixels and the geometry of what is on them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator
from PIL import Image

from cxrbench.phantom import drawing
from cxrbench.phantom.anatomy import Anatomy, Pose, Thorax
from cxrbench.phantom.findings import AORTA, CARDIOMEGALY, Finding, Findings, Layers, Paint
from cxrbench.phantom.grids import Grid, smoothed


@dataclass(frozen=True)
class Radiograph:
    """``view`` PA or AP; the patient, and the surfaces where he stood for the image; what is drawn when asked for."""

    view: str
    anatomy: Anatomy
    thorax: Thorax
    placed: Findings
    paint: Callable[[], Grid]

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The findings with their masks; those of one name alone: ``placed.of(name)``."""
        return self.placed.all()

    @cached_property
    def image(self) -> Grid:
        """The pixels [H, W] float32 in [0, 1], bone white; drawn when they are first asked for."""
        return self.paint()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.thorax.pose.height, self.thorax.pose.width


def render(
    seed: int | tuple[int, ...], grades: Mapping[str, float] | None = None, *, shape: tuple[int, int] = (256, 256)
) -> Radiograph:
    """One frontal chest X-ray.

    ``grades``: finding name -> grade in [0, 1] (names in ``findings.FINDINGS``). The patient, the findings and
    the nuisances (view, pose, exposure, noise, markers, leads) come from three independent streams of ``seed``: the
    same seed with other grades is the same patient on the same image.
    """
    grades = dict(grades or {})
    who, what, how = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    # Images are collimated to the chest and patients stand alike: where the black background shows, or poses vary, the
    # outline of the body alone identifies an image, and contrastive pretraining learns that and nothing else.
    anatomy = Anatomy.sample(who, cardiomegaly=grades.get(CARDIOMEGALY), aorta=grades.get(AORTA))
    pose = Pose(*shape, rotation=float(np.clip(how.normal(0, 0.008), -0.03, 0.03)), zoom=how.uniform(1.365, 1.395),
                dx=how.normal(0, 0.008), dy=how.normal(0.03, 0.008))  # fmt: skip
    view = "AP" if how.random() < 0.35 else "PA"
    t = Thorax(anatomy, pose)
    placed = Findings(t, grades, what)
    return Radiograph(view, anatomy, t, placed, lambda: _painted(t, view, placed.paint, who, how))


def black(shape: tuple[int, int]) -> Grid:
    """An image [H, W] without anything on it, which takes no memory."""
    return np.broadcast_to(np.float32(0), shape)


def _painted(t: Thorax, view: str, paint: Paint, who: Generator, how: Generator) -> Grid:
    """The pixels of an image [H, W], float32 in [0, 1]."""
    shape = t.a.shape
    layers = Layers(np.ones_like(t.a), np.ones_like(t.a), np.zeros_like(t.a))
    paint(layers)
    overlaid, lead = drawing.overlay(t, how, view)
    # Lungs are never even: blood flow, folds of skin and muscle, in spots too small for two patches to share one.
    coarse = Image.fromarray(who.standard_normal((32, 32), dtype=np.float32))
    uneven = np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))
    grain = smoothed(who.standard_normal(shape, dtype=np.float32), 2.5)
    grain *= 5
    grain *= 0.012
    # In place from here, and in this order: the bits of the image depend on it.
    aerated = drawing.air(t)
    aerated *= t.cavity
    aerated *= layers.air
    radiograph = drawing.soft_tissue(t)
    radiograph -= aerated
    radiograph -= drawing.retrocardiac_air(t) * layers.air
    radiograph -= drawing.stomach(t)
    solid = drawing.mediastinum(t)
    solid += drawing.bones(t)
    solid += overlaid
    radiograph += solid
    inside = drawing.vessels(t)
    inside *= 0.24
    inside *= layers.vessels
    inside += grain
    inside += 0.05 * uneven
    inside += layers.added
    inside *= t.cavity
    radiograph += inside
    radiograph = smoothed(radiograph, how.uniform(0.65, 0.75), truncate=3)
    strength = how.uniform(0.008, 0.016)
    noise = how.standard_normal(shape, dtype=np.float32)
    noise *= strength
    radiograph += noise
    contrast = -how.uniform(3.75, 3.85)
    radiograph -= how.uniform(0.675, 0.685)
    radiograph *= contrast
    image = np.exp(radiograph, out=radiograph)
    image += 1
    np.divide(1, image, out=image)
    low, high = np.float32(0.07), np.float32(0.93)
    image -= low
    image /= high - low
    np.clip(image, 0, 1, out=image)
    np.maximum(image, 0.97 * lead, out=image)
    if lead.min() < 0:
        image[lead < 0] = 0
    return image
