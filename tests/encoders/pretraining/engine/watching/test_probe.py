"""The linear probe while training, against scikit-learn's pieces by hand and against labels that are known."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrbench.encoders.backbones.checkpoint import read_encoder
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig
from cxrbench.encoders.pretraining.engine.pretrain import checked, pretrain
from cxrbench.encoders.pretraining.engine.watching.begin import Watched, probing
from cxrbench.encoders.pretraining.engine.watching.probe import mean_auroc
from support.patterns import make_manifest

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = PretrainConfig(
    "supervised", "64x4p4s24", epochs=2, batch_size=16, lr=1e-3, warmup=0.1, precision="32", accelerator="cpu",
    watch_every=0, probe_every=4,
)  # fmt: skip


def test_auroc_is_that_of_ranked_pairs_and_skips_what_is_unknown() -> None:
    rng = np.random.default_rng(0)
    fitted, scored = rng.normal(size=(300, 5)), rng.normal(size=(60, 5))
    direction = np.array([1.0, 0, 0, 0, 0])
    targets = [np.stack([x @ direction > 0, rng.random(len(x)) > 0.5], 1).astype(np.float32) for x in (fitted, scored)]
    told = mean_auroc(fitted, scored, targets[0][:, :1], targets[1][:, :1])
    positives, negatives = (scored[targets[1][:, 0] == value] @ direction for value in (1, 0))
    pairs = np.subtract.outer(positives, negatives)
    assert told == pytest.approx((pairs > 0).mean(), abs=0.02)
    holes = [one.copy() for one in targets]
    holes[0][:50] = holes[1][:10] = np.nan
    assert mean_auroc(fitted, scored, *holes) == pytest.approx(
        mean_auroc(fitted[50:], scored[10:], targets[0][50:], targets[1][10:])
    )
    targets[1][:, 1] = 1  # undefined: the other label alone counts
    assert mean_auroc(fitted, scored, *targets) == told
    assert math.isnan(mean_auroc(fitted, scored, targets[0][:, 1:], targets[1][:, 1:]))


def test_a_run_is_probed_when_due_and_learns(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    manifest = make_manifest(tmp_path / "data")
    path = pretrain(CONFIG, [manifest], tmp_path / "run")
    column = pd.read_csv(tmp_path / "run" / "log.csv").set_index("step")["probe_auroc"].dropna()
    assert column.index.tolist() == [4, 6]
    record = read_encoder(path, "supervised").facts["training"]["probe"]
    assert record["now"] == pytest.approx(column[6], rel=1e-5)
    assert min(record["now"], record["start"]) > 0.6
    assert "mean AUROC" in (tmp_path / "run" / "encoder.md").read_text()


def test_without_labels_one_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    manifest = replace(make_manifest(tmp_path / "data"), labels=(), groups={})
    pretrain(replace(CONFIG, method="spcl", epochs=1), [manifest], tmp_path / "run")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("no probe")]
    assert len(lines) == 1
    assert "labels" in lines[0]
    assert "probe_auroc" not in pd.read_csv(tmp_path / "run" / "log.csv")


def test_labels_of_held_out_images_alone_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A data set with labels brings validation images, and another one all training images."""
    (tmp_path / "data").mkdir()
    whole = make_manifest(tmp_path / "data")
    held_out = replace(whole, images=whole.images[whole.images["split"] != "train"])
    unlabelled = replace(whole, name="more", labels=(), groups={})
    config = replace(CONFIG, method="spcl", arch="64x4p8s24")
    run = Watched(config, checked(config)[0], [held_out, unlabelled], tmp_path, {})
    assert probing(run) == []
    assert capsys.readouterr().err.startswith("no probe: ")
