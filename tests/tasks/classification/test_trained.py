"""Heads and whole networks trained by gradient descent: they learn what is there, the same way twice, on a copy."""

import copy
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import log_loss, roc_auc_score
from timm.layers.drop import DropPath
from torch import Tensor, nn

from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.decode.preprocess import load_image
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard, EncoderSpec, Features, Preprocess
from cxrbench.encoders.backbones.vit import ViT, ViTConfig
from cxrbench.engine.truth import without_test_truth
from cxrbench.errors import BadImageError, UserError
from cxrbench.features.extract import ExtractOptions
from cxrbench.progress import Progress
from cxrbench.task import Cell, TaskOptions
from cxrbench.tasks.classification import finetune, linear_sgd
from cxrbench.tasks.classification import linear_probe as classification
from cxrbench.tasks.classification.problem import posed
from cxrbench.tasks.classification.recipe import ClassifierRecipe
from cxrbench.tasks.classification.training.batches import ImageBatches
from cxrbench.tasks.classification.training.end_to_end import set_drop_path
from cxrbench.tasks.classification.training.loop import epoch_batches, linear_head, loss_of
from cxrbench.tasks.training.image_augmentation import STEPS, augment, crop_box, generator
from cxrbench.tasks.training.optimization import learning_rate, peak_rate
from cxrbench.tasks.training.recipe import training_rows

SPEC = EncoderSpec("fake", EncoderCard("fake"), "w", "s", "p", 0)
OPTIONS = ExtractOptions(torch.device("cpu"), "fp32", batch_size=32, workers=2)
SMALL = Preprocess(size=16, resize="squash", mean=(0.5,), std=(0.25,), channels=1)


class TinyViT(nn.Module):
    preprocess = SMALL

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ViT(ViTConfig(16, 2, 2, patch=8, size=16, channels=1))

    def forward(self, images: Tensor) -> Features:
        return Features(self.backbone(images)[0][:, 0])


class TinyCNN(nn.Module):
    preprocess = SMALL

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, 2)
        self.layer1 = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(8, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU())

    def forward(self, images: Tensor) -> Features:
        return Features(self.layer2(self.layer1(self.stem(images))).mean((2, 3)))


class Fake:
    """A FrozenEncoder of a module; ``extracted`` counts how often pooled features were asked for."""

    spec = SPEC
    context = SimpleNamespace(options=OPTIONS, scratch=Path(), progress=Progress())

    def __init__(self, kind: type[nn.Module], seed: int = 0) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.module: Any = kind().eval().requires_grad_(False)

    def pooled(self, manifest: Manifest) -> np.ndarray:
        images = torch.stack([load_image(path, self.module.preprocess) for path in manifest.paths()])
        with torch.inference_mode():
            return self.module(images).pooled.numpy()


@pytest.fixture
def manifest(dataset: Path) -> Manifest:
    return read_csv(dataset)


def run(task: Any, encoder: Any, manifest: Manifest, seed: int = 0, fraction: float = 1.0) -> Any:
    return task.run(encoder, without_test_truth(manifest), Cell("fake", "clinic", task.protocol, fraction, seed))


def value(predictions: Any, manifest: Manifest, label: str = "bright") -> float:
    rows = predictions.rows
    truth = manifest.images.set_index("image_id").loc[rows["image_id"], label]
    return float(roc_auc_score(truth, rows[f"score:{label}"]))


def quick(task: Any, **changes: Any) -> Any:
    return replace(task, recipe=replace(task.recipe, **{"epochs": 8, "batch_size": 16, **changes}))


@pytest.mark.parametrize("kind", [TinyViT, TinyCNN])
def test_fine_tuning_learns_a_planted_finding_on_a_copy_and_repeats_itself(
    kind: type[nn.Module], manifest: Manifest
) -> None:
    encoder = Fake(kind)
    before = copy.deepcopy(encoder.module.state_dict())
    task = quick(finetune.TASK, learning_rates=(2e-2,), warmup_epochs=1, patience=None)
    state = torch.random.get_rng_state()
    assert value(run(task, encoder, manifest), manifest) > 0.9
    short = replace(task, epochs=2)
    one, two, other = (run(short, encoder, manifest, seed) for seed in (0, 0, 1))
    assert one.rows.equals(two.rows)
    assert not one.rows.equals(other.rows)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.module.state_dict().items())
    assert not any(p.requires_grad for p in encoder.module.parameters())
    assert set(one.rows["split"]) == {"val", "test"}
    assert one.rows.loc[one.rows["split"] == "test", "target:bright"].isna().all()


def test_what_is_chosen_is_the_best_epoch_on_validation(manifest: Manifest) -> None:
    encoder = Fake(TinyCNN)
    task = quick(finetune.TASK, learning_rates=(2e-2,), epochs=6, warmup_epochs=0)
    predictions = run(task, encoder, manifest)
    rows = predictions.rows[predictions.rows["split"] == "val"]
    loss = np.mean([log_loss(rows[f"target:{x}"], rows[f"score:{x}"]) for x in ("bright", "coin")])
    assert predictions.cell["chosen"]["val_loss"] == pytest.approx(loss, rel=1e-5)
    assert 1 <= predictions.cell["chosen"]["epoch"] <= 6


def test_one_epoch_at_a_rate_of_nothing_leaves_the_encoder_as_it_was(manifest: Manifest) -> None:
    encoder = Fake(TinyViT)
    task = quick(finetune.TASK, learning_rates=(0.0,), epochs=1, warmup_epochs=0, drop_path=0.0, head_init_std=0.1)
    predictions = run(task, encoder, manifest)
    head = linear_head(16, 2, replace(task.recipe), 0)
    held = np.concatenate([manifest.rows_of("val"), manifest.rows_of("test")])
    with torch.no_grad():
        expected = head(torch.from_numpy(encoder.pooled(manifest)[held])).sigmoid().numpy()
    np.testing.assert_allclose(predictions.rows[["score:bright", "score:coin"]], expected, atol=1e-5)


def test_a_linear_head_on_cached_features_is_near_the_convex_probe(manifest: Manifest) -> None:
    encoder = Fake(TinyCNN)
    one = run(linear_sgd.TASK, encoder, manifest)
    assert value(one, manifest) > 0.9
    assert value(one, manifest) == pytest.approx(value(run(classification.TASK, encoder, manifest), manifest), abs=0.05)
    assert one.rows.equals(run(linear_sgd.TASK, encoder, manifest).rows)
    assert one.cell["chosen"]["learning_rate"] in linear_sgd.RECIPE.learning_rates


def test_flipped_features_made_once_are_those_made_in_every_epoch(manifest: Manifest) -> None:
    encoder = Fake(TinyCNN)
    recipe = {"learning_rates": (0.1,), "epochs": 4, "standardize": False, "optimizer": "adam", "select": "last"}
    cached = run(quick(linear_sgd.TASK, augmentation=({"flip": 0.5},), **recipe), encoder, manifest)
    plain = run(quick(linear_sgd.TASK, augmentation=(), **recipe), encoder, manifest)
    live = run(quick(linear_sgd.TASK, augmentation=({"flip": 0.5}, {"noise": 0.0}), **recipe), encoder, manifest)
    np.testing.assert_allclose(cached.rows["score:bright"], live.rows["score:bright"], atol=1e-5)
    assert not np.allclose(cached.rows["score:bright"], plain.rows["score:bright"], atol=1e-5)


@pytest.mark.parametrize("preset", ["spcl", "mvmae", "pacx", "radjepa", "fane", "fane:official", "mvmae:paper"])
def test_every_presets_classification_runs(preset: str, manifest: Manifest) -> None:
    encoder = Fake(TinyViT)
    before = copy.deepcopy(encoder.module.state_dict())
    task: Any = classification.TASK.configured(TaskOptions(preset=preset, epochs=1))
    assert task.protocol.startswith(f"classification+preset-{preset.replace(':', '-')}")
    adapted = task.adapted(manifest)
    assert task.not_applicable(adapted) is None
    predictions = run(task, encoder, adapted)
    assert np.isfinite(predictions.rows[["score:bright", "score:coin"]].to_numpy()).all()
    assert predictions.cell["chosen"]["epoch"] == 1
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.module.state_dict().items())


def test_training_that_diverges_and_images_that_cannot_be_read_are_said(manifest: Manifest) -> None:
    with pytest.raises(UserError, match="diverged at the learning rate 1e\\+30"):
        run(quick(finetune.TASK, learning_rates=(1e30,), epochs=2), Fake(TinyCNN), manifest)
    manifest.paths()[int(manifest.rows_of("train")[0])].write_bytes(b"no image")
    with pytest.raises(BadImageError):
        run(quick(finetune.TASK, epochs=1), Fake(TinyCNN), manifest)


def test_a_label_with_one_class_in_training_is_undefined(manifest: Manifest) -> None:
    images = manifest.images.copy()
    images.loc[images["split"] == "train", "coin"] = 0
    predictions = run(linear_sgd.TASK, Fake(TinyCNN), replace(manifest, images=images))
    assert predictions.rows["score:coin"].isna().all()
    assert predictions.rows["score:bright"].notna().all()
    assert "not trained: coin" in predictions.notes[0]


def test_classes_that_exclude_each_other(manifest: Manifest) -> None:
    images = manifest.images.assign(coin=1 - manifest.images["bright"])
    several = replace(manifest, images=images, kind="multiclass")
    predictions = run(linear_sgd.TASK, Fake(TinyCNN), several)
    np.testing.assert_allclose(predictions.scores(predictions.rows).sum(1), 1, atol=1e-9)
    assert value(predictions, several) > 0.9


def test_schedule_is_a_linear_warm_up_and_half_a_cosine() -> None:
    recipe = ClassifierRecipe((1.0,), epochs=12, warmup_epochs=2, min_learning_rate=0.1)
    assert [learning_rate(recipe, 1.0, e) for e in (0, 1, 2, 7, 12)] == pytest.approx([0, 0.5, 1, 0.55, 0.1])
    # PyTorch's own, a step per epoch, as MVMAE has it
    mvmae = ClassifierRecipe((1.0,), epochs=12, warmup_epochs=5, warmup_start=0.5, step_per="epoch")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    peers = torch.optim.lr_scheduler
    schedule = peers.SequentialLR(
        optimizer,
        [peers.LinearLR(optimizer, 0.5, total_iters=5), peers.CosineAnnealingLR(optimizer, 7)],
        milestones=[5],
    )
    for epoch in range(12):
        assert learning_rate(mvmae, 1.0, epoch + 0.7) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert peak_rate(ClassifierRecipe((1.0,), learning_rate_images=256, batch_size=1024), 2.5e-4) == 1e-3


def test_batches_hold_every_image_once_or_whole_studies(manifest: Manifest) -> None:
    images = manifest.images.assign(study_id=manifest.images["patient_id"])
    whole = replace(manifest, images=images)
    cell = Cell("fake", "clinic", "linear")
    problem, _ = posed(whole, ClassifierRecipe((1.0,), batch_size=10, views="all"), cell)
    batches = epoch_batches(problem, 0)
    assert sorted(np.concatenate(batches)) == problem.train.tolist()
    assert {len(b) for b in batches[:-1]} == {10}
    assert not np.array_equal(np.concatenate(batches), np.concatenate(epoch_batches(problem, 1)))
    one = replace(
        problem, recipe=ClassifierRecipe((1.0,), batch_size=10, batch_of="studies", max_views=1, drop_last=True)
    )
    for batch in epoch_batches(one, 3):
        assert len(set(images["study_id"].iloc[batch])) == len(batch) == 10
    both = replace(problem, recipe=ClassifierRecipe((1.0,), batch_size=10, batch_of="studies"))
    assert {len(b) for b in epoch_batches(both, 3)[:-1]} == {20}


def test_unknown_labels_take_no_part_in_the_loss() -> None:
    logits, targets = torch.tensor([[1.0, -2.0], [0.5, 3.0]]), torch.tensor([[1.0, math.nan], [math.nan, 0.0]])
    expected = nn.functional.binary_cross_entropy_with_logits(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.0]))
    assert loss_of(logits, targets, "multilabel") == pytest.approx(float(expected))
    assert loss_of(logits, torch.full((2, 2), math.nan), "multilabel") == 0


def test_fractions_as_papers_draw_them() -> None:
    import pandas as pd

    rows, targets = np.arange(1000), np.zeros((1000, 1), np.float32)
    targets[:5] = 1
    patients = np.array([f"p{i // 10}" for i in rows])
    mgca = training_rows(
        ClassifierRecipe((1.0,), fraction_draw="images", fraction_seed=42), rows, patients, targets, 0.01, 0
    )
    frame = pd.DataFrame({"row": rows})
    assert mgca.tolist() == sorted(frame.sample(frac=0.01, random_state=42)["row"])
    pacx = ClassifierRecipe((1.0,), fraction_draw="images-with-positives", fraction_seed=42)
    assert (targets[training_rows(pacx, rows, patients, targets, 0.01, 0)] == 1).any()
    ours = training_rows(ClassifierRecipe((1.0,)), rows, patients, targets, 0.1, 0)
    assert len(ours) == 10 * len(set(patients[ours]))


def test_images_are_the_encoders_own_preprocessing_unless_they_are_augmented(manifest: Manifest) -> None:
    inputs = ImageBatches(manifest, SMALL, OPTIONS, ({"random_resized_crop": [0.5, 1.0]}, {"flip": 0.5}))
    rows = [np.arange(5), np.arange(5, 8)]

    def pixels(found: Iterator[tuple[Any, Tensor]]) -> Tensor:
        return torch.cat([images for _, images in found])

    still = pixels(inputs.batches(rows, seed=0))
    assert torch.equal(still, torch.stack([load_image(path, SMALL) for path in manifest.paths()[:8]]))
    one, again, other = (pixels(inputs.batches(rows, 0, epoch)) for epoch in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(one[5:], pixels(inputs.batches(rows[1:], 0, 1)))  # an image's draw depends on no other image
    assert one.shape == still.shape


def test_a_frame_is_cut_at_the_centre_and_in_training_anywhere(tmp_path: Path, manifest: Manifest) -> None:
    gradient = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    images = ImageBatches(manifest, SMALL, OPTIONS, frame={"resize": "pad", "size": 32, "crop": 16})
    centre = images.image(gradient, "x", 0, None)
    assert centre.shape == (1, 16, 16)
    values = centre[0, 0] * 0.25 + 0.5
    assert float(values.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(values[-1] - values[0]) == pytest.approx(15 / 32, abs=0.02)
    lefts = {round(float(images.image(gradient, f"{i}", 0, 0)[0, 0, 0]), 3) for i in range(40)}
    assert len(lefts) > 8
    with pytest.raises(UserError, match="frame"):
        ImageBatches(manifest, SMALL, OPTIONS, frame={"size": 32})
    with pytest.raises(UserError, match="not known"):
        ImageBatches(manifest, SMALL, OPTIONS, ({"mixup": 0.8},))


@pytest.mark.parametrize(
    "step",
    [{"flip": 1.0}, {"jitter": [0.4, 0.4]}, {"affine": 10.0, "shift": 0.1, "scale": 0.1}, {"blur": [0.5, 2.0]},
     {"noise": 0.1}, {"rand_augment": "rand-m6-mstd0.5-inc1"}, {"mild": True}],
    ids=lambda step: next(iter(step)),
)  # fmt: skip
def test_each_step_moves_an_image_repeatably_and_within_its_range(step: dict[str, Any]) -> None:
    assert next(iter(step)) in STEPS
    image = torch.from_numpy(np.random.default_rng(0).random((1, 32, 32), np.float32))
    python, numpy = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    moved = [augment(image, [step], generator(0, 1, f"{i % 6}"), 0, f"{i % 6}", 1) for i in range(12)]
    assert any(not torch.equal(image, m) for m in moved)
    assert all(torch.equal(a, b) for a, b in zip(moved[:6], moved[6:], strict=True))
    assert all(m.shape == image.shape and m.min() >= 0 and m.max() <= 1 for m in moved)
    assert random.getstate() == python
    assert np.random.get_state()[1].tolist() == numpy  # type: ignore[index]
    assert torch.equal(augment(image, [{"flip": 1.0}], generator(0, 0, "a"), 0, "a", 0), image.flip(-1))


def test_random_resized_crops_have_the_area_and_aspect_asked_for() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([crop_box(400, 300, (0.2, 0.8), (0.75, 4 / 3), rng) for _ in range(2000)])
    top, left, h, w = boxes.T
    area, aspect = h * w / 120_000, w / h
    assert 0.199 < area.min() < 0.21
    assert 0.7 < area.max() < 0.803
    assert 0.74 < aspect.min() < 0.78
    assert 1.2 < aspect.max() < 1.35
    assert (top + h <= 400).all()
    assert (left + w <= 300).all()
    assert crop_box(10, 1000, (1.0, 1.0), (0.75, 4 / 3), rng) == (0, (1000 - 13) // 2, 10, 13)


def test_drop_path_rises_over_the_blocks_and_acts_in_training_only() -> None:
    backbone = ViT(ViTConfig(16, 3, 2, patch=8, size=16, channels=1))
    assert set_drop_path(backbone, 0.2) == 3
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in backbone.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2])
    assert sum(isinstance(m, DropPath) for m in backbone.modules()) == 4
    images = torch.rand(2, 1, 16, 16)
    assert torch.equal(backbone.eval()(images)[0], backbone(images)[0])
    backbone.train()
    assert len({float(backbone(images)[0].sum()) for _ in range(8)}) > 1
    assert set_drop_path(TinyCNN(), 0.2) == 0


def test_memory_does_not_hold_the_data(tmp_path: Path) -> None:
    """An image is let go of before the one after the next is decoded."""
    import pandas as pd

    for i in range(12):
        Image.new("L", (16, 16), i).save(tmp_path / f"{i}.png")
    frame = pd.DataFrame({"image_id": [f"{i:02}" for i in range(12)], "path": [f"{i}.png" for i in range(12)]})
    frame = frame.assign(patient_id="p", study_id="s", view="", split="train", bytes=1, a=0.0)
    images = ImageBatches(Manifest("m", tmp_path, frame, ("a",)), SMALL, OPTIONS)
    (tmp_path / "11.png").unlink()
    found = images.batches([np.array([i]) for i in range(12)], 0)
    assert len([next(found) for _ in range(11)]) == 11  # the missing last one has not been asked for
    with pytest.raises(BadImageError):
        next(found)
