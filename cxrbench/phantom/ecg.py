"""Phantom 12-lead ECGs whose rate, axis, voltages and shape follow the findings on the image.

Each wave of a beat is a Gaussian in the beat's phase (ECGSYN: McSharry et al., IEEE TBME 50:289, 2003, whose equation
1 integrates to such a sum), and has a direction in space, so that all leads are views of one moving dipole (Sameni et
al., EURASIP JASP 2007:043407). Leads come from Dower's matrix (Dower et al., J. Electrocardiol. 13:169, 1980); the limb
leads obey Einthoven and Goldberger exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cxrbench.phantom.findings import AORTA, CARDIOMEGALY, EFFUSION, FIBROSIS, OPACITY, PNEUMOTHORAX

RATE = 500  # samples per second
SAMPLES = 5000
# Rows: I, II, V1..V6; columns: x (to the left), y (down), z (to the back), in mV per unit of dipole.
DOWER = np.array([
    [0.632, -0.235, 0.059], [0.235, 1.066, -0.132], [-0.515, 0.157, -0.917], [0.044, 0.164, -1.387],
    [0.882, 0.098, -1.277], [1.213, 0.127, -0.601], [1.125, 0.127, -0.086], [0.831, 0.076, 0.230],
])  # fmt: skip


@dataclass(frozen=True)
class Heart:
    """What an ECG is drawn from.

    ``rate``: beats per minute; ``jitter``: relative spread of the intervals; ``axis``: rotation of the QRS and T in the
    frontal plane from normal, degrees (negative: leftwards); ``voltage``: factor on all waves; ``left``: factor on the
    left ventricle's forces; ``width``: factor on the QRS; ``strain``: 0 a normal T wave, 1 an inverted one over the
    left ventricle; ``atrium``: factor on P; ``turn``: rotation in the horizontal plane, degrees (chest position).
    """

    rate: float
    jitter: float
    axis: float
    voltage: float
    left: float
    width: float
    strain: float
    atrium: float
    turn: float


def heart(grades: Mapping[str, float], left_sided: bool, rng: Generator) -> Heart:
    """The electrical picture of a patient: habitus and chance, and what each finding adds according to its grade.

    Fluid and air insulate the heart; an enlarged one has more muscle, a later and wider QRS and strain; pain, hypoxia
    and fever speed it up; a left pneumothorax and fibrosis turn the axis to the right. ``left_sided``: side of the
    pneumothorax.
    """
    g = {name: 0.25 + 0.75 * grade for name, grade in grades.items()}
    heart, fluid, air = (g.get(name, 0.0) for name in (CARDIOMEGALY, EFFUSION, PNEUMOTHORAX))
    sick = 16 * g.get(OPACITY, 0.0) + 22 * air + 8 * fluid + 5 * g.get(FIBROSIS, 0.0) + 4 * heart
    return Heart(
        rate=float(np.clip(rng.normal(73, 8) + sick, 48, 150)),
        jitter=float(rng.uniform(0.01, 0.045)),
        axis=float(rng.normal(0, 11) - 24 * heart + (30 if left_sided else 14) * air + 26 * g.get(FIBROSIS, 0.0)),
        voltage=float(np.exp(rng.normal(0, 0.13) - 0.6 * fluid - 0.4 * air)),
        left=float(np.exp(rng.normal(0, 0.08) + 0.36 * heart + 0.25 * g.get(AORTA, 0.0))),
        width=float(np.clip(np.exp(rng.normal(0, 0.06) + 0.22 * heart), 0.8, 1.7)),
        strain=float(np.clip(rng.normal(0.1, 0.1) + 0.5 * heart + 0.1 * g.get(AORTA, 0.0), 0, 1)),
        atrium=float(np.exp(rng.normal(0, 0.15) + 0.35 * g.get(FIBROSIS, 0.0) + 0.15 * heart)),
        turn=float(rng.normal(0, 10)),
    )


def beats(h: Heart, rng: Generator) -> NDArray[np.float64]:
    """Times of the R waves in seconds, from before the record to after it: breathing and chance vary the intervals."""
    count = int(12 * h.rate / 60) + 6
    breath = np.sin(2 * np.pi * np.arange(count) * 0.25 * 60 / h.rate + rng.uniform(0, 6.28))
    gaps = 60 / h.rate * np.clip(1 + h.jitter * (0.8 * breath + rng.normal(0, 0.6, count)), 0.6, 1.5)
    return np.cumsum(gaps) - gaps[0] - rng.uniform(0.1, 1.0) * gaps[0]


def ecg(h: Heart, rng: Generator) -> NDArray[np.float32]:
    """Leads [5000, 12] in mV, disturbed as usual: I, II, III, aVR, aVF, aVL, V1 ... V6 (MIMIC-IV-ECG's order)."""
    clean = _leads(_dipole(h, beats(h, rng)))
    time = np.arange(SAMPLES) / RATE
    breathing = np.sin(2 * np.pi * rng.uniform(0.18, 0.32) * time + rng.uniform(0, 6.28))
    slow = np.cos(2 * np.pi * rng.uniform(0.04, 0.35, (4, 8)) * time[:, None, None] + rng.uniform(0, 6.28, (4, 8)))
    wander = (slow * rng.uniform(0.2, 1, (4, 8))).sum(1)
    muscle = gaussian_filter1d(rng.standard_normal((SAMPLES, 8)), 1.2, axis=0) * rng.uniform(0.01, 0.03)
    hum = 0.006 * rng.random() * np.sin(2 * np.pi * 60 * time)[:, None] * rng.uniform(0.3, 1, 8)
    own = 0.035 * breathing[:, None] * rng.uniform(0.2, 1, 8) + 0.03 * wander + muscle + hum
    eight = clean * (1 + 0.03 * breathing[:, None]) + own
    return _twelve(eight).astype(np.float32)


def scaled(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """A record stretched to [-1, 1] by its own extremes, as Symile-MIMIC stores it."""
    low, high = signal.min(), signal.max()
    return (2 * (signal - low) / (high - low) - 1).astype(np.float32)


def _dipole(h: Heart, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The heart's dipole [5000, 3] over time."""
    gap = np.diff(times, append=2 * times[-1] - times[-2])
    wide, late = h.width, 0.019 * (h.width - 1)
    # offset from R in seconds, width in seconds, direction and size (x, y, z); the T wave moves with the interval
    waves = [
        (-0.165, 0.022, (0.06 * h.atrium, 0.11 * h.atrium, -0.02)),
        (-0.030 * wide, 0.009 * wide, (-0.14, 0.05, -0.28)),  # septum: to the right and the front
        (late, 0.0105 * wide, (1.05 * h.left, 0.85, 0.28 * h.left)),  # free wall of the left ventricle
        (0.022 * wide + late, 0.011 * wide, (0.12 * h.left, -0.1, 0.62 * h.left)),  # backwards, late
        (0.04 * wide + late, 0.011 * wide, (-0.22, -0.18, 0.14)),  # base
        (0.27, 0.052, (0.26 - 0.5 * h.strain, 0.24 - 0.16 * h.strain, -0.2 - 0.06 * h.strain)),
        (0.10 * wide, 0.045, (-0.09 * h.strain, -0.02 * h.strain, -0.04 * h.strain)),  # ST segment
    ]
    frontal, horizontal = np.deg2rad(h.axis), np.deg2rad(h.turn)
    turn = np.array([[np.cos(frontal), -np.sin(frontal), 0], [np.sin(frontal), np.cos(frontal), 0], [0, 0, 1]])
    swing = np.array([[np.cos(horizontal), 0, -np.sin(horizontal)], [0, 1, 0],
                      [np.sin(horizontal), 0, np.cos(horizontal)]])  # fmt: skip
    dipole = np.zeros((SAMPLES, 3))
    for number, (offset, width, direction) in enumerate(waves):
        stretch = np.sqrt(gap / 0.8) if number == 5 else np.ones_like(gap)  # Bazett: the T wave comes at sqrt(RR)
        centres, widths = times + offset * stretch, width * stretch
        vector = swing @ turn @ np.array(direction) * h.voltage
        dipole += _gaussians(centres, widths)[:, None] * vector
    return dipole


def _gaussians(centres: NDArray[np.float64], widths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of unit Gaussians over the record [5000]; each is evaluated within five of its widths."""
    reach = int(5 * widths.max() * RATE) + 1
    at = np.rint(centres * RATE).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    values = np.exp(-0.5 * np.square((at / RATE - centres[:, None]) / widths[:, None]))
    inside = (at >= 0) & (at < SAMPLES)
    return np.bincount(at[inside], values[inside], SAMPLES).astype(np.float64)


def _leads(dipole: NDArray[np.float64]) -> NDArray[np.float64]:
    """The eight independent leads [5000, 8]: I, II, V1 ... V6."""
    return dipole @ DOWER.T


def _twelve(eight: NDArray[np.float64]) -> NDArray[np.float64]:
    """All leads from the eight: III = II - I, aVR = -(I + II)/2, aVF = II - I/2, aVL = I - II/2."""
    one, two = eight[:, 0], eight[:, 1]
    limb = np.stack([one, two, two - one, -(one + two) / 2, two - one / 2, one - two / 2], 1)
    return np.concatenate([limb, eight[:, 2:]], 1)
