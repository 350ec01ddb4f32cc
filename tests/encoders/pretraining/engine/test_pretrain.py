import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from torch import nn

from cxrbench.data.decode.preprocess import load_image
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderRequest
from cxrbench.encoders.backbones.vit import ViTConfig, parse_arch
from cxrbench.encoders.pretraining.corpus import ImageCorpus, TrainingImages
from cxrbench.encoders.pretraining.engine.flops import step_cost
from cxrbench.encoders.pretraining.engine.prepared import prepare_images, training_rows
from cxrbench.encoders.pretraining.engine.pretrain import by_part, checked, pretrain
from cxrbench.encoders.pretraining.engine.trainer import From, Stream
from cxrbench.encoders.pretraining.method import Batch, Draw, Loss
from cxrbench.encoders.pretraining.schedule import learning_rate_factor, parameter_groups
from cxrbench.encoders.spcl import OPTIONS, SPCL, load
from cxrbench.errors import BadImageError, UserError
from cxrbench.files.checkpoints import read_checkpoint
from support import patterns
from support.small_run import CONFIG, GRAY, make_manifest

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_manifest(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole_run(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    pretrain(CONFIG, [manifest], out, command="the command")
    return out


def state(out: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(out / "last.ckpt")["state_dict"]


def assert_same(a: Path, b: Path) -> None:
    first, second = read_checkpoint(a / "last.ckpt"), read_checkpoint(b / "last.ckpt")
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    moments = [c["optimizer_states"][0]["state"] for c in (first, second)]
    assert all(torch.equal(moments[0][k]["exp_avg_sq"], moments[1][k]["exp_avg_sq"]) for k in moments[0])
    assert (a / "encoder.safetensors").read_bytes() != b""


def image_corpus(manifest: Manifest, cache: Path) -> ImageCorpus:
    rows = training_rows([manifest])
    return ImageCorpus(TrainingImages(prepare_images(rows, GRAY, cache), rows, {manifest.name: manifest}))


def images(stream: Stream, i: int) -> torch.Tensor:
    read = stream[i][0]
    assert isinstance(read, dict)
    return read["images"]


# Images


def test_only_training_images_of_training_patients(manifest: Manifest, tmp_path: Path) -> None:
    crossing = manifest.images.copy()
    crossing.loc[0, "patient_id"] = "p17"  # a patient of the test split
    prepared = prepare_images(training_rows([replace(manifest, images=crossing)]), GRAY, tmp_path)
    assert len(prepared) == 13
    files = [manifest.root / f"{k:02}.png" for k in range(1, 14)]
    expected = torch.stack([load_image(path, replace(GRAY, mean=(0.0,), std=(1.0,))) for path in files])
    assert np.abs(prepared.images(np.arange(13)) / 255 - expected.numpy()).max() <= 0.5 / 255 + 1e-6


def test_a_limit_keeps_studies_whole(manifest: Manifest) -> None:
    assert len(training_rows([manifest], limit=5)) == 5
    pairs = manifest.images.assign(study_id=[f"s{k // 2}" for k in range(len(manifest.images))])
    pairs["patient_id"] = pairs["study_id"]
    pairs["split"] = "train"
    for limit, kept in ((6, 6), (5, 4), (1, 2)):  # one study at least
        rows = training_rows([replace(manifest, images=pairs)], limit=limit)
        assert len(rows) == kept
        assert set(rows.groupby("study_id").size()) == {2}


def test_images_are_prepared_once(manifest: Manifest, tmp_path: Path) -> None:
    first = prepare_images(training_rows([manifest]), GRAY, tmp_path, workers=1)
    stamp = first.path.stat().st_mtime_ns
    assert (
        prepare_images(training_rows([manifest]), replace(GRAY, mean=(0.1,)), tmp_path).path.stat().st_mtime_ns == stamp
    )
    assert prepare_images(training_rows([manifest]), replace(GRAY, size=16), tmp_path).path != first.path
    assert len(prepare_images(training_rows([manifest], limit=5), GRAY, tmp_path)) == 5
    whole = first.images(np.arange(14))
    first.path.write_bytes(b"cut")
    assert (prepare_images(training_rows([manifest]), GRAY, tmp_path).images(np.arange(14)) == whole).all()


def test_bad_image_is_an_error_or_dropped(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path)
    (tmp_path / "03.png").write_bytes(b"\x89PNG not really")
    with pytest.raises(BadImageError, match=r"03\.png"):
        prepare_images(training_rows([manifest]), GRAY, tmp_path / "cache", workers=1)
    assert list((tmp_path / "cache").glob("*.u8*")) == []
    prepared = prepare_images(training_rows([manifest]), GRAY, tmp_path / "cache", on_bad_image="skip")
    assert (len(prepared), prepared.dropped) == (13, (str(tmp_path / "03.png"),))


def test_an_epoch_is_a_permutation_and_processes_share_it(manifest: Manifest, tmp_path: Path) -> None:
    corpus = image_corpus(manifest, tmp_path)
    stream = Stream(corpus, 4, seed=0, rank=0, world=1)
    epochs = [torch.cat([images(stream, i) for i in range(3 * e, 3 * e + 3)]) for e in (0, 1)]
    for epoch in epochs:
        assert len(epoch.flatten(1).unique(dim=0)) == 12  # 12 different images of the 14
    assert not torch.equal(*epochs)
    shares = [images(Stream(corpus, 4, 0, rank, 2), 5) for rank in (0, 1)]
    assert torch.equal(torch.cat(shares), images(stream, 5))
    assert (list(From(2, 5)), len(From(2, 5))) == ([2, 3, 4], 5)


# The run


def test_result_says_what_it_is_and_loads(whole_run: Path, manifest: Manifest) -> None:
    with safe_open(whole_run / "encoder.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["cxrbench"])
        assert all(not name.startswith("log_scale") for name in file.keys())  # noqa: SIM118
    card = facts["card"]
    assert card["cpu_hours"] > 0
    assert card["wall_hours"] > 0
    assert {name: value for name, value in card.items() if not name.endswith("hours")} == {
        "method": "spcl", "licence": "unknown", "pretrained_on": ["nih", "toy"], "synthetic": False,
        "citation": "", "year": None, "unverified": [], "assumed": [],
    }  # fmt: skip
    assert card["gpu_hours"] is None
    assert (facts["images"], facts["command"], facts["config"]["epochs"]) == ({"toy": 14}, "the command", 6)
    images = torch.randn(2, 1, 32, 32)
    from_result, from_checkpoint = (
        load(EncoderRequest("spcl", None, str(whole_run / name))).eval()
        for name in ("encoder.safetensors", "last.ckpt")
    )
    assert torch.equal(from_result(images).pooled, from_checkpoint(images).pooled)
    assert from_result.card == from_checkpoint.card
    assert from_result.card.pretrained_on == ("nih", "toy")


def test_log_has_a_row_per_step(whole_run: Path) -> None:
    with open(whole_run / "log.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 10))
    assert all(0 < float(row["loss"]) < 2 * math.log(7) + 15 for row in rows)
    methods = (Path(__file__).parents[4] / "docs" / "methods.md").read_text()
    assert not [column for column in rows[0] if f"`{column}`" not in methods and column != "logit_scale"]  # S-PCL's


def test_phantom_images_are_not_the_datasets_they_imitate(manifest: Manifest, tmp_path: Path) -> None:
    short = replace(CONFIG, epochs=1, accumulate=1, half=True, options={"ratio": "0", "loss": "clip"})
    path = pretrain(short, [replace(manifest, synthetic=True)], tmp_path)
    card = load(EncoderRequest("spcl", None, str(path))).card
    assert (card.pretrained_on, card.synthetic, card.licence) == (("phantom:toy",), True, "Apache-2.0")
    with safe_open(path, "pt") as file:
        assert file.get_tensor("cls_token").dtype == torch.float16


def test_stops_on_nan_and_resumes_to_the_bit_in_mid_epoch(
    manifest: Manifest, whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, good = replace(CONFIG, checkpoint_every=1), SPCL.forward

    def breaks(self: SPCL, batch: Batch, draw: Draw) -> Loss:
        breaks.calls += 1  # type: ignore[attr-defined]
        loss = good(self, batch, draw)
        return loss if breaks.calls <= 9 else Loss(loss.value * math.nan, loss.logged)  # type: ignore[attr-defined]

    breaks.calls = -1  # type: ignore[attr-defined]  # counting GFLOPs is a call too
    monkeypatch.setattr(SPCL, "forward", breaks)
    with pytest.raises(UserError, match=rf"loss is nan at step 5; the last good checkpoint is {tmp_path}/last.ckpt"):
        pretrain(config, [manifest], tmp_path)
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 4  # 8 batches: in the middle of epoch 3
    monkeypatch.undo()
    pretrain(config, [manifest], tmp_path, resume=True)
    assert_same(tmp_path, whole_run)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 10


def test_stops_before_a_step_on_a_gradient_that_is_no_number(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(self: SPCL, batch: Batch, draw: Draw) -> Loss:
        return Loss(self.log_scale.sub(self.log_scale.detach()).sqrt(), {})  # 0, with an infinite slope

    monkeypatch.setattr(SPCL, "forward", poisoned)
    with pytest.raises(UserError, match=r"gradient is .* at step 1; nothing was saved yet"):
        pretrain(CONFIG, [manifest], tmp_path)


def test_survives_sigkill(manifest: Manifest, whole_run: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, checkpoint_every=1)
    code = (
        "import sys, torch; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from dataclasses import replace; from cxrbench.encoders.pretraining.engine.pretrain import pretrain\n"
        "from support import small_run as t; torch.set_num_threads(1)\n"
        "pretrain(replace(t.CONFIG, checkpoint_every=1), [t.make_manifest(Path(sys.argv[2]))], Path(sys.argv[3]))"
    )
    data = tmp_path / "data"
    data.mkdir()
    here = Path(__file__).parents[3]
    arguments = [sys.executable, "-c", code, str(here), str(data), str(tmp_path / "run")]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 600
    while not (tmp_path / "run" / "last.ckpt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    error = (process.communicate()[1] or b"").decode()
    assert (tmp_path / "run" / "last.ckpt").exists(), error
    load(EncoderRequest("spcl", None, str(tmp_path / "run" / "last.ckpt")))
    pretrain(config, [make_manifest(data)], tmp_path / "run", cache=tmp_path / "again", resume=True)
    assert_same(tmp_path / "run", whole_run)


def test_two_processes_learn_what_one_learns(
    manifest: Manifest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = replace(CONFIG, epochs=1, accumulate=1)
    pretrain(config, [manifest], tmp_path / "one")
    pretrain(replace(config, devices=2), [manifest], tmp_path / "two")
    said = capfd.readouterr().err
    assert not any(noise in said for noise in ("weights_only", "max_steps", "LeafSpec")), said
    one, two = (pd.read_csv(tmp_path / name / "log.csv") for name in ("one", "two"))
    for name in ("loss", "logit_scale", "gradient_norm"):
        np.testing.assert_allclose(two[name].to_numpy(), one[name].to_numpy(), rtol=1e-5)
    assert len(set(one["logit_scale"])) == 3
    first, second = state(tmp_path / "one"), state(tmp_path / "two")
    for name, tensor in first.items():
        # Adam turns rounding errors of gradients that should be 0 (the keys' biases) into a share of a step of 5e-4.
        assert (second[name] - tensor).abs().max() < 2e-4, name
        assert (second[name] - tensor).abs().median() < 1e-7, name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 64}, "14 training units are fewer than one batch of 64"),
        ({"arch": "giant"}, "unknown architecture 'giant'"),
        ({"method": "spc"}, "unknown method 'spc': did you mean 'spcl'"),
        ({"options": {"masks": 1}}, "no option masks"),
        ({"devices": 3}, "cannot be shared by 3 devices"),
        ({"precision": "16"}, "precision is auto, 32 or bf16, not '16'"),
        ({"accelerator": "tpu"}, "accelerator is auto, cpu or gpu, not 'tpu'"),
        ({"decode": "never"}, "decode is once or always, not 'never'"),
        ({"decode": "always", "on_bad_image": "skip"}, "only where images are decoded once"),
        ({"epochs": 0}, "epochs is 0"),
        ({"lr": 0.0}, "lr is 0: it must be more than 0"),
        ({"clip": math.nan}, "clip is nan: it must be at least 0"),
        ({"warmup": 1.0}, r"warmup is 1: it must be in \[0, 1\)"),
        ({"epochs": 10**20}, r"epochs is 10{20}: it must be in \[1, 1e\+09\]"),
        ({"horizon": 1.7e308}, r"horizon is 1.7e\+308: it must be in"),
        ({"accumulate": 99}, "give no step"),
        ({"seed": 2**63}, "seed is 9223372036854775808: it must be at least 0 and at most 9223372036854775807"),
        ({"keep_every": -1}, "keep_every is -1"),
        ({"workers": -1}, "workers is -1"),
        ({"limit": 0}, "limit is 0"),
    ],
)
def test_bad_settings_are_one_line(manifest: Manifest, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        pretrain(replace(CONFIG, **change), [manifest], tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arch": "nano-0"}, "image size 0 is no multiple of the patch size 16"),
        ({"options": {"ratio": 0.999}}, "leaves no patch of 4 for two views"),
        ({"method": "mae", "options": {"ratio": 0.999}}, "leaves 0 of 4 patches visible"),
        ({"method": "mvmae", "options": {"mask": 0.999}}, "leaves 0 of 4 patches visible"),
        ({"method": "mvmae-v2t", "arch": "nano", "options": {"text_width": 12}}, "is 12 wide, which 8 heads"),
        ({"method": "radjepa", "arch": "64x4p14s28"}, "a grid of at least 4 x 4 patches"),
        ({"batch_size": 1}, "spcl compares the units of a batch with each other, and there is one: .* of 2 or more"),
        ({"method": "pacx", "batch_size": 1}, "pacx compares the units"),
        ({"method": "fane", "batch_size": 1}, "fane compares the units"),
        ({"method": "radjepa", "arch": "nano", "batch_size": 1, "options": {"variance": 1}}, "radjepa compares"),
        ({"recipe": "official", "arch": "nano", "devices": 4}, "of a batch of each device .* of 8 or more"),
    ],
)
def test_what_could_not_be_trained_is_refused_before_data_are_read(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked(replace(CONFIG, **change))


def test_a_loss_that_compares_nothing_is_trained_on_single_images() -> None:
    for method in ("mae", "radjepa", "supervised"):
        checked(replace(CONFIG, method=method, arch="nano", batch_size=1))
    checked(replace(CONFIG, method="fane", arch="nano", batch_size=1, options={"mp": 0, "hn": 0}))
    checked(replace(CONFIG, recipe="official", arch="nano", batch_size=8, devices=4))


def test_a_method_without_pictures_says_so_before_anything_is_decoded(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"spcl draws no pictures of its training: leave out picture_every"):
        pretrain(replace(CONFIG, picture_every=1), [manifest], tmp_path)
    assert list(tmp_path.iterdir()) == []
    drawing = {point.name for point in entry_points(group="cxrbench.methods") if point.load().pictures}
    assert drawing == {"mae", "mvmae", "mvmae-v2t", "radjepa", "fane"}


def test_a_finished_or_different_run_is_not_overwritten(manifest: Manifest, whole_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="already holds a run: pass --resume"):
        pretrain(CONFIG, [manifest], whole_run)
    with pytest.raises(UserError, match=r"another run \(lr was 0.0005, is 0.1\)"):
        pretrain(replace(CONFIG, lr=0.1), [manifest], whole_run, resume=True)
    for name, how in (
        ("encoder.safetensors", "move it away"),
        ("epoch-0001.ckpt", "copy epoch-0001.ckpt to last.ckpt"),
    ):
        (tmp_path / name).mkdir(parents=True)
        shutil.copy(whole_run / "encoder.safetensors", tmp_path / name / name)
        for resume in (False, True):
            with pytest.raises(UserError, match=f"holds {name} of a run, but no last.ckpt: {how}"):
                pretrain(CONFIG, [manifest], tmp_path / name, resume=resume)
        assert {path.name for path in (tmp_path / name).iterdir()} == {name}
    before = (whole_run / "last.ckpt").stat().st_mtime_ns
    assert pretrain(CONFIG, [manifest], whole_run, resume=True) == whole_run / "encoder.safetensors"
    assert (whole_run / "last.ckpt").stat().st_mtime_ns == before


# The parts


def test_one_image_is_too_few_whatever_the_batch(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    config = replace(CONFIG, method="mae", arch="64x4p4s24", batch_size=1)
    with pytest.raises(UserError, match="the data have 1 training unit: give more images, two at least"):
        pretrain(config, [patterns.make_manifest(tmp_path / "data", train=1, val=1)], tmp_path / "run")


def test_learning_rate_in_closed_form() -> None:
    factors = [learning_rate_factor(step, total=110, warmup=10) for step in range(110)]
    assert factors[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert factors[60] == pytest.approx(0.5)
    assert factors[109] == pytest.approx((1 + math.cos(math.pi * 0.99)) / 2)
    assert learning_rate_factor(0, 5, 0) == 1


def test_only_matrices_are_decayed() -> None:
    model = SPCL(ViTConfig(64, 4, 1, 4, 16, 1), OPTIONS.read({}))
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, rest = ([names[id(p)] for p in group["params"]] for group in parameter_groups(model, 0.05))  # type: ignore[attr-defined]
    assert all(name.endswith(".weight") and "norm" not in name for name in decayed)
    assert all(name.endswith(".bias") or "norm" in name or name in ("backbone.cls_token", "log_scale") for name in rest)
    assert len(decayed) + len(rest) == len(names)
    assert len(decayed) == 1 + 4 * 4


def test_a_parameter_with_a_rate_of_its_own_is_in_no_other_group_and_not_decayed() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    *others, own = parameter_groups(model, 0.05, own_rates={"0.weight": 0.5})
    assert own == {"params": [model[0].weight], "weight_decay": 0.0, "lr": 0.5}
    in_others = {id(p) for group in others for p in group["params"]}  # type: ignore[attr-defined]
    assert in_others == {id(p) for p in model.parameters()} - {id(model[0].weight)}
    assert all("lr" not in group for group in others)


def test_flops_in_closed_form() -> None:
    arch = ViTConfig(64, 4, 1, 4, 24, 1)
    cost = step_cost(SPCL(arch, OPTIONS.read({"ratio": 0.0})), Batch(torch.zeros(2, 1, 24, 24)))
    n, d = 19, 64  # two views of 18 patches and CLS
    multiply_adds = 36 * 16 * d + 2 * 4 * (n * 12 * d * d + 2 * n * n * d)
    assert cost.forward == pytest.approx(2 * multiply_adds / 1e9, rel=0.001)  # the loss itself: 4 x 4 cosines
    assert 2.5 < cost.training / cost.forward <= 3


def test_gflops_of_the_papers_setting() -> None:
    """ViT-B/16 at 224 px, r 0.3: 12.0 GMAC for the two views."""
    with torch.device("meta"):
        objective = SPCL(parse_arch("base", channels=3), OPTIONS.read({}))
        cost = step_cost(objective, Batch(torch.zeros(8, 3, 224, 224)))
    assert cost.forward / 2 == pytest.approx(12.0, abs=0.05)


def test_of_options_those_that_differ_are_named() -> None:
    before, now = {"ratio": 0.3, "loss": "ntxent"}, {"ratio": 0.3, "loss": "clip", "new": 1}
    assert [pair for pair in by_part("options", before, now) if pair[1] != pair[2]] == [
        ("options.loss", "ntxent", "clip"),
        ("options.new", None, 1),
    ]
    assert by_part("image_set", "a", "b") == [("image_set", "a", "b")]
