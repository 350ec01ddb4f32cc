"""What a cardiologist measures in a 12-lead ECG, as numbers: an embedding without a network.

Any function ``ecg_embeddings(paths) -> [n, D]`` may stand in its place, e.g. a trained ECG encoder.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, sosfiltfilt, welch

from cxrbench.data.decode.arrays import read_ecg

RATE = 500  # samples per second
BEFORE, AFTER = 0.30, 0.50  # of the R wave in the median beat, seconds
BANDS = (0.67, 4.0, 8.0, 15.0, 25.0, 40.0)  # Hz
PASS = butter(4, (0.67, 40), "bandpass", fs=RATE, output="sos")  # what ECGFounder is given, too
QRS = butter(2, (8, 25), "bandpass", fs=RATE, output="sos")
# Windows in the median beat, in seconds from the R wave.
P_WAVE, PQ, COMPLEX, ST, T_WAVE = (-0.25, -0.09), (-0.09, -0.06), (-0.06, 0.08), (0.08, 0.11), (0.14, 0.45)

Array = NDArray[np.float64]


def ecg_embeddings(paths: Sequence[Path]) -> NDArray[np.float32]:
    """Features [n, D] of recordings that ``read_ecg`` can read; NaN where there are fewer than three beats to measure.

    Raises BadImageError for a file that is none.
    """
    return np.stack([features(read_ecg(path)) for path in paths]).astype(np.float32)


def features(signal: NDArray[np.floating]) -> Array:
    """Features [143] of a recording [12, samples] at 500 Hz in any unit, whose first two leads are I and II.

    RR interval: median, standard deviation, root mean square of successive differences (seconds); QRS duration, and
    times of the P peak, T peak and T end from R (seconds); cosine and sine of the QRS and T axes in the frontal plane,
    from leads I and II (aVF = II - I/2); of each lead's median beat the amplitudes of P, R, S or Q, ST and T and the
    QRS area; log10 power of each lead in five bands between 0.67 and 40 Hz. The other ten leads may come in any order
    that the dataset keeps.
    """
    clean = sosfiltfilt(PASS, np.asarray(signal, np.float64), axis=1)
    spectrum = _band_powers(clean).ravel()
    peaks = r_waves(clean)
    beats = [clean[:, p - int(BEFORE * RATE) : p + int(AFTER * RATE)] for p in peaks]
    beats = [beat for beat in beats if beat.shape[1] == int(BEFORE * RATE) + int(AFTER * RATE)]
    if len(peaks) < 3 or not beats:
        return np.concatenate([np.full(3 + 4 + 4 + 6 * len(clean), np.nan), spectrum])
    gaps = np.diff(peaks) / RATE
    rhythm = [float(np.median(gaps)), float(gaps.std()), float(np.sqrt(np.mean(np.diff(gaps) ** 2)))]
    beat = np.median(beats, axis=0)
    beat = beat - _window(beat, PQ).mean(1, keepdims=True)
    area = _window(beat, COMPLEX).mean(1)
    t_span = T_WAVE[0], min(T_WAVE[1], max(0.62 * rhythm[0], T_WAVE[0] + 0.05))  # not the next beat's P wave
    t_wave = _window(beat, t_span)
    amplitudes = [
        _extreme(_window(beat, P_WAVE)), _window(beat, COMPLEX).max(1), _window(beat, COMPLEX).min(1), area,
        _window(beat, ST).mean(1), _extreme(t_wave),
    ]  # fmt: skip
    return np.concatenate(
        [rhythm, _times(beat, t_span), *map(_direction, (area, t_wave.mean(1))), *amplitudes, spectrum]
    )


def r_waves(clean: Array) -> NDArray[np.int64]:
    """Sample numbers of the R waves in a filtered recording [12, samples].

    As Pan and Tompkins (1985) find QRS complexes, by the energy of the slopes between 8 and 25 Hz over a moving window
    of 150 ms, here summed over all leads; a beat is a maximum at least 250 ms from the next and above a quarter of the
    strong ones. R is the largest deflection, over all leads, around it.
    """
    steep = np.diff(sosfiltfilt(QRS, clean, axis=1), axis=1)
    energy = np.convolve((steep**2).sum(0), np.ones(75) / 75, "same")
    found, _ = find_peaks(energy, height=max(0.25 * float(np.percentile(energy, 97)), 1e-300), distance=RATE // 4)
    size = (clean**2).sum(0)
    return np.array([max(p - 40, 0) + size[max(p - 40, 0) : p + 40].argmax() for p in found], np.int64)


def _window(beat: Array, span: tuple[float, float]) -> Array:
    """A part [12, k] of the median beat, between two times from R."""
    first, last = (round((BEFORE + time) * RATE) for time in span)
    return beat[:, first:last]


def _extreme(part: Array) -> Array:
    """The largest deflection [12] of either sign."""
    return part[np.arange(len(part)), np.abs(part).argmax(1)]


def _direction(limb: Array) -> Array:
    """Cosine and sine of the frontal axis of deflections [12]; 0 and 0 without any."""
    x, y = limb[0], (limb[1] - limb[0] / 2) * 2 / np.sqrt(3)
    length = np.hypot(x, y)
    return np.array([x, y]) / length if length > 0 else np.zeros(2)


def _times(beat: Array, t_span: tuple[float, float]) -> list[float]:
    """QRS duration, and times of the P peak, T peak and T end, in seconds, from the size of the beat over all leads."""
    size = np.sqrt((beat**2).sum(0))
    slope = np.abs(np.diff(beat, axis=1)).sum(0)
    centre = int(BEFORE * RATE)
    near = slope[centre - 60 : centre + 75]  # -120 to +150 ms
    steep = np.flatnonzero(near > 0.1 * near.max())
    p_first, t_first, t_last = (round((BEFORE + time) * RATE) for time in (P_WAVE[0], *t_span))
    p_peak = p_first + int(size[p_first : round((BEFORE + P_WAVE[1]) * RATE)].argmax())
    t_peak = t_first + int(size[t_first:t_last].argmax())
    fallen = np.flatnonzero(size[t_peak:] < 0.2 * size[t_peak])
    t_end = t_peak + int(fallen[0]) if len(fallen) else len(size)
    return [(steep[-1] - steep[0]) / RATE, *((at - centre) / RATE for at in (p_peak, t_peak, t_end))]


def _band_powers(clean: Array) -> Array:
    """Log10 power [12, 5] of each lead in each band."""
    frequencies, density = welch(clean, fs=RATE, nperseg=min(1000, clean.shape[1]), axis=1)
    inside = [(frequencies >= low) & (frequencies < high) for low, high in pairwise(BANDS)]
    return np.log10(np.stack([density[:, band].sum(1) for band in inside], axis=1) + 1e-12)
