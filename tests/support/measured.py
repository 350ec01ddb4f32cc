"""Numbers of a method's code, measured from what training builds, beside those that a dry run prints."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.pretraining.augment import crop_resize
from cxrbench.encoders.pretraining.engine.recipe_lines import read_constants
from cxrbench.encoders.pretraining.method import Batch, Draw, Method, Objective
from cxrbench.plugins.entry_points import METHODS, load_plugin

WIDE = "192x4p16s64"
ARCH = ViTConfig(192, 4, 3, size=64, channels=1)
IMAGES = 3000


def method(name: str) -> Method:
    return load_plugin(METHODS, name, "method")


def told(name: str, arch: str = WIDE, variant: str = "fixed", **options: Any) -> dict[str, Any]:
    """The constants that a dry run prints."""
    return read_constants(method(name), method(name).configure(arch, {"variant": variant, **options}))


def draw(seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed))


def deviation(of: Tensor) -> Any:
    return pytest.approx(float(of.detach().std()), rel=0.15)


def ends(of: Tensor) -> Any:
    """The least and the largest of many uniform numbers."""
    return pytest.approx((float(of.min()), float(of.max())), rel=0.02, abs=0.01)


def share(of: Tensor) -> Any:
    return pytest.approx(float(of.float().mean()), abs=0.04)


def start_of(weights: Tensor, inputs: int) -> str:
    """In words how numbers were drawn that ``inputs`` numbers go into: by the largest of them."""
    largest, bound = float(weights.detach().abs().max()), inputs**-0.5
    outputs = len(weights)
    if largest == pytest.approx(bound, rel=0.01):
        return "U(±n^-½) of n inputs"
    if largest == pytest.approx((6 / (inputs + outputs)) ** 0.5, rel=0.01):
        return "Xavier-uniform"
    if float(weights.detach().std()) == pytest.approx(bound, rel=0.1) and largest > 2.5 * bound:
        return "N(0, 1/n) of n inputs"
    return f"{largest} of {inputs} inputs"


def of_vit(network: Any, *, sincos: bool = True, start: bool = True) -> dict[str, Any]:
    """Of the ViT ``network``, and of all blocks of which it is a part; ``start``: it began at random."""
    blocks: list[Any] = [part for part in network.modules() if isinstance(part, Block)]
    wide = {each.mlp.fc1.out_features / each.mlp.fc1.in_features for each in blocks}
    drops = {part.p for each in blocks for part in each.modules() if isinstance(part, nn.Dropout)}
    paths = {type(each.drop_path1) for each in blocks} | {type(each.drop_path2) for each in blocks}
    norms = {norm.eps for each in blocks for norm in (each.norm1, each.norm2)}
    assert [len(found) for found in (wide, drops, paths, norms)] == [1, 1, 1, 1]
    assert paths == {nn.Identity}
    found: dict[str, Any] = {"mlp_ratio": wide.pop(), "drop_rates": drops.pop(), "block_norm_eps": norms.pop()}
    vit = network if hasattr(network, "patch_embed") else network.backbone
    if sincos:
        first = int(vit.cls_token is not None)  # sin(x ω) of the second frequency, at x = 1 of the first row
        sine = float(vit.pos_embed[0, first + 1, 1])
        found["position_base"] = pytest.approx(math.asin(sine) ** (-vit.config.width / 4), rel=1e-3)
    if start:
        qkv = vit.blocks[0].attn.qkv.weight
        found |= {"matrix_start": start_of(qkv, qkv.shape[1])}
    return found


def of_crops(
    monkeypatch: pytest.MonkeyPatch,
    objective: Objective,
    where: str = "cxrbench.encoders.pretraining.augment",
    more: Callable[[int], Mapping[str, Tensor]] = lambda n: {},
) -> dict[str, Any]:
    """The boxes that ``augmented`` cuts out of many images, those of them that it did not have to shorten."""
    boxes: list[tuple[Tensor, ...]] = []

    def recorded(images: Tensor, *box: Tensor, flip: Tensor, size: int) -> Tensor:
        boxes.append((*box, flip))
        return images[..., :size, :size]

    size = objective.preprocess.size
    with monkeypatch.context() as patch:
        patch.setattr(f"{where}.crop_resize", recorded)
        shape = (IMAGES, 1, 1, size, size) if more(0) else (IMAGES, objective.preprocess.channels, size, size)
        objective.augmented(Batch(torch.zeros(shape), more(IMAGES)), draw())
    (_, _, width, height, flip) = boxes[0]
    inside = (width < 1) & (height < 1)
    found = {
        "crop_area": ends((width * height)[inside]),
        "crop_ratio": ends((width / height)[inside]),
        "crop_filter": crop_filter(),
    }
    return found | ({"flip_chance": share(flip)} if flip.any() else {})


def crop_filter() -> str:
    """Which of torchvision's filters crops are resized by."""
    image, box = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)), (4, 8, 16, 16)
    left, top, width, height = (torch.tensor([side / 32]) for side in box)
    ours = crop_resize(image, left, top, width, height, flip=torch.tensor([False]), size=12)
    same = [
        name
        for name in ("bilinear", "bicubic")
        if torch.allclose(
            ours, tv.resized_crop(image, 8, 4, 16, 16, [12, 12], InterpolationMode(name), antialias=True), atol=1e-4
        )
    ]
    return " and ".join(same)


def of_affine(monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]) -> str:
    """By which filter ``run`` samples what it turns."""
    modes: list[str] = []
    sample = torch.nn.functional.grid_sample

    def recorded(images: Tensor, grid: Tensor, *, mode: str, **more: Any) -> Tensor:
        modes.append(mode)
        return sample(images, grid, mode=mode, **more)

    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.functional.grid_sample", recorded)
        run()
    return " and ".join(modes)
