"""The ECG teacher that is trained here: on recordings of known rate, and kept so that a resumed run finds it again."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cxrbench.encoders.ecg import teacher as ecg_teacher
from cxrbench.encoders.ecg.net1d import Net1D, Net1DConfig
from cxrbench.encoders.ecg.teacher import SMALL, TeacherRecipe, ecg_embeddings, standardized, train_teacher
from cxrbench.errors import UserError

QUICK = TeacherRecipe(steps=3, batch=4, crop=1000, warmup=1)


def recordings(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ten seconds of narrow beats of a known rate, half of them upside down in half of the leads: [n, 12, 5000]."""
    rng = np.random.default_rng(seed)
    rates, sign, t = rng.uniform(50, 140, n), rng.choice([-1.0, 1.0], n), np.arange(5000) / 500
    leads = np.where(np.arange(12) % 2, 1.0, sign[:, None]) * rng.uniform(0.7, 1.3, (n, 12))
    beats = [np.exp(-(((t + rng.random()) % (60 / r) - 0.2) ** 2) / 2e-4) for r in rates]
    signals = leads[:, :, None] * np.stack(beats)[:, None] + rng.normal(0, 0.03, (n, 12, 5000))
    return signals.astype(np.float32), rates


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    np.save(tmp_path / "ecg.npy", recordings(6)[0].transpose(0, 2, 1)[:, None])
    return [tmp_path / f"ecg.npy#{row}" for row in range(6)]


def test_it_learns_what_recordings_have_in_common() -> None:
    """Nearest by cosine among the training recordings: of like polarity, and their rates tell the rate."""
    train, rates = recordings(40)
    test, true = recordings(20, seed=1)
    net = train_teacher(train, TeacherRecipe(steps=20, batch=8, crop=1000, warmup=3))
    a, b = (torch.nn.functional.normalize(net(torch.from_numpy(part)), dim=1) for part in (test, train))
    near = (a @ b.T).argsort(dim=1, descending=True)[:, :3].numpy()
    polarity = [np.sign((part[:, 0] * part[:, 1]).sum(1)) for part in (train, test)]
    assert (polarity[0][near] == polarity[1][:, None]).mean() > 0.9
    assert np.corrcoef(rates[near].mean(1), true)[0, 1] > 0.3
    assert not any(p.requires_grad for p in net.parameters())


def test_training_follows_from_its_seed_alone() -> None:
    signals = recordings(4)[0]
    first, again, other = (train_teacher(signals, QUICK, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["first_conv.conv.weight"], other["first_conv.conv.weight"])


def test_teacher_and_embeddings_are_kept(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    first = ecg_embeddings(files, None, cache, QUICK)
    assert first.embeddings.shape == (6, SMALL.filters[-1])
    (written,) = cache.glob("ecg-teacher-*.safetensors")
    for name in ("train_teacher", "embed"):
        monkeypatch.setattr(ecg_teacher, name, None)  # not called again
    again = ecg_embeddings(files, None, cache, QUICK)
    assert again.teacher == first.teacher
    np.testing.assert_array_equal(again.embeddings, first.embeddings)
    monkeypatch.undo()
    given = ecg_embeddings(files, written, tmp_path / "elsewhere")
    np.testing.assert_allclose(given.embeddings, first.embeddings, atol=1e-6)
    assert "given" in given.teacher
    assert given.teacher.split()[-1] == first.teacher.split()[-1]  # the same weights
    assert len(ecg_embeddings(files[:5], written, cache).embeddings) == 5


def test_embeddings_are_of_whole_recordings_by_the_given_network(files: list[Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net1D(Net1DConfig((16, 32), (1, 1), 16)).eval()
    torch.save({"state_dict": net.state_dict()}, tmp_path / "net.pth")
    found = ecg_embeddings(files, tmp_path / "net.pth", tmp_path / "cache").embeddings
    inputs = torch.from_numpy(ecg_teacher.read_inputs(files))
    np.testing.assert_allclose(found, net(inputs).detach().numpy(), atol=1e-5)
    with pytest.raises(UserError, match="no weights file"):
        ecg_embeddings(files, tmp_path / "none.pth", tmp_path / "cache")


def test_measurements_are_standardized_and_unknown_ones_stay_so() -> None:
    values = np.random.default_rng(0).normal(5, 3, (200, 3))
    values[:50, 1] = np.nan
    values[0, 2] = 1e6
    z = standardized(values)
    assert np.isnan(z[:50, 1]).all()
    assert np.nanmean(z[:, :2], 0) == pytest.approx(0, abs=1e-5)
    assert np.nanstd(z[:, :2], 0) == pytest.approx(1, abs=1e-3)
    assert z[0, 2] == 4
    assert (standardized(np.ones((5, 2))) == 0).all()
