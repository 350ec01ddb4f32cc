"""Physiology from an image: against scikit-learn's pipeline, on ECGs of known rate and axis."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from cxrbench.data.decode.arrays import read_ecg
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard, EncoderSpec
from cxrbench.encoders.ecg.features import RATE, ecg_embeddings, features, r_waves
from cxrbench.encoders.ecg.net1d import Net1D, Net1DConfig
from cxrbench.encoders.ecg.signal import ecgfounder_input
from cxrbench.encoders.labs.autoencoder import LabsDAE
from cxrbench.errors import BadImageError, UserError
from cxrbench.metrics.classification import Weights
from cxrbench.metrics.kinds import KINDS
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, Task, TaskOptions
from cxrbench.tasks.retrieval import physiology
from cxrbench.tasks.retrieval.physiology import TASK, Physiology

SPEC = EncoderSpec("fake", EncoderCard("fake"), "w", "s", "p", 0)
LEADS = np.array([0.8, 1.0, 0.2, -0.9, -0.3, 0.6, -0.4, 0.3, 0.9, 1.3, 1.1, 0.8])  # heights of R; I and II first


def recording(rate: float, seed: int = 0, leads: np.ndarray = LEADS) -> tuple[np.ndarray, np.ndarray]:
    """Ten seconds [12, 5000] of beats of a known rate (P, R, T as Gaussians), and the times of R in seconds."""
    rng = np.random.default_rng(seed)
    gap = 60 / rate
    times = np.arange(0.4, 9.6, gap) + rng.normal(0, 0.004, len(np.arange(0.4, 9.6, gap)))
    t = np.arange(5000) / RATE
    waves = ((-0.16, 0.02, 0.12), (0.0, 0.011, 1.0), (0.25 * np.sqrt(gap), 0.04, 0.25))
    shape = sum(h * np.exp(-(((t - r - at) / w) ** 2) / 2) for at, w, h in waves for r in times)
    drift = 0.2 * np.sin(2 * np.pi * 0.2 * t)
    return leads[:, None] * shape + drift + rng.normal(0, 0.02, (12, 5000)), times


def make(folder: Path, n: int = 120) -> tuple[np.ndarray, Manifest]:
    """One image per study. Features carry the heart rate and some of six percentiles; a third of those is missing."""
    rng = np.random.default_rng(0)
    rates, hidden = rng.uniform(50, 130, n), rng.normal(size=(n, 3))
    np.save(folder / "ecg.npy", np.stack([recording(r, i)[0].T[None] for i, r in enumerate(rates)]).astype("f4"))
    labs = 1 / (1 + np.exp(-(hidden @ rng.normal(size=(3, 6)) + rng.normal(0, 0.5, (n, 6)))))
    labs[rng.random(labs.shape) < 0.3] = np.nan
    x = np.concatenate([rates[:, None] / 30, hidden, rng.normal(size=(n, 4))], 1) @ rng.normal(size=(8, 8))
    ids = [f"{i:03}" for i in range(n)]
    split = np.array(["train", "train", "val", "test"])[np.arange(n) % 4]
    images = pd.DataFrame(
        {"image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "split": split, "path": ids, "bytes": 1}
    )
    signals = pd.DataFrame({"study_id": ids, "ecg": [f"ecg.npy#{i}" for i in range(n)]})
    signals[[f"lab:{i}" for i in range(6)]] = labs
    return x.astype(np.float32), Manifest("toy", folder, images, (), signals=signals)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, Manifest]:
    return make(tmp_path_factory.mktemp("clinic"))


def rough(paths: Sequence[Path]) -> np.ndarray:
    """A quick ECG embedding."""
    signals = np.stack([read_ecg(path) for path in paths])
    return np.concatenate([signals.std(2), np.abs(np.diff(signals[:, :, ::20])).mean(2)], 1)


QUICK = Physiology(embed_ecg=rough, embedder="rough")


def run(x: np.ndarray, manifest: Manifest, fraction: float = 1.0, task: Task = QUICK) -> Predictions:
    context = SimpleNamespace(scratch=manifest.root / "cache", options=SimpleNamespace(device="cpu"))
    fake: Any = SimpleNamespace(spec=SPEC, pooled=lambda manifest: x, context=context)
    return task.run(fake, manifest, Cell("fake", "toy", "physiology", fraction))


def values(predictions: Predictions, metric: str) -> dict[str, float]:
    rows = predictions.test_rows()
    prepared = KINDS["retrieval"].measures[metric].prepare(rows, predictions.labels)
    return {name: float(p(Weights.of(np.ones((len(rows), 1), np.uint8)))[0]) for name, p in prepared.items()}


def test_labs_are_scikit_learns_pipeline(clinic: tuple[np.ndarray, Manifest]) -> None:
    x, manifest = clinic
    predictions = run(x, manifest)
    assert manifest.signals is not None
    labs = manifest.signals[[f"lab:{i}" for i in range(6)]].to_numpy()
    train, test = manifest.rows_of("train"), manifest.rows_of("test")
    embed = make_pipeline(make_union(SimpleImputer(), MissingIndicator(features="all")), StandardScaler())
    truth = embed.fit(labs[train]).transform(labs[test])
    ridge = make_pipeline(StandardScaler(), Ridge(alpha=10, solver="svd"))
    guess = ridge.fit(x[train].astype(float), embed.transform(labs[train])).predict(x[test].astype(float))
    alike = cosine_similarity(guess, truth)
    # features="all" marks the missing, we the made: another sign, which changes no cosine and no R²
    assert values(predictions, "cosine")["labs"] == pytest.approx(np.diag(alike).mean(), abs=1e-6)
    expected = r2_score(truth, guess, multioutput="variance_weighted")
    assert values(predictions, "r2")["labs"] == pytest.approx(expected, abs=1e-9)
    ranks = (alike >= np.diag(alike)[:, None]).sum(1)
    np.testing.assert_array_equal(predictions.rows["rank:labs"], ranks)
    assert values(predictions, "recall@5")["labs"] == pytest.approx((ranks <= 5).mean())
    assert 0.1 < expected < 0.9


def test_an_image_that_knows_the_heart_rate_finds_the_ecg(clinic: tuple[np.ndarray, Manifest]) -> None:
    x, manifest = clinic
    seeing = run(x, manifest, task=TASK)
    blind = run(np.random.default_rng(9).normal(size=x.shape), manifest, task=TASK)
    for metric in ("cosine", "r2", "recall@10"):
        assert values(seeing, metric)["ecg"] > values(blind, metric)["ecg"] + 0.1, metric
    assert values(blind, "r2")["ecg"] < 0.05
    assert set(seeing.rows["split"]) == {"test"}
    fewer = run(x, manifest, 0.2)
    assert fewer.cell["train_images"] == 12
    assert values(fewer, "cosine")["labs"] < values(seeing, "cosine")["labs"]
    assert TASK.seeds_matter(0.2)


def test_nothing_of_the_test_studies_reaches_the_map(
    clinic: tuple[np.ndarray, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, manifest = clinic
    fitted: list[Any] = []
    fit = physiology.fit_ridge

    def watched(*arguments: Any) -> Any:
        fitted.append(arguments)
        return fit(*arguments)

    monkeypatch.setattr(physiology, "fit_ridge", watched)
    run(x, manifest)
    test = manifest.rows_of("test")
    assert manifest.signals is not None
    signals = manifest.signals.copy()
    signals.loc[test, "ecg"] = signals["ecg"].to_numpy()[test[::-1]]
    signals.loc[test, "lab:0"] = 0.5
    run(x, replace(manifest, signals=signals))
    for one, other in zip(fitted[:2], fitted[2:], strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_study_without_a_modality_is_no_query_of_it_and_equal_ones_are_one_answer(
    clinic: tuple[np.ndarray, Manifest], tmp_path: Path
) -> None:
    x, manifest = clinic
    assert manifest.signals is not None
    signals = manifest.signals.copy()
    test = manifest.rows_of("test")
    names = [f"lab:{i}" for i in range(6)]
    signals.loc[test[0], "ecg"] = ""
    signals.loc[test[1], names] = np.nan
    signals.loc[test[2:4], "ecg"] = signals.loc[test[2], "ecg"]
    signals.loc[test[4:6], names] = 0.25
    predictions = run(x, replace(manifest, signals=signals))
    predictions.save(tmp_path / "cell.parquet")
    rows = Predictions.load(tmp_path / "cell.parquet").rows
    assert rows["target:ecg"].tolist()[:5] == [0, 1, 2, 2, 1]
    assert rows["target:labs"].tolist()[:6] == [1, 0, 1, 1, 2, 2]
    assert np.isnan(rows["rank:ecg"][0])
    again = values(replace(predictions, rows=rows), "r2")
    assert again == values(predictions, "r2")
    assert np.isfinite(list(again.values())).all()
    no_ecg = run(x, replace(manifest, signals=signals.drop(columns="ecg")))
    assert no_ecg.labels == ("labs",)
    assert no_ecg.notes == ("labs: 29 test studies of 29 patients",)
    assert values(no_ecg, "cosine")["labs"] == values(predictions, "cosine")["labs"]


def test_another_embedder_is_another_version_and_recordings_are_read_once(tmp_path: Path) -> None:
    x, manifest = make(tmp_path, 24)
    calls = []

    def embed(paths: Any) -> np.ndarray:
        calls.append(len(paths))
        return np.random.default_rng(0).normal(size=(len(paths), 5)).astype(np.float32)

    task = Physiology(embed_ecg=embed, embedder="mine")
    assert task.version != TASK.version
    first, second = run(x, manifest, task=task), run(x, manifest, task=task)
    assert len(calls) == 1
    pd.testing.assert_frame_equal(first.rows, second.rows)
    np.save(tmp_path / "ecg.npy", np.zeros((3, 12, 5000)))
    with pytest.raises(BadImageError, match="no such row"):
        run(x, manifest)


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    _, manifest = make(tmp_path, 8)
    assert TASK.not_applicable(manifest) is None
    assert TASK.not_applicable(replace(manifest, signals=None)) == "it has no ECGs or laboratory values"
    assert manifest.signals is not None
    assert "fewer than two" in (TASK.not_applicable(replace(manifest, signals=manifest.signals[:4])) or "")


# Frozen teachers


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> TaskOptions:
    """Files of a small ECG network and of an autoencoder of six tests."""
    folder = tmp_path_factory.mktemp("teachers")
    torch.manual_seed(0)
    torch.save(Net1D(Net1DConfig((16, 32), (1, 1), 16)).state_dict(), folder / "12 lead.pth")
    torch.save({"state_dict": {f"model.{k}": v for k, v in LabsDAE(6).state_dict().items()}}, folder / "dae.ckpt")
    return TaskOptions(ecg_teacher=folder / "12 lead.pth", labs_teacher=folder / "dae.ckpt")


def taught(teachers: TaskOptions, manifest: Manifest) -> dict[str, np.ndarray]:
    """What the teachers say of every study, by their modules alone."""
    assert teachers.ecg_teacher is not None
    assert teachers.labs_teacher is not None
    assert manifest.signals is not None
    net, dae = Net1D(Net1DConfig((16, 32), (1, 1), 16)).eval(), LabsDAE(6).eval()
    net.load_state_dict(torch.load(teachers.ecg_teacher))
    dae.load_state_dict({k[6:]: v for k, v in torch.load(teachers.labs_teacher)["state_dict"].items()})
    signals = [ecgfounder_input(read_ecg(manifest.root / name)) for name in manifest.signals["ecg"]]
    labs = manifest.signals[[f"lab:{i}" for i in range(6)]].to_numpy(np.float32)
    pairs = np.concatenate([np.nan_to_num(labs), np.isfinite(labs)], 1).astype(np.float32)
    with torch.inference_mode():
        return {
            "ecg": net(torch.from_numpy(np.stack(signals))).numpy(),
            "labs": dae.encoder(torch.from_numpy(pairs)).numpy(),
        }


def test_alignment_with_teachers_is_scikit_learns(tmp_path: Path, teachers: TaskOptions) -> None:
    x, manifest = make(tmp_path, 48)
    predictions = run(x, manifest, task=TASK.configured(teachers))
    train, test = manifest.rows_of("train"), manifest.rows_of("test")
    for label, y in taught(teachers, manifest).items():
        ridge = make_pipeline(StandardScaler(), Ridge(alpha=10, solver="svd"))
        guess = ridge.fit(x[train].astype(float), y[train].astype(float)).predict(x[test].astype(float))
        alike, mean = cosine_similarity(guess, y[test]), y[train].mean(0, dtype=float)
        ranks = (alike >= np.diag(alike)[:, None]).sum(1)
        np.testing.assert_array_equal(predictions.rows[f"rank:{label}"], ranks)
        for k in (1, 5, 10):
            assert values(predictions, f"recall@{k}")[label] == pytest.approx((ranks <= k).mean())
        centred = np.diag(cosine_similarity(guess - mean, y[test] - mean))
        assert values(predictions, "cosine")[label] == pytest.approx(centred.mean(), abs=1e-5)
        assert np.diag(alike).mean() > centred.mean() + 0.05  # what all embeddings share
        expected = r2_score(y[test], guess, multioutput="variance_weighted")
        assert values(predictions, "r2")[label] == pytest.approx(expected, abs=1e-4)
    assert [note.partition(",")[0] for note in predictions.notes[2:]] == [
        "ecg: embeddings of 12 lead.pth", "labs: embeddings of dae.ckpt",
    ]  # fmt: skip


def test_a_teacher_is_part_of_the_protocol_and_may_come_alone(tmp_path: Path, teachers: TaskOptions) -> None:
    assert (TASK.protocol, TASK.version) == ("physiology", "1 classical-1 64")
    assert TASK.configured(TaskOptions()) == TASK
    both, alone = TASK.configured(teachers), TASK.configured(replace(teachers, ecg_teacher=None))
    assert both.protocol == "physiology+ecg-12-lead+labs-dae"
    assert alone.protocol == "physiology+labs-dae"
    assert alone.version.startswith(f"{TASK.version} labs ")
    other = tmp_path / "dae.ckpt"
    torch.save(LabsDAE(6).state_dict(), other)
    another = TASK.configured(TaskOptions(labs_teacher=other))
    assert (another.protocol, another.version != alone.version) == (alone.protocol, True)
    x, manifest = make(tmp_path, 24)
    usual = run(x, manifest)
    mixed = run(x, manifest, task=replace(QUICK, labs=alone.labs))  # type: ignore[attr-defined]
    assert mixed.rows["rank:ecg"].tolist() == usual.rows["rank:ecg"].tolist()
    assert values(mixed, "cosine")["ecg"] == values(usual, "cosine")["ecg"]
    assert values(mixed, "cosine")["labs"] != values(usual, "cosine")["labs"]


def test_a_teacher_that_is_none_has_its_line(tmp_path: Path, teachers: TaskOptions) -> None:
    with pytest.raises(UserError, match=r"--ecg-teacher .*none\.pth: no such file"):
        TASK.configured(TaskOptions(ecg_teacher=tmp_path / "none.pth"))
    x, manifest = make(tmp_path, 8)
    swapped = TASK.configured(TaskOptions(labs_teacher=teachers.ecg_teacher))
    with pytest.raises(UserError, match="is no autoencoder of labs"):
        run(x, manifest, task=swapped)
    torch.save(LabsDAE(50).state_dict(), tmp_path / "fifty.pth")
    with pytest.raises(UserError, match="is of 50 laboratory tests, the data have 6"):
        run(x, manifest, task=TASK.configured(TaskOptions(labs_teacher=tmp_path / "fifty.pth")))


@pytest.mark.parametrize("rate", [48, 75, 110, 145])
def test_rate_and_r_waves_are_found(rate: float) -> None:
    signal, times = recording(rate)
    found = r_waves(signal - signal.mean(1, keepdims=True)) / RATE
    np.testing.assert_allclose(found, times, atol=0.006)
    assert 60 / features(signal)[0] == pytest.approx(rate, abs=1)


def test_intervals_axes_and_amplitudes_are_those_of_the_recording() -> None:
    signal, _ = recording(60, leads=LEADS)
    found = features(signal)
    assert len(found) == 143
    assert found[4] == pytest.approx(-0.16, abs=0.015)  # P peak
    assert found[5] == pytest.approx(0.25, abs=0.02)  # T peak
    angle = np.arctan2((1.0 - 0.8 / 2) * 2 / np.sqrt(3), 0.8)
    for cosine, sine in (found[7:9], found[9:11]):
        assert np.arctan2(sine, cosine) == pytest.approx(angle, abs=0.1)
    heights = found[11 + 12 : 11 + 24]
    positive = LEADS > 0.5
    np.testing.assert_allclose(heights[positive], LEADS[positive], rtol=0.25)  # the 40 Hz filter rounds R off
    doubled = features(2 * signal)
    np.testing.assert_allclose(doubled[:11], found[:11], atol=1e-9)
    np.testing.assert_allclose(doubled[11 : 11 + 72], 2 * found[11 : 11 + 72], rtol=1e-6)
    np.testing.assert_allclose(doubled[83:], found[83:] + np.log10(4), atol=1e-3)


def test_a_recording_without_beats_has_no_intervals(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.zeros((12, 5000), np.float32))
    np.save(tmp_path / "beats.npy", recording(70)[0].T.astype(np.float32))
    flat, beating = ecg_embeddings([tmp_path / "flat.npy", tmp_path / "beats.npy"])
    assert np.isnan(flat[:83]).all()
    assert np.isfinite(flat[83:]).all()
    assert np.isfinite(beating).all()
