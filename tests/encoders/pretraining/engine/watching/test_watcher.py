"""Watching a run: what it sees, that training does not notice, and that a collapse is said."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from cxrbench.data.decode.preprocess import load_image
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderRequest
from cxrbench.encoders.backbones.checkpoint import read_encoder
from cxrbench.encoders.pretraining.engine.checkpoint_io import AtomicIO
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig
from cxrbench.encoders.pretraining.engine.pretrain import pretrain
from cxrbench.encoders.pretraining.engine.watching import begin
from cxrbench.encoders.pretraining.engine.watching.evaluating import evaluating
from cxrbench.encoders.pretraining.engine.watching.held_out import watched_images
from cxrbench.encoders.pretraining.engine.watching.monitors import Monitors, effective_rank, singular_values, uniformity
from cxrbench.encoders.pretraining.engine.watching.watcher import EARLY, LOOKS, same_figures
from cxrbench.encoders.pretraining.method import every_image
from cxrbench.encoders.radjepa.encoder import load
from cxrbench.files.checkpoints import read_checkpoint, read_metadata
from support.patterns import GRAY, make_manifest

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = PretrainConfig(
    "radjepa", "64x4p4s24", epochs=4, batch_size=16, lr=1e-3, warmup=0.1, precision="32", accelerator="cpu",
    watch_every=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_manifest(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("watched") / "run"
    pretrain(CONFIG, [manifest], out)
    return out


def log(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "log.csv")


def test_columns_of_both_encoders_in_the_steps_that_are_due(run: Path) -> None:
    table = log(run)
    seen = table["step"][table["effective_rank_target"].notna()].tolist()
    assert (seen, table["step"].tolist()) == ([3, 6, 9, 12], list(range(1, 13)))
    figures = ("effective_rank", "first_component", "spread", "uniformity", "crop_alignment")
    names = [f"{figure}_{name}" for figure in figures for name in ("target", "context")]
    assert np.isfinite(table[names].to_numpy()[np.array(seen) - 1]).all()
    assert set(table["spread_target"]).isdisjoint(table["spread_context"].dropna())
    curves = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.step for event in curves.Scalars("spread_context")] == [0, *seen]
    assert "gpu_memory" not in table
    assert max(table["learning_rate"].tolist()) == pytest.approx(1e-3)
    assert table["learning_rate"].tolist()[-1] < 1e-4


def test_the_figures_are_those_of_the_encoder_as_it_is_read(run: Path, manifest: Manifest) -> None:
    """From the file that was written, on the validation images, decoded as evaluation decodes them."""
    encoder = load(EncoderRequest("radjepa", None, str(run / "encoder.safetensors"))).eval()
    rows = manifest.images[manifest.images["split"] == "val"]
    images = torch.stack([load_image(manifest.root / path, encoder.preprocess) for path in rows["path"]])
    with torch.no_grad():
        pooled = encoder(images).pooled.double()
    last = log(run).iloc[-1]
    assert last["effective_rank_target"] == pytest.approx(effective_rank(singular_values(pooled)), rel=0.01)
    assert last["spread_target"] == pytest.approx(float(pooled.std(dim=0, correction=0).mean()), rel=0.01)
    assert last["uniformity_target"] == pytest.approx(uniformity(pooled), rel=0.02)
    record = read_encoder(run / "encoder.safetensors", "radjepa").facts["training"]["watched"]
    assert record["images"] == f"{len(rows)} images of validation patients"
    assert record["now"]["target"]["spread"] == pytest.approx(last["spread_target"], rel=1e-4)
    assert record["start"]["target"] == record["start"]["context"] != record["now"]["context"]


def test_training_does_not_notice_and_a_resumed_run_sees_the_same(
    run: Path, manifest: Manifest, tmp_path: Path
) -> None:
    pretrain(replace(CONFIG, watch_every=0), [manifest], tmp_path / "unseen")
    unseen, seen = (read_checkpoint(out / "last.ckpt")["state_dict"] for out in (tmp_path / "unseen", run))
    assert all(torch.equal(tensor, unseen[name]) for name, tensor in seen.items())
    assert "spread_target" not in log(tmp_path / "unseen")
    begun = tmp_path / "cut"
    pretrain(replace(CONFIG, keep_every=2), [manifest], begun)
    (begun / "epoch-0002.ckpt").replace(begun / "last.ckpt")
    shutil.copy(begun / "last.ckpt", begun / "half.ckpt")
    pretrain(CONFIG, [manifest], begun, resume=True)
    resumed = read_checkpoint(begun / "last.ckpt")["state_dict"]
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in seen.items())
    timed = ["units_per_second", "waiting"]
    pd.testing.assert_frame_equal(log(begun).drop(columns=timed), log(run).drop(columns=timed))
    records = [read_encoder(out / "encoder.safetensors", "radjepa").facts["training"] for out in (run, begun)]
    assert records[0]["watched"] == records[1]["watched"]
    half = json.loads(read_metadata(begun / "half.ckpt")["cxrbench"])["training"]["hours"]
    assert records[1]["hours"]["cpu"] > half["cpu"] > 0  # summed over both halves
    assert records[1]["hours"]["wall"] > half["wall"] > 0
    card = read_encoder(begun / "encoder.safetensors", "radjepa").card
    assert card.hours == {f"{name}_hours": value for name, value in records[1]["hours"].items()}


def test_a_look_leaves_modes_statistics_and_random_numbers_alone() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Linear(6, 4))
    network[3].eval()  # a frozen part of a network that trains
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with evaluating(network):
        assert not any(part.training for part in network.modules())
        network(torch.rand(2, 1, 8, 8))
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.rand(3), expected)
    assert [part.training for part in network] == [True, True, True, False]
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_watched_images_are_never_of_test_patients_and_training_images_only_where_there_are_no_others(
    manifest: Manifest, tmp_path: Path
) -> None:
    def watched(given: Manifest, excluded: frozenset[str] = frozenset(), most: int = 100) -> tuple[set[str], bool]:
        found = watched_images(
            [given], GRAY, tmp_path, most=most, excluded={given.name: excluded}, eligible=every_image
        )
        assert found.first(most).shape == (len(found), 1, 24, 24)
        return set(found.images.rows["patient_id"]), found.held_out

    patients = {split: set(rows["patient_id"]) for split, rows in manifest.images.groupby("split")}
    assert watched(manifest) == (patients["val"], True)
    one = min(patients["val"])
    assert watched(manifest, frozenset([one])) == (patients["val"] - {one}, True)
    images = manifest.images.copy()
    images.loc[images["split"] == "test", "patient_id"] = one
    assert watched(replace(manifest, images=images)) == (patients["val"] - {one}, True)
    images = manifest.images[manifest.images["split"] != "val"]
    some, held_out = watched(replace(manifest, images=images), most=7)
    assert (len(some), some <= patients["train"], held_out) == (7, True, False)


def test_a_run_that_collapses_by_construction_warns_once_and_says_what_to_try(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Targets that follow at once (momentum .5): the encoder agrees with itself, on less and less."""
    config = replace(CONFIG, epochs=10, options={"momentum": 0.5}, watch_every=5)
    path = pretrain(config, [manifest], tmp_path / "run")
    warnings = [line for line in capsys.readouterr().err.splitlines() if "collapsed" in line]
    said = read_encoder(path, "radjepa").facts["training"]["collapsed"]
    assert len(warnings) == len(said) == len({one["to"] for one in said}) >= 1
    assert said[0]["to"] == "few dimensions"
    assert 15 <= said[0]["step"] <= 30  # three looks
    assert warnings[0].startswith(f"warning: at step {said[0]['step']} the embeddings of the ")
    assert "few dimensions" in warnings[0]
    assert "momentum" in warnings[0]
    assert said[0]["why"] in (tmp_path / "run" / "encoder.md").read_text()


def test_a_run_whose_weights_decay_to_nothing_warns_of_either_mode_once(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each step takes a third of every matrix away: what is left of an image are its patches' positions."""
    config = replace(CONFIG, method="spcl", epochs=6, weight_decay=300.0, watch_every=3)
    path = pretrain(config, [manifest], tmp_path / "run")
    warnings = [line for line in capsys.readouterr().err.splitlines() if "collapsed" in line]
    said = read_encoder(path, "spcl").facts["training"]["collapsed"]
    assert [one["to"] for one in said] == ["few dimensions", "one point"]
    for warning, one in zip(warnings, said, strict=True):
        assert warning.startswith(
            f"warning: at step {one['step']} the embeddings have collapsed to {one['to']} ({one['why']}); try a "
        )


def test_a_run_that_is_seldom_looked_at_is_looked_at_early(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Small batches pay for a look in hundreds of steps: a collapse from the beginning would be said too late."""
    assert len(EARLY) == LOOKS
    assert max(EARLY) < 200
    monkeypatch.setattr(begin, "EARLY", (5, 10, 15))
    config = replace(CONFIG, epochs=6, options={"momentum": 0.5}, watch_every=None)
    path = pretrain(config, [manifest], tmp_path / "run")
    table, err = log(tmp_path / "run"), capsys.readouterr().err
    assert table["step"][table["spread_target"].notna()].tolist() == [5, 10, 15, 18]
    assert "0 steps, and after 5, 10, 15 (--watch-every)" in err
    assert read_encoder(path, "radjepa").facts["training"]["collapsed"][0]["step"] <= 18
    monkeypatch.setattr(begin, "EARLY", (1, 2, 2))
    pretrain(replace(config, epochs=1, watch_every=100), [manifest], tmp_path / "as-told")
    table = log(tmp_path / "as-told")
    assert table["step"][table["spread_target"].notna()].tolist() == [3]


def test_a_healthy_run_does_not_warn(manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pretrain(replace(CONFIG, method="spcl", epochs=8, watch_every=4), [manifest], tmp_path / "run")
    assert "warning" not in capsys.readouterr().err
    assert read_encoder(path, "spcl").facts["training"]["collapsed"] == []


def test_a_record_of_another_version_is_compared_with_nothing(manifest: Manifest, tmp_path: Path) -> None:
    """Its figures have other names: the run goes on, and what is now is its start."""
    now = {"": Monitors(3.0, 0.5, 1.0, -1.0, 0.1)}
    assert same_figures({"start": {"": now[""]._asdict()}}, now)
    assert not same_figures({"start": {"target": now[""]._asdict()}}, now)
    assert not same_figures(None, now)
    out, config = tmp_path / "run", replace(CONFIG, method="spcl", epochs=2, keep_every=1)
    pretrain(replace(config, watch_every=0), [manifest], out)
    old = torch.load(out / "epoch-0001.ckpt", weights_only=True)
    facts = json.loads(old["cxrbench"])
    facts["training"]["watched"] = {"start": {"": {"alignment": 1.0}}, "first_step": 0}
    old["cxrbench"] = json.dumps(facts)
    AtomicIO().save_checkpoint(old, out / "last.ckpt")
    pretrain(config, [manifest], out, resume=True)
    found = read_encoder(out / "encoder.safetensors", "spcl").facts["training"]["watched"]
    assert (set(found["start"][""]), found["first_step"], found["step"]) == (set(Monitors._fields), 3, 6)


@pytest.mark.parametrize("decode", ["once", "always"])
def test_validation_images_that_cannot_be_read_are_counted_and_training_images_stand_in_for_all(
    tmp_path: Path, decode: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    manifest = make_manifest(tmp_path / "data", train=16, val=3)
    files = [manifest.root / path for path in manifest.images.loc[manifest.images["split"] == "val", "path"]]
    config = replace(CONFIG, epochs=1, decode=decode, probe_every=1)
    for broken, watched, probed in (
        (files[:1], "2 images of validation patients (1 unreadable left out)", None),
        (files, "16 of the training images (3 unreadable left out)", "in the images of validation patients"),
    ):
        for path in broken:
            path.write_bytes(b"no image")
        pretrain(config, [manifest], tmp_path / f"run-{len(broken)}")
        err = capsys.readouterr().err
        assert f"watching {watched} every 3 steps" in err
        assert f"Pooled embeddings of {watched}" in (tmp_path / f"run-{len(broken)}" / "encoder.md").read_text()
        assert probed is None or f"no probe: no label of patterns is both present and absent {probed}" in err
