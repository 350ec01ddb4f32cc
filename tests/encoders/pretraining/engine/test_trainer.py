"""What the engine offers every method: hooks, schedules, logs, pictures, cards, ways to decode, and how it fails."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.backbones.checkpoint import KEPT, read_encoder
from cxrbench.encoders.backbones.vit import ViT, ViTConfig
from cxrbench.encoders.pretraining.corpus import ImageCorpus, TrainingImages
from cxrbench.encoders.pretraining.engine import pretrain as engine
from cxrbench.encoders.pretraining.engine.plan import make_plan
from cxrbench.encoders.pretraining.engine.prepared import Decoding
from cxrbench.encoders.pretraining.engine.pretrain import pretrain
from cxrbench.encoders.pretraining.engine.trainer import Pretraining
from cxrbench.encoders.pretraining.method import Batch, Draw, Loss
from cxrbench.encoders.pretraining.recipe import PretrainingRecipe
from cxrbench.encoders.pretraining.schedule import half_cosine
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import read_checkpoint
from support.toy_method import CONFIG, Toy, make_manifest, toy_method, weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return make_manifest(tmp_path / "data")


def log(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "log.csv")


def test_hooks_and_schedules(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = PretrainingRecipe(
        lr=0.1, start_lr=0.5, final_lr=0.1, warmup=1 / 3, weight_decay=0.04, final_weight_decay=0.4
    )
    monkeypatch.setattr(engine, "read_method", lambda config: toy_method(recipe))
    seen: list[tuple[float, float, float]] = []
    after = Toy.after_step

    def watched(self: Toy, progress: float) -> None:
        group = module.optimizers().param_groups[0]
        seen.append((progress, group["lr"], group["weight_decay"]))
        after(self, progress)

    train = engine.train

    def caught(trained: Any, *arguments: Any) -> None:
        nonlocal module
        module = trained
        train(trained, *arguments)

    module: Any = None
    monkeypatch.setattr(Toy, "after_step", watched)
    monkeypatch.setattr(engine, "train", caught)
    pretrain(replace(CONFIG, method="toy"), [manifest], tmp_path / "run")
    progress, rates, decays = zip(*seen, strict=True)
    assert progress == pytest.approx([k / 6 for k in range(6)])
    falling = [half_cosine(0.1, 0.01, k / 4) for k in range(4)]
    assert rates == pytest.approx([0.05 + 0.025, 0.1, *falling])
    assert decays == pytest.approx([half_cosine(0.04, 0.4, k / 6) for k in range(6)])
    assert log(tmp_path / "run")["progress"].tolist() == pytest.approx([k / 6 for k in range(6)], abs=1e-5)
    kept = read_checkpoint(tmp_path / "run" / "last.ckpt")[KEPT]
    assert torch.equal(kept["weight"], weights(tmp_path / "run")["objective.linear.weight"])
    assert read_encoder(tmp_path / "run" / "encoder.safetensors", "toy").architecture == {"width": 4}


def test_dropout_and_moving_averages_resume_to_the_bit(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "read_method", lambda config: toy_method())
    config = replace(CONFIG, method="toy", epochs=2, lr=1e-2)
    pretrain(config, [manifest], tmp_path / "whole")
    good, calls = Toy.forward, 0

    def breaks(self: Toy, batch: Batch, draw: Draw) -> Loss:
        nonlocal calls
        calls += 1
        return good(self, batch, draw) if calls <= 5 else Loss(self.linear.weight.sum() * torch.nan)

    monkeypatch.setattr(Toy, "forward", breaks)  # the first call counts GFLOPs: the fifth step is the one that fails
    with pytest.raises(UserError, match="loss is nan at step 5"):
        pretrain(config, [manifest], tmp_path / "cut")
    monkeypatch.setattr(Toy, "forward", good)
    pretrain(config, [manifest], tmp_path / "cut", resume=True)
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(tensor, weights(tmp_path / "cut")[name]), name
    assert not torch.equal(weights(tmp_path / "cut")["objective.average"], torch.zeros(4, 64))


def test_decoding_while_training_is_the_same_training(manifest: Manifest, tmp_path: Path) -> None:
    pretrain(CONFIG, [manifest], tmp_path / "once")
    pretrain(replace(CONFIG, decode="always", workers=1), [manifest], tmp_path / "always")
    for name, tensor in weights(tmp_path / "once").items():
        assert torch.equal(tensor, weights(tmp_path / "always")[name]), name
    assert not list((tmp_path / "always").rglob("*.u8"))
    (manifest.root / "03.png").write_bytes(b"\x89PNG cut off")
    for workers in (0, 1):
        with pytest.raises(UserError, match=r"cannot read image .*03\.png") as caught:
            pretrain(replace(CONFIG, decode="always", workers=workers), [manifest], tmp_path / f"bad{workers}")
        assert "\n" not in str(caught.value)


def test_gradient_checkpointing_changes_no_figure(manifest: Manifest, tmp_path: Path) -> None:
    pretrain(CONFIG, [manifest], tmp_path / "plain")
    pretrain(replace(CONFIG, gradient_checkpointing=True), [manifest], tmp_path / "again")
    np.testing.assert_allclose(log(tmp_path / "again")["loss"], log(tmp_path / "plain")["loss"], rtol=1e-5)
    backbone = ViT(ViTConfig(64, 4, 1, 8, 32, 1))
    images, calls = torch.randn(2, 1, 32, 32), 0

    def count(*arguments: Any) -> None:
        nonlocal calls
        calls += 1

    backbone.blocks[0].register_forward_pre_hook(count)
    gradients = []
    for backbone.gradient_checkpointing in (False, True):
        backbone.zero_grad()
        backbone(images)[0].square().sum().backward()
        gradients.append(backbone.patch_embed.proj.weight.grad.clone())  # type: ignore[union-attr]
    assert calls == 3  # once, and then once more in the backward pass
    torch.testing.assert_close(*gradients)


def test_excluded_patients_are_not_trained_on(manifest: Manifest, tmp_path: Path) -> None:
    excluded = {"toy": frozenset({"p00", "p05", "p15"})}
    path = pretrain(replace(CONFIG, epochs=1), [manifest], tmp_path / "run", excluded=excluded)
    facts = read_encoder(path, "spcl").facts
    assert (facts["images"], facts["patients"]) == ({"toy": 10}, {"toy": 10})
    with pytest.raises(UserError, match="another run"):
        pretrain(replace(CONFIG, epochs=1), [manifest], tmp_path / "run", resume=True)


def test_logs_pictures_and_card(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "read_method", lambda config: toy_method())
    out = tmp_path / "run"
    pretrain(replace(CONFIG, method="toy", picture_every=1), [manifest], out, command="cxrbench pretrain toy")
    table = log(out)
    assert table["waiting"].between(0, 1).all()
    curves = EventAccumulator(str(out / "tensorboard")).Reload()
    np.testing.assert_allclose([event.value for event in curves.Scalars("loss")], table["loss"], rtol=1e-4)
    assert [event.step for event in curves.Scalars("loss")] == table["step"].tolist()
    assert sorted(path.name for path in (out / "pictures").iterdir()) == ["epoch-0001.png", "epoch-0002.png"]
    first = np.asarray(Image.open(out / "pictures" / "epoch-0001.png"))
    assert first.shape == (8, 8)
    card = (out / "encoder.md").read_text()
    for part in ("# toy", "toy: 12 images of 12 patients", "cxrbench pretrain toy", "GFLOPs per unit", '"epochs": 2'):
        assert part in card


def test_what_is_logged_is_of_all_processes_and_all_stop_together(manifest: Manifest, tmp_path: Path) -> None:
    """Where a loss is a mean over images, each process has that of its share."""
    corpus = ImageCorpus(TrainingImages(Decoding((), Toy.preprocess), manifest.images, {}))
    plan = make_plan(CONFIG, PretrainingRecipe(batch_size=4), 12, tmp_path)
    module = Pretraining(Toy(), corpus, PretrainingRecipe(), plan, {}, 0)
    others = torch.tensor([2.0, 4.0])
    strategy = SimpleNamespace(reduce=lambda ours, reduce_op: torch.stack([ours, others]).mean(dim=0))
    module._trainer = SimpleNamespace(global_rank=0, world_size=2, global_step=0, strategy=strategy)  # type: ignore[assignment]
    item = ({"images": torch.full((2, 1, 8, 8), 99, dtype=torch.uint8)}, 0)
    ours = module.training_step(item).item()
    assert module.logged == {"loss": pytest.approx((ours + 2) / 2), "progress": 2.0}
    others[0] = torch.nan
    with pytest.raises(UserError, match="the loss is nan"):
        module.training_step(item)
