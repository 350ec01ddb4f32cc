"""Studies with signals as a corpus: which images are used, what a batch holds, who the teachers are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess
from cxrbench.encoders.ecg.net1d import Net1D, Net1DConfig
from cxrbench.encoders.ecg.teacher import TeacherRecipe
from cxrbench.encoders.labs.autoencoder import DAERecipe, LabsDAE, labs_embeddings
from cxrbench.encoders.pacx.corpus import Modalities, PaCXCorpus, Teachers, build, with_signals
from cxrbench.encoders.pretraining.corpus import TrainingImages
from cxrbench.encoders.pretraining.engine.prepared import Decoding, prepare_images, training_rows
from cxrbench.errors import UserError

GRAY = Preprocess(32, "squash", (0.5,), (0.25,), channels=1)
STUDIES, LABS = 8, 5
NO_ECG, NO_LABS, NEITHER = 2, 3, 4  # numbers of studies
QUICK = Teachers(ecg_recipe=TeacherRecipe(2, 4, 500), labs_recipe=DAERecipe(1, 3))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Eight studies of two images each, gray level = study; no signals but ECG and five labs for most."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    root.mkdir()
    rows = []
    for k in range(2 * STUDIES):
        Image.fromarray(np.full((20, 20), 20 * (k // 2) + k % 2, np.uint8)).save(root / f"{k:02}.png")
        rows.append((f"i{k:02}", f"p{k // 2}", f"s{k // 2}", "PA", "train", f"{k:02}.png", 1))
    columns = ["image_id", "patient_id", "study_id", "view", "split", "path", "bytes"]
    np.save(root / "ecg.npy", rng.normal(size=(STUDIES, 12, 1000)).astype(np.float32))
    labs = rng.random((STUDIES, LABS))
    labs[rng.random(labs.shape) < 0.2] = np.nan
    labs[:, 0] = np.linspace(0.1, 0.9, STUDIES)
    labs[[NO_LABS, NEITHER]] = np.nan
    ecg = [f"ecg.npy#{n}" if n not in (NO_ECG, NEITHER) else "" for n in range(STUDIES)]
    signals = pd.DataFrame({"study_id": [f"s{n}" for n in range(STUDIES)], "ecg": ecg})
    signals[[f"lab:{n}" for n in range(LABS)]] = labs
    shuffled = signals.sample(frac=1, random_state=1)
    return Manifest("toy", root, pd.DataFrame(rows, columns=columns), (), signals=shuffled)


@pytest.fixture
def weights(tmp_path: Path) -> Teachers:
    """Two teachers in files."""
    torch.manual_seed(0)
    torch.save(Net1D(Net1DConfig((16, 32), (1, 1), 16)).state_dict(), tmp_path / "ecg.pth")
    torch.save(LabsDAE(LABS).state_dict(), tmp_path / "labs.pth")
    return Teachers(tmp_path / "ecg.pth", tmp_path / "labs.pth")


def images(manifest: Manifest, cache: Path, modalities: Modalities = "both") -> TrainingImages:
    rows = training_rows([manifest], eligible=lambda m: with_signals(m, modalities))
    return TrainingImages(prepare_images(rows, GRAY, cache), rows, {manifest.name: manifest})


def corpus(manifest: Manifest, cache: Path, teachers: Teachers, modalities: Modalities = "both") -> PaCXCorpus:
    return build(images(manifest, cache, modalities), modalities, teachers)


def rngs(n: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, k)) for k in range(n)]


def test_images_whose_study_has_signals_are_used(manifest: Manifest) -> None:
    used = {m: with_signals(manifest, m).reshape(-1, 2) for m in ("both", "ecg", "labs")}  # type: ignore[arg-type]
    for name, lacking in (("both", {NEITHER}), ("ecg", {NO_ECG, NEITHER}), ("labs", {NO_LABS, NEITHER})):
        expected = [n not in lacking for n in range(STUDIES)]
        assert used[name].all(1).tolist() == used[name].any(1).tolist() == expected
    assert not with_signals(replace(manifest, signals=None), "both").any()
    assert manifest.signals is not None
    assert not with_signals(replace(manifest, signals=manifest.signals.drop(columns="ecg")), "ecg").any()


def test_a_batch_is_one_image_of_each_study_beside_its_own_embeddings(
    manifest: Manifest, tmp_path: Path, weights: Teachers
) -> None:
    made = corpus(manifest, tmp_path / "cache", weights)
    assert len(made) == STUDIES - 1
    units = np.array([6, 0, 3, 2])
    read = made.batch(units, rngs(4))
    assert read["images"].shape == (4, 1, 32, 32)
    studies = (read["images"].float().mean((1, 2, 3)) / 20).long()
    assert studies.tolist() == [7, 0, 3, 2]  # the study with neither is gone
    assert read["has_ecg"].tolist() == [True, True, True, False]
    assert read["has_labs"].tolist() == [True, True, False, True]
    assert (read["ecg"][3] == 0).all()
    assert (read["labs"][2] == 0).all()
    dae, signals = LabsDAE(LABS), manifest.signals
    dae.load_state_dict(torch.load(weights.labs))  # type: ignore[arg-type]
    assert signals is not None
    own = signals.set_index("study_id").loc[["s7", "s0"]].filter(like="lab:").to_numpy(np.float32)
    expected = labs_embeddings(dae, torch.from_numpy(own).nan_to_num(), torch.from_numpy(np.isfinite(own)).float())
    torch.testing.assert_close(read["labs"][:2], expected)
    assert not torch.allclose(read["ecg"][0], read["ecg"][1])


def test_each_epoch_draws_an_image_of_the_study(manifest: Manifest, tmp_path: Path, weights: Teachers) -> None:
    made = corpus(manifest, tmp_path / "cache", weights)
    units = np.arange(7)
    seen = np.array([made.batch(units, rngs(7, s))["images"].float().mean((1, 2, 3)).numpy() % 20 for s in range(40)])
    assert (np.abs(seen.mean(0) - 0.5) < 0.4).all()
    assert set(np.unique(seen)) == {0, 1}
    again = [made.batch(units, rngs(7, 5))["images"] for _ in range(2)]
    assert torch.equal(*again)


def test_facts_name_the_teachers(manifest: Manifest, tmp_path: Path, weights: Teachers) -> None:
    first = corpus(manifest, tmp_path / "cache", weights).facts
    assert (first["studies"], first["studies with ecg"], first["studies with labs"]) == (7, 6, 6)
    assert first == corpus(manifest, tmp_path / "other", weights).facts
    torch.manual_seed(1)
    torch.save(LabsDAE(LABS).state_dict(), tmp_path / "labs.pth")
    changed = corpus(manifest, tmp_path / "cache", weights).facts
    assert [name for name in first if first[name] != changed[name]] == ["teacher of labs"]
    assert list(corpus(manifest, tmp_path / "cache", weights, "labs").facts) == [
        "studies", "studies with labs", "teacher of labs",
    ]  # fmt: skip


def test_teachers_are_trained_where_none_are_given_and_found_again(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = corpus(manifest, tmp_path / "cache", QUICK)
    assert "trained on 6" in first.teachers["ecg"]
    assert "trained on 6" in first.teachers["labs"]
    monkeypatch.setattr("cxrbench.encoders.pacx.corpus.train_dae", None)
    monkeypatch.setattr("cxrbench.encoders.ecg.teacher.train_teacher", None)
    again = corpus(manifest, tmp_path / "cache", QUICK)
    assert again.facts == first.facts
    for name, embeddings in first.taught.items():
        np.testing.assert_array_equal(embeddings, again.taught[name])
        assert (np.abs(embeddings).sum(1) > 0).tolist() == first.present[name].tolist()


def test_labs_imputed_as_the_official_code_does(manifest: Manifest, tmp_path: Path, weights: Teachers) -> None:
    zero, mean = (
        corpus(manifest, tmp_path / "cache", replace(weights, imputed=how), "labs").taught["labs"]
        for how in ("zero", "mean")
    )
    assert manifest.signals is not None
    labs = manifest.signals.set_index("study_id").sort_index().filter(like="lab:")
    whole = labs.dropna(how="all").notna().all(axis=1)
    same = np.isclose(zero, mean, atol=1e-6).all(1)
    assert same.tolist() == whole.tolist()
    assert 0 < whole.sum() < 6


def test_images_that_are_decoded_while_training_have_a_cache_too(manifest: Manifest, weights: Teachers) -> None:
    made = images(manifest, manifest.root / "cache")
    loose = TrainingImages(Decoding(tuple(manifest.paths()), GRAY), made.rows, made.manifests)
    here = build(loose, "both", weights, manifest.root / "here")
    assert list((manifest.root / "here").glob("ecg-embeddings-*.npy"))
    np.testing.assert_array_equal(here.taught["ecg"], build(made, "both", weights).taught["ecg"])


def test_a_modality_that_is_not_there_is_said(manifest: Manifest, tmp_path: Path, weights: Teachers) -> None:
    assert manifest.signals is not None
    without = replace(manifest, signals=manifest.signals.drop(columns="ecg"))
    with pytest.raises(UserError, match="fewer than two training studies have ecg: pass --option modalities=labs"):
        corpus(without, tmp_path / "cache", weights)
    torch.save(LabsDAE(50).state_dict(), tmp_path / "labs.pth")
    with pytest.raises(UserError, match="of 50 laboratory tests, the data have 5"):
        corpus(without, tmp_path / "cache", weights, "labs")
