"""Segmentation as a task: decoders, targets, training, and what it may and may not see."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco
from torch import nn

from cxrbench.data.annotations.masks import IGNORE, TrueMasks
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Features, Preprocess
from cxrbench.engine.truth import without_test_truth
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.features.augmentation import augmentation
from cxrbench.features.maps.dense import Geometry
from cxrbench.metrics.classification import Weights
from cxrbench.metrics.segmentation import MEASURES, score
from cxrbench.predictions import Predictions
from cxrbench.progress import Progress
from cxrbench.task import Cell, DecoderName, RunContext, TaskOptions
from cxrbench.tasks.dense.decoders.named import build_decoder
from cxrbench.tasks.dense.mask_targets import MaskTargets, coverage
from cxrbench.tasks.dense.moves import our_draw
from cxrbench.tasks.dense.recipe import DenseRecipe
from cxrbench.tasks.dense.segmentation import TASK, Segmentation
from cxrbench.tasks.dense.training import seeded, train_model
from support.dense_toy import CPU, OPTIONS, SIZE, FakeEncoder, H, Tiles, W, dataset


def run(manifest: Manifest, task: Segmentation = TASK, seed: int = 0, fraction: float = 1.0) -> Predictions:
    cell = Cell("fake", manifest.name, task.protocol, fraction, seed)
    module = Tiles((4,) * 4).eval() if task.decoder == "linear" else None
    return task.run(FakeEncoder(module), without_test_truth(manifest), cell)  # type: ignore[arg-type]


def dice(predictions: Predictions, label: str = "Finding", name: str = "dice_positives") -> float:
    rows = predictions.test_rows()
    return float(MEASURES[name].prepare(rows, [label])[label](Weights.of(np.ones((len(rows), 1), int)))[0])


SHORT = replace(TASK, epochs=30)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """UPerNet's published width is wide for toys; its parameters are counted in test_decoders."""
    monkeypatch.setattr("cxrbench.tasks.dense.decoders.wide.UPERNET", 32)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def unet(toy: Manifest) -> Predictions:
    return run(toy, SHORT)


@pytest.mark.parametrize("name", get_args(DecoderName))
@pytest.mark.parametrize(
    ("widths", "sides", "size"),
    [((3, 5, 7, 9), (16, 8, 4, 2), 64), ((6,) * 4, (4,) * 4, 64), ((6,) * 4, (5,) * 4, 70)],
)
def test_every_decoder_takes_every_encoders_maps(
    name: Any, widths: tuple[int, ...], sides: tuple[int, ...], size: int
) -> None:
    decoder = build_decoder(name, widths, sides, 3, size)
    maps = [torch.randn(2, width, side, side) for width, side in zip(widths, sides, strict=True)]
    logits = decoder(maps)
    assert logits.shape == (2, 3, decoder.side, decoder.side)
    logits.square().mean().backward()
    idle = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [name for name in idle if not name.startswith("decoder.psp")]  # batch norm over one cell gives nothing


@pytest.mark.parametrize("name", get_args(DecoderName))
def test_the_scale_of_the_maps_does_not_matter(name: Any) -> None:
    with seeded(0, CPU):
        decoder = build_decoder(name, (4, 6, 8, 10), (16, 8, 4, 2), 1, 64)
        maps = [torch.randn(4, width, side, side) for width, side in zip((4, 6, 8, 10), (16, 8, 4, 2), strict=True)]
    scaled = [m * 300 + 50 for m in maps]
    torch.testing.assert_close(decoder(scaled), decoder(maps), rtol=1e-2, atol=2e-3)


def test_the_unet_finds_the_bright_rectangles(toy: Manifest, unet: Predictions) -> None:
    scored = score(unet, toy)
    assert dice(scored) > 0.8
    assert dice(scored, name="dice") > 0.6
    assert (scored.kind, scored.labels, scored.groups["macro"]) == ("segmentation", ("Finding",), ("Finding",))
    assert set(scored.rows["split"]) == {"val", "test"}
    assert set(scored.rows["height"]) == {H}
    truth = TrueMasks.of(toy)
    columns = ["image_id", "rle:Finding", *(f"{c}:Finding" for c in ("intersection", "predicted", "target"))]
    for image, rle, *counts in scored.rows[columns].to_numpy().tolist():
        mask = coco.decode({"size": [H, W], "counts": rle}) == 1
        true = truth.native(image, H, W)[0] == 1
        assert counts == [(mask & true).sum(), mask.sum(), true.sum()]


def test_same_seed_same_masks_and_another_seed_others(toy: Manifest) -> None:
    task = replace(TASK, epochs=4)
    one, other = run(toy, task), run(toy, task, seed=1)
    state = torch.random.get_rng_state()
    again = run(toy, task)
    drawing: Any = FakeEncoder(draws=17)
    cached_or_not = task.run(drawing, without_test_truth(toy), Cell("fake", toy.name, task.protocol))
    pd.testing.assert_frame_equal(cached_or_not.rows, one.rows)
    pd.testing.assert_frame_equal(again.rows, one.rows)
    assert again.cell["validation_losses"] == one.cell["validation_losses"] != other.cell["validation_losses"]
    torch.random.set_rng_state(state)
    run(toy, task)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_best_round_is_kept_and_training_stops_early() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    seen: list[float] = []

    def validate() -> dict[str, float]:
        seen.append(model.weight.item())
        return {"val_loss": [5.0, 3.0, 4.0, 4.0, 1.0][len(seen) - 1]}

    fitted = train_model(
        model,
        lambda epoch: np.arange(4)[:, None],
        lambda rows: (model(torch.ones(len(rows), 1)) - 1).square().mean(),
        validate,
        DenseRecipe(epochs=5, min_steps=10, batch_size=4, learning_rate=0.01, patience=2),
        RunContext(OPTIONS, Path(), Progress()),
        what="toy",
    )
    assert (fitted.losses, fitted.best, fitted.steps) == ((5.0, 3.0, 4.0, 4.0), 1, 8)
    assert model.weight.item() == seen[1]
    assert len(set(seen)) == 4


def test_a_loss_that_is_not_finite_has_one_line() -> None:
    model = nn.Linear(1, 1)
    context = RunContext(OPTIONS, Path(), Progress())
    with pytest.raises(UserError, match="toy: the training loss became nan at step 1"):
        train_model(model, lambda epoch: np.arange(4)[:, None], lambda rows: model(torch.ones(1, 1)).sum() * torch.nan,
            lambda: {"val_loss": 0.0}, DenseRecipe(epochs=2, learning_rate=0.1), context, what="toy")  # fmt: skip


def test_seeded_gives_the_same_weights() -> None:
    with seeded(3, CPU):
        one = nn.Linear(4, 4).weight
    with seeded(3, CPU):
        assert torch.equal(nn.Linear(4, 4).weight, one)


def test_test_masks_change_nothing(toy: Manifest, unet: Predictions) -> None:
    assert toy.masks is not None
    test = set(toy.images.loc[toy.images["split"] == "test", "image_id"])
    assert set(toy.masks["image_id"]) & test
    hidden = without_test_truth(toy)
    assert hidden.masks is not None
    assert not set(hidden.masks["image_id"]) & test
    assert "intersection:Finding" not in unet.rows


@pytest.mark.parametrize(
    "task",
    [
        replace(SHORT, decoder="linear", epochs=60),
        replace(SHORT, decoder="upernet", epochs=20),
        replace(SHORT, copies=1, epochs=20),
        replace(SHORT, finetune=True, epochs=20),
    ],
    ids=lambda task: task.protocol,
)
def test_the_other_protocols_learn_too(toy: Manifest, task: Segmentation) -> None:
    assert dice(score(run(toy, task), toy)) > 0.25


def test_fine_tuning_trains_a_copy_of_the_encoder(toy: Manifest) -> None:
    encoder = FakeEncoder()
    before = {name: value.clone() for name, value in encoder.module.state_dict().items()}
    task = replace(SHORT, finetune=True, epochs=1)
    task.run(encoder, without_test_truth(toy), Cell("fake", "toy", task.protocol))  # type: ignore[arg-type]
    assert all(torch.equal(value, before[name]) for name, value in encoder.module.state_dict().items())


def test_fine_tuning_needs_maps(toy: Manifest) -> None:
    class Flat(Tiles):
        def forward(self, images: torch.Tensor) -> Features:
            return Features(super().forward(images).pooled)

    task = replace(SHORT, finetune=True)
    with pytest.raises(NotApplicableError, match="gives no maps"):
        task.run(FakeEncoder(Flat()), toy, Cell("fake", "toy", task.protocol))  # type: ignore[arg-type]


def test_exclusive_classes_with_ignored_pixels(tmp_path: Path) -> None:
    def index_maps(ids: list[str], masks: np.ndarray) -> dict[str, Any]:
        rows = []
        for i, (name, mask) in enumerate(zip(ids, masks, strict=True)):
            values = mask.astype(np.uint8) * (i % 3)
            values[:3] = 255
            Image.fromarray(values).save(tmp_path / f"m{name}.png")
            rows += [(name, label, f"m{name}.png", value, 255.0) for label, value in (("Gray", 1.0), ("White", 2.0))]
        return {"masks": pd.DataFrame(rows, columns=["image_id", "label", "path", "value", "ignore"])}

    manifest = dataset(tmp_path, 40, table=index_maps)
    scored = score(run(manifest, replace(SHORT, epochs=60)), manifest)
    assert scored.labels == ("Gray", "White")
    assert dice(scored, "Gray") > 0.5
    assert dice(scored, "White") > 0.5
    for gray, white in zip(scored.rows["rle:Gray"], scored.rows["rle:White"], strict=True):
        both = coco.merge([{"size": [H, W], "counts": gray}, {"size": [H, W], "counts": white}], intersect=True)
        assert coco.area(both) == 0


def test_boxes_of_one_finding_serve_as_masks(tmp_path: Path) -> None:
    def boxes(ids: list[str], masks: np.ndarray) -> dict[str, Any]:
        rows = []
        for name, mask in zip(ids, masks, strict=True):
            if mask.any():
                y, x = np.argwhere(mask).min(0)
                rows.append((name, "Finding", x, y, 14.0, 18.0))
        return {"boxes": pd.DataFrame(rows, columns=["image_id", "label", "x", "y", "width", "height"])}

    manifest = dataset(tmp_path, 40, table=boxes)
    assert dice(score(run(manifest, SHORT), manifest)) > 0.6


def test_a_label_fraction_trains_on_fewer_images(toy: Manifest) -> None:
    predictions = run(toy, replace(SHORT, epochs=1), fraction=0.2)
    assert predictions.cell["train_images"] == 6


def test_coverage_is_exact_moves_with_the_image_and_knows_what_to_ignore() -> None:
    preprocess = Preprocess(size=16, resize="pad")
    masks = np.zeros((2, 16, 8), np.uint8)
    masks[0, :8], masks[1] = 1, IGNORE
    masks[0, 0:4, 0:4] = IGNORE
    target = coverage(masks, Geometry.of(preprocess, 16, 8), augmentation(0, "a", 0), 4).numpy()
    np.testing.assert_array_equal(target[0], [[0, IGNORE, 254, 0], [0, 254, 254, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert (target[1] == IGNORE).all()
    masks[0] = 0
    masks[0, :8] = 1
    flipped = replace(augmentation(0, "a", 0), shift_y=0.5)
    moved = coverage(masks[:1], Geometry.of(preprocess, 16, 8), flipped, 4)[0].numpy()
    np.testing.assert_array_equal(moved, np.array([[0, 0, 0, 0]] * 2 + [[0, 254, 254, 0]] * 2))


def test_targets_are_made_once_and_blank_images_need_no_file(toy: Manifest) -> None:
    ids = toy.images["image_id"].tolist()
    targets = MaskTargets(TrueMasks.of(toy), ids, [(H, W)] * len(ids), Preprocess(size=SIZE, resize="pad"), 8,
                          draw=our_draw(0), keep=True)  # fmt: skip
    batch = targets(np.array([0, 1]))
    assert (batch.dtype, tuple(batch.shape)) == (torch.uint8, (2, 1, 8, 8))
    assert not batch[0].any()
    assert batch[1].any()
    assert targets._kept[1, 0] is targets._one(1, 0)


def test_options_give_protocols_and_mistakes_have_one_line() -> None:
    given = (
        TaskOptions(), TaskOptions(decoder="unet"), TaskOptions(decoder="linear"),
        TaskOptions(decoder="upernet", augment=3), TaskOptions(finetune=True, augment=2), TaskOptions(epochs=5),
    )  # fmt: skip
    name = [TASK.configured(options).protocol for options in given]
    assert name == ["segmentation", "segmentation", "segmentation+linear", "segmentation+upernet+augment3",
                    "segmentation+finetune", "segmentation+epochs5"]  # fmt: skip
    wrong: Any = "fpn"
    with pytest.raises(UserError, match="choose from linear, unet, upernet, unet-wide"):
        TASK.configured(TaskOptions(decoder=wrong))


def test_not_applicable_says_why(toy: Manifest) -> None:
    assert TASK.not_applicable(toy) is None
    assert TASK.not_applicable(replace(toy, masks=None)) == "it has no masks"
    without_val = replace(toy, images=toy.images[toy.images["split"] != "val"])
    assert TASK.not_applicable(without_val) == "its val split is empty"
