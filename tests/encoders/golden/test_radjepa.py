"""RadJEPA ``official`` gives what I-JEPA's code gives for the same weights, images and draws.

Numbers: facebookresearch/ijepa at 52c1ae95d05f743e000e8f10a1f3a79b10cff048: src/masks/multiblock.py (``MaskCollator``,
8 x 8 patches, the scales and aspects of its configurations, min_keep 2), src/models/vision_transformer.py (32 px,
patches of 4, 96 wide, 4 blocks, 3 heads; predictor 96 wide, 2 blocks; eps 1e-6) and the step of src/train.py, with
torch 2.14 in float32. RadJEPA's own training code is not public.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from cxrbench.encoders.backbones.masking import take
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.pretraining.method import Batch
from cxrbench.encoders.radjepa.objective import OPTIONS, RadJEPA
from support.golden import FormulaDraw, agree, digest, fill, formula, gradient_norm, inputs

pytestmark = pytest.mark.usefixtures("one_thread")

ARCH = ViTConfig(width=96, depth=4, heads=3, patch=4, size=32, channels=3, class_token=False)
IMAGES = 5
CONTEXT = [
    [6, 24, 25, 32, 33, 34, 35, 36, 37, 38, 40, 41, 42, 43, 44, 45, 46, 48],
    [0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 19, 20, 21, 22, 27, 32, 33],
    [3, 4, 5, 6, 11, 12, 13, 14, 19, 20, 21, 22, 24, 25, 26, 27, 53, 54],
    [0, 4, 5, 6, 8, 12, 13, 14, 22, 30, 38, 40, 41, 42, 43, 44, 45, 46],
    [0, 4, 5, 6, 8, 12, 13, 14, 16, 20, 21, 22, 24, 32, 40, 41, 42, 43],
]
CORNERS = [[3, 10, 12, 0], [8, 28, 34, 28], [0, 28, 34, 32], [18, 1, 16, 19], [9, 1, 17, 28]]  # of blocks of 3 x 3
IJEPA = {
    "loss": 0.64370662,
    "gradient": 1.28189289,
    "target": (178.554876, -67.5548421, -0.165436238),
    "context": (94.4056708, 73.2367315, 0.919708312),
    "predicted": (121.222603, -96.5900702, -0.871383131),
    "followed": (178.553573, -67.3380824, -0.163307115),
    "patches": (0.0607421116, -0.0304460173, -2.73047735e-05),
}


def script_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares and places of the blocks come from the formula: the very numbers that I-JEPA's collator was given.

    It asks image by image for top and left of four targets and of the context; here all images are asked at once.
    """
    shares, places = formula("shares", 2), formula("places", IMAGES, 10)
    columns = iter([places[:, 0:8:2], places[:, 1:8:2], places[:, 8], places[:, 9]])

    def rand(*shape: Any, **_: Any) -> Tensor:
        return torch.stack([shares[0], torch.tensor(torch.nan), shares[1]]) if shape == (3,) else torch.zeros(*shape)

    def randint(high: int, shape: tuple[int, ...], **_: Any) -> Tensor:
        numbers = next(columns)
        assert numbers.shape == shape  # a block that is placed again would ask for fewer, or for more
        return (numbers.double() * high).long()

    monkeypatch.setattr(torch, "rand", rand)
    monkeypatch.setattr(torch, "randint", randint)


@pytest.fixture
def method() -> RadJEPA:
    jepa = RadJEPA(ARCH, OPTIONS.read({"variant": "official", "augment": "false"}))
    fill(jepa)
    return jepa


def test_official_masks_are_those_of_ijepas_collator(method: RadJEPA, monkeypatch: pytest.MonkeyPatch) -> None:
    script_masks(monkeypatch)
    masks = method.masks(IMAGES, FormulaDraw(), torch.device("cpu"))
    block = (8 * torch.arange(3)[:, None] + torch.arange(3)).flatten()
    assert masks.context.tolist() == CONTEXT
    assert torch.equal(masks.targets, torch.tensor(CORNERS)[:, :, None] + block)


def test_official_loss_and_step_are_ijepas(method: RadJEPA, monkeypatch: pytest.MonkeyPatch) -> None:
    images = inputs("images", IMAGES, 3, 32, 32)
    script_masks(monkeypatch)
    masks = method.masks(IMAGES, FormulaDraw(), torch.device("cpu"))
    monkeypatch.setattr(method, "masks", lambda *_: masks)
    loss = method(Batch(images), FormulaDraw()).value
    loss.backward()
    context = method.backbone.encode(take(method.backbone.embed(images), masks.context))
    seen = {
        "loss": loss.item(),
        "gradient": gradient_norm(method.backbone, method.predictor),
        "target": digest(method.target(images)[0]),
        "context": digest(context),
        "predicted": digest(method.predictor(context, masks.context, masks.targets)),
        "patches": digest(method.backbone.patch_embed.proj.weight.grad),  # type: ignore[arg-type]
    }
    assert all(parameter.grad is None for parameter in method.target.parameters())
    method.after_step(0.0)
    agree(seen | {"followed": digest(method.target(images)[0])}, IJEPA)
