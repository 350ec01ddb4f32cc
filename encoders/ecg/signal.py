"""A 12-lead recording as ECGFounder wants it; its authors ask for exactly these steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, filtfilt, iirnotch, medfilt

from cxrbench.data.datasets.symile import LEADS as MIMIC_LEADS
from cxrbench.data.decode.arrays import read_ecg
from cxrbench.errors import BadImageError
from cxrbench.progress import tracked

RATE = 500  # samples per second
STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
MAINS, QUALITY = 50, 30  # Hz
ORDER, BAND = 4, (0.67, 40)  # Hz
NOTCH: Any = iirnotch(MAINS, QUALITY, RATE)
PASS: Any = butter(ORDER, BAND, "bandpass", fs=RATE)
BASELINE = 201  # samples of the median: 0.4 s and one, so that their number is odd


def ecgfounder_input(signal: NDArray[np.floating], leads: Sequence[str] = MIMIC_LEADS) -> NDArray[np.float32]:
    """float32 [12, samples] of a recording [12, samples] at 500 Hz in any unit whose rows are ``leads``.

    Rows are put into the standard order (MIMIC-IV-ECG has aVF before aVL); 50 Hz notch; Butterworth band-pass of order
    4, 0.67 to 40 Hz, both forwards and backwards; less the running median over 0.4 s (zeros beyond the ends); then less
    the mean of the whole record, over its standard deviation: leads keep their relative heights. A flat record is 0.
    """
    ordered = np.asarray(signal, np.float64)[[list(leads).index(lead) for lead in STANDARD_LEADS]]
    passed = ordered
    for numerator, denominator in (NOTCH, PASS):
        passed = filtfilt(numerator, denominator, passed, axis=1)
    clean = passed - np.stack([medfilt(lead, BASELINE) for lead in passed])
    return ((clean - clean.mean()) / (clean.std() + 1e-8)).astype(np.float32)


def read_inputs(paths: Sequence[Path]) -> NDArray[np.float32]:
    """``ecgfounder_input`` [n, 12, samples] of recordings that ``read_ecg`` reads, in MIMIC's order of leads.

    Raises BadImageError for a file that is none, and for a recording that is not as long as the first.
    """
    inputs = []
    for path in tracked(paths, "filtering ECGs", len(paths)):
        signal = read_ecg(path)
        if inputs and signal.shape[1] != inputs[0].shape[1]:
            raise BadImageError(path, f"{signal.shape[1]} samples, where other ECGs have {inputs[0].shape[1]}")
        inputs.append(ecgfounder_input(signal))
    return np.stack(inputs)
