"""Papers' recipes of segmentation and detection, each for one epoch on toys; how images, masks and boxes are moved."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess
from cxrbench.engine.truth import without_test_truth
from cxrbench.errors import UserError
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, TaskOptions
from cxrbench.tasks.dense.detection import TASK as DETECTION
from cxrbench.tasks.dense.moves import paper_draw
from cxrbench.tasks.dense.segmentation import TASK as SEGMENTATION
from support.dense_toy import SIZE, FakeEncoder, Tiles, dataset

WIDE = {"spcl": "unet-wide", "fane": "unet-wide", "pacx": "transposed", "radjepa": "upernet-wide"}


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads of published width are wide for toys: their structure alone is kept (widths are tested elsewhere)."""
    monkeypatch.setattr("cxrbench.tasks.dense.decoders.wide.UPERNET", 32)
    monkeypatch.setattr("cxrbench.tasks.dense.decoders.wide.UNET", (16, 16, 8, 8, 8))
    monkeypatch.setattr("cxrbench.tasks.dense.detectors.yolov3.WIDTHS", (8, 16, 32))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    def boxes(ids: list[str], masks: np.ndarray) -> dict[str, Any]:
        found = [
            (name, "Finding", *np.argwhere(m).min(0)[::-1], 14.0, 18.0)
            for name, m in zip(ids, masks, strict=True)
            if m.any()
        ]
        return {"boxes": pd.DataFrame(found, columns=["image_id", "label", "x", "y", "width", "height"])}

    return dataset(tmp_path_factory.mktemp("toy"), 24, table=boxes)


def run(manifest: Manifest, task: Any, module: Any = None) -> Predictions:
    cell = Cell("fake", manifest.name, task.protocol)
    return task.run(FakeEncoder(module), without_test_truth(manifest), cell)


@pytest.mark.parametrize("name", list(WIDE))
def test_every_papers_segmentation_runs_with_its_decoder(toy: Manifest, name: str) -> None:
    task = SEGMENTATION.configured(TaskOptions(preset=name, epochs=1))
    vit = Tiles((16,) * 4).eval()  # a plain ViT of patches of 16 pixels
    found = run(toy, task, vit)
    assert found.cell["protocol"] == f"segmentation+preset-{name}+epochs1"
    assert found.cell["head"]["name"] == WIDE[name]
    assert found.cell["head"]["parameters"] > 1_000
    assert found.cell["head"]["features"] == [2] * (1 if name == "pacx" else 4)
    assert found.cell["chosen"]["epoch"] == 1
    assert {"val_loss", "val_dice"} <= set(found.cell["chosen"])
    assert bool(found.notes) == (name == "spcl")
    assert len(found.test_rows()) == 6


@pytest.mark.parametrize("name", ["spcl", "fane", "fane:paper"])
def test_every_papers_detection_runs_with_yolov3s_rescaled_anchors(toy: Manifest, name: str) -> None:
    task = DETECTION.configured(TaskOptions(preset=name, epochs=1))
    found = run(toy, task)
    assert found.cell["head"]["name"] == "yolov3"
    np.testing.assert_allclose(found.cell["anchors"][0], [10 * SIZE / 416, 13 * SIZE / 416])
    assert ("val_map" in found.cell["chosen"]) == (name != "fane:paper")
    assert all((np.asarray(scores) >= 0.5).all() for scores in found.rows["scores"])


def test_a_paper_may_be_asked_with_another_head_or_with_the_encoder_trained(toy: Manifest) -> None:
    linear = SEGMENTATION.configured(TaskOptions(preset="radjepa", decoder="linear", epochs=1))
    assert run(toy, linear).cell["head"] == {"name": "linear", "parameters": 3, "features": [2]}
    whole = SEGMENTATION.configured(TaskOptions(preset="radjepa", decoder="unet", finetune=True, epochs=1))
    assert run(toy, whole).cell["head"]["features"] == [2] * 4
    fcos = DETECTION.configured(TaskOptions(preset="fane", detector="fcos", epochs=1))
    assert run(toy, fcos).cell["head"]["name"] == "fcos"


def test_an_epoch_of_a_paper_is_every_image_moved_anew_and_validation_stays(toy: Manifest) -> None:
    seen: list[tuple[int, float]] = []

    class Watched(Tiles):
        def forward(self, images: torch.Tensor) -> Any:
            if len(images):
                seen.append((len(images), float(images.sum())))
            return super().forward(images)

    encoder = FakeEncoder(Watched().eval())
    task: Any = SEGMENTATION.configured(TaskOptions(preset="pacx", epochs=2))
    task.run(encoder, without_test_truth(toy), Cell("fake", "toy", task.protocol))
    assert [n for n, _ in seen] == [24, 12, 12]  # all images once, for validation and test; then 12 to train, twice
    assert seen[1][1] != seen[2][1]


PATTERN = Preprocess(size=64, resize="pad", mean=(0.4,), std=(0.2,), channels=3)


def square() -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """A white box on black, normalised, its mask and its box."""
    mask = torch.zeros(1, 64, 64)
    mask[:, 12:30, 20:44] = 1
    image = ((mask - 0.4) / 0.2).expand(3, -1, -1)
    return image, mask, np.array([[20.0, 12.0, 24.0, 18.0]])


@pytest.mark.parametrize(
    "steps",
    [
        [{"flip": 1.0}],
        [{"affine": 15.0, "shift": 0.1, "scale": 0.2, "p": 1.0}],
        [{"flip": 0.5}, {"affine": 10.0}],
        [{"elastic": 0.05, "smoothness": 0.1}],
        [{"flip": 1.0}, {"elastic": 0.05}, {"affine": 5.0}],
    ],
    ids=str,
)
def test_image_and_mask_are_moved_by_one_draw(steps: list[dict[str, float]]) -> None:
    image, mask, boxes = square()
    for copy in (1, 2, 3):
        move = paper_draw(steps, 5)("a", copy)
        moved, covered = move.apply_image(image, PATTERN), move.apply_mask(mask)
        torch.testing.assert_close(moved[0] * 0.2 + 0.4, covered[0], atol=1e-5, rtol=0)
        assert torch.equal(moved[0], moved[2])
        if "elastic" not in str(steps):
            (x, y, w, h), inside = move.apply_boxes(boxes, 64)[0], covered[0] > 0.5
            rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            centre = (columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2
            np.testing.assert_allclose((x + w / 2, y + h / 2), centre, atol=1.01)


def test_gray_values_change_without_their_masks_and_every_draw_is_its_own() -> None:
    image, mask, boxes = square()
    steps = [{"jitter": [0.2, 0.2]}, {"gamma": [0.8, 1.25]}, {"noise": 0.05}]
    draw = paper_draw(steps, 5)
    one, again, other = draw("a", 1), draw("a", 1), draw("b", 1)
    torch.testing.assert_close(one.apply_image(image, PATTERN), again.apply_image(image, PATTERN))
    assert not torch.equal(one.apply_image(image, PATTERN), other.apply_image(image, PATTERN))
    assert torch.equal(one.apply_mask(mask), mask)
    assert np.array_equal(one.apply_boxes(boxes, 64), boxes)
    assert torch.equal(draw("a", 0).apply_image(image, PATTERN), image)


def test_the_elastic_field_is_as_strong_as_it_says() -> None:
    ramp = torch.arange(64.0).expand(1, 64, 64) / 100
    moved = paper_draw([{"elastic": 0.05, "smoothness": 0.15}], 0)("a", 1).apply_image(ramp)
    shift = (moved - ramp)[0, 8:-8, 8:-8].abs().max() * 100
    assert 0.3 * 0.05 * 64 < shift <= 0.05 * 64 + 0.1


@pytest.mark.parametrize("step", [{"random_resized_crop": [0.5, 1.0]}, {"elastic": 0.1, "alpha": 3}, {"mild": True}])
def test_a_step_that_would_leave_masks_behind_is_refused(step: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"augmentation .*known"):
        paper_draw([step], 0)
