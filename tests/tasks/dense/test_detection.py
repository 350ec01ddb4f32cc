"""Detection as a task: easy boxes are found, none are found in noise, and what it may and may not see."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from cxrbench.data.decode.preprocess import load_image
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard, EncoderSpec, Features, Preprocess
from cxrbench.engine.truth import without_test_truth
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.features.augmentation import SEED, augmentation
from cxrbench.features.extract import ExtractOptions
from cxrbench.features.maps.dense import Geometry, dense_preprocess
from cxrbench.metrics.classification import Weights
from cxrbench.metrics.kinds import KINDS
from cxrbench.predictions import Predictions
from cxrbench.progress import Progress
from cxrbench.task import Cell, RunContext, Task, TaskOptions
from cxrbench.tasks.dense.box_targets import BoxTargets, BoxTruth
from cxrbench.tasks.dense.detection import TASK
from cxrbench.tasks.dense.detectors.anchors import ANCHORS
from cxrbench.tasks.dense.detectors.named import Yolo
from cxrbench.tasks.dense.detectors.yolo import Grid
from cxrbench.tasks.dense.moves import our_draw

CPU = torch.device("cpu")
OPTIONS = ExtractOptions(CPU, "fp32", batch_size=16, workers=1)
SPEC = EncoderSpec("fake", EncoderCard("fake"), "w", "s", "p", 0)
SIZE, H, W = 64, 120, 90
LABELS = ("Bright", "Dark")


class Tiles(nn.Module):
    """Gray means at strides 4, 8, 16, 32 beside a trainable copy of them."""

    preprocess = Preprocess(size=SIZE, resize="crop", mean=(0.5,), std=(0.25,), channels=1)

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, 1, 1, 1))

    def forward(self, images: torch.Tensor) -> Features:
        x = torch.cat([images, images * self.gain], 1)
        maps = tuple(nn.functional.avg_pool2d(x, stride) for stride in (4, 8, 16, 32))
        return Features(maps[3].flatten(1), maps)


class FakeEncoder:
    """Maps in memory: of a Tiles encoder, or noise that knows nothing of the images."""

    def __init__(self, noise: bool = False) -> None:
        self.module: Any = Tiles().eval()
        self.spec, self.noise = SPEC, noise
        self.context = RunContext(OPTIONS, Path(), Progress())

    def maps(self, manifest: Manifest, copies: int = 0) -> Any:
        preprocess = dense_preprocess(self.module.preprocess)
        images = [load_image(path, preprocess) for path in manifest.paths()]
        if self.noise:
            images = list(torch.randn(len(images), *images[0].shape, generator=torch.Generator().manual_seed(0)))
        made = []
        for copy in range(copies + 1):
            moves = [augmentation(SEED, name, copy) for name in manifest.images["image_id"]]
            moved = [move.apply_image(image, preprocess) for move, image in zip(moves, images, strict=True)]
            with torch.inference_mode():
                made.append(self.module(torch.stack(moved)).maps)

        def batch(rows: Any, copy: int = 0, levels: Sequence[int] = range(4)) -> tuple[torch.Tensor, ...]:
            return tuple(made[copy][level][rows].half() for level in levels)

        return SimpleNamespace(
            widths=tuple(m.shape[1] for m in made[0]), sides=tuple(m.shape[-1] for m in made[0]),
            preprocess=preprocess, cached=True, batch=batch,
        )  # fmt: skip


class NoMaps(FakeEncoder):
    def maps(self, manifest: Manifest, copies: int = 0) -> Any:
        raise NotApplicableError("the encoder gives no maps")


def dataset(root: Path, n: int = 300) -> Manifest:
    """Gray images, two of three with a bright or a dark rectangle or both."""
    rng = np.random.default_rng(0)
    ids = [f"{i:03d}" for i in range(n)]
    rows: list[tuple[object, ...]] = []
    for i, name in enumerate(ids):
        image = rng.normal(128, 6, (H, W))
        for label, half in zip(LABELS, (0, 1), strict=True):
            if i % 3 and rng.random() < 0.7:
                w, h = rng.integers(30, 45), rng.integers(30, 55)
                x, y = rng.integers(0, W - w), rng.integers(0, 60 - h) + 60 * half
                image[y : y + h, x : x + w] += 90 if label == "Bright" else -90
                rows.append((name, label, float(x), float(y), float(w), float(h)))
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(root / f"{name}.png")
    boxes = pd.DataFrame(rows, columns=["image_id", "label", "x", "y", "width", "height"])
    images = pd.DataFrame({
        "image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "path": [f"{i}.png" for i in ids], "bytes": 1,
        "split": np.repeat(["train", "val", "test"], [n // 2, n // 4, n - n // 2 - n // 4]),
        **{label: [float((name, label) in set(zip(boxes["image_id"], boxes["label"], strict=True))) for name in ids]
           for label in LABELS},
        "Global": 0.0,
    })  # fmt: skip
    return Manifest("toy", root, images, (*LABELS, "Global"), boxes=boxes)


def run(manifest: Manifest, task: Task = TASK, seed: int = 0, fraction: float = 1.0, noise: bool = False):
    cell = Cell("fake", manifest.name, task.protocol, fraction, seed)
    return task.run(FakeEncoder(noise), without_test_truth(manifest), cell)  # pyright: ignore[reportArgumentType]


def ap50(predictions: Predictions, manifest: Manifest) -> dict[str, float]:
    rows = KINDS["detection"].score(predictions, manifest).test_rows()
    prepared = KINDS["detection"].measures["ap50"].prepare(rows, predictions.labels)
    return {label: float(metric(Weights.of(np.ones((len(rows), 1), int)))[0]) for label, metric in prepared.items()}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def found(toy: Manifest) -> Predictions:
    return run(toy)


def test_easy_boxes_are_found(toy: Manifest, found: Predictions) -> None:
    assert found.labels == LABELS  # nobody boxes Global
    assert found.groups["macro"] == LABELS
    assert min(ap50(found, toy).values()) > 0.85
    assert set(found.rows["split"]) == {"val", "test"}
    corners = np.concatenate([row.reshape(-1, 4) for row in found.rows["boxes"]])
    assert (corners[:, :2] >= 0).all()
    assert (corners[:, 2:] > 0).all()
    ends = corners[:, :2] + corners[:, 2:]
    assert ends[:, 1].max() > SIZE  # native pixels
    assert (ends <= np.array([W, H]) + 1e-3).all()


def test_nothing_is_found_in_noise(toy: Manifest) -> None:
    assert max(ap50(run(toy, noise=True), toy).values()) < 0.2


def test_the_cell_tells_its_anchors_and_a_saved_file_scores_the_same(
    toy: Manifest, found: Predictions, tmp_path: Path
) -> None:
    assert np.array(found.cell["anchors"]).shape == (ANCHORS, 2)
    scored = KINDS["detection"].score(found, toy)
    scored.save(tmp_path / "p.parquet")
    assert ap50(Predictions.load(tmp_path / "p.parquet"), toy) == ap50(found, toy)
    columns = {*scored.rows.columns} - {"image_id", "patient_id", "split"}
    assert columns == {"boxes", "scores", "classes", "matches", "true_boxes", "true_classes",
                       "target:Bright", "target:Dark"}  # fmt: skip


def test_same_seed_same_bits_another_seed_other_ones(toy: Manifest) -> None:
    task = replace(TASK, epochs=1)
    first, again, other = (run(toy, task, seed).rows for seed in (0, 0, 1))
    for name in ("boxes", "scores", "classes"):
        assert all(np.array_equal(a, b) for a, b in zip(first[name], again[name], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first["scores"], other["scores"], strict=True))


def test_test_boxes_change_nothing(toy: Manifest) -> None:
    assert toy.boxes is not None
    test = toy.images.loc[toy.images["split"] == "test", "image_id"]
    without = replace(toy, boxes=toy.boxes[~toy.boxes["image_id"].isin(test)])
    task = replace(TASK, epochs=1)
    pairs = zip(run(toy, task).rows["scores"], run(without, task).rows["scores"], strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_options_have_their_names_and_run(toy: Manifest) -> None:
    finetune = TASK.configured(TaskOptions(finetune=True, augment=2, epochs=1))
    copies = TASK.configured(TaskOptions(augment=2, epochs=3, decoder="unet"))
    assert (TASK.protocol, finetune.protocol, copies.protocol) == (
        "detection", "detection+finetune+epochs1", "detection+augment2+epochs3",
    )  # fmt: skip
    assert run(toy, finetune).kind == "detection"
    assert run(toy, copies, fraction=0.3).cell["train_images"] < 60


def test_boxes_move_with_the_copies(toy: Manifest) -> None:
    truth = BoxTruth.of(toy, LABELS)
    row = next(iter(truth.boxes))
    square = Geometry.of(dense_preprocess(Tiles.preprocess), H, W).boxes_to_square(truth.boxes[row])
    ids = toy.images["image_id"].to_numpy(str)
    yolo = Yolo(Grid(SIZE, np.full((9, 2), 20.0)), 2, TASK.recipe("toy", None))
    targets = BoxTargets({row: square}, truth.classes, ids, yolo, SIZE, our_draw(SEED))
    (moved,) = targets(np.array([row]), 1)
    expected = augmentation(SEED, str(ids[row]), 1).apply_boxes(square, SIZE)
    np.testing.assert_allclose(moved.corners[:, :2], expected[:, :2], atol=1e-4)
    assert not np.allclose(moved.corners[:, :2], square[:, :2])


def test_what_it_cannot_be_asked(toy: Manifest) -> None:
    assert TASK.not_applicable(toy) is None
    assert TASK.not_applicable(replace(toy, boxes=None)) == "it has no boxes"
    assert TASK.not_applicable(replace(toy, images=toy.images[toy.images["split"] != "val"])) == (
        "its val split is empty"
    )
    with pytest.raises(NotApplicableError):
        TASK.run(NoMaps(), toy, Cell("fake", "toy", "detection"))  # pyright: ignore[reportArgumentType]


def test_boxes_in_other_pixels_than_the_images(toy: Manifest) -> None:
    assert toy.boxes is not None
    sides = ["x", "y", "width", "height"]
    with pytest.raises(UserError, match="ends outside of the image, which has 90 x 120 pixels"):
        run(replace(toy, boxes=toy.boxes.assign(**{side: toy.boxes[side] * 2 for side in sides})))


@pytest.mark.parametrize(("split", "message"), [("train", "training"), ("val", "validation")])
def test_a_split_without_boxes(split: str, message: str, toy: Manifest) -> None:
    assert toy.boxes is not None
    bare = toy.images.loc[toy.images["split"] == split, "image_id"]
    with pytest.raises(UserError, match=f"has no box in its {message} split"):
        run(replace(toy, boxes=toy.boxes[~toy.boxes["image_id"].isin(bare)]))
