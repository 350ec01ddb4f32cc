"""A plain ViT as an encoder: what S-PCL, MAE, PaCX-MAE, RadJEPA and the supervised baseline become in the end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from cxrbench.encoder import NOTHING, Attentions, EncoderCard, EncoderRequest, Features, Preprocess
from cxrbench.encoders.backbones.attentions import recorded
from cxrbench.encoders.backbones.checkpoint import TrainedBackbone
from cxrbench.encoders.backbones.vit import ViT, ViTConfig, parse_arch
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import leave_out, load_strict

PHANTOM_ARCH = "nano"
WEIGHTS = Path(__file__).parents[1] / "weights"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Pooling = Literal["mean", "cls", "mean+sd"]
POOLINGS: tuple[str, ...] = get_args(Pooling)


def pool(tokens: Tensor, patches: int, pooling: Pooling) -> Tensor:
    """Tokens [B, 1 + patches, D], CLS first if there is one, to one embedding per image.

    ``cls``: the CLS token; ``mean``: the patch tokens' mean, both [B, D]; ``mean+sd``: their mean and, behind it, each
    feature's standard deviation (population) over them, [B, 2 D]: what differs from place to place has no mean.
    """
    if pooling == "cls":
        return tokens[:, 0]
    of_patches = tokens[:, -patches:]
    mean = of_patches.mean(dim=1)
    return torch.cat([mean, of_patches.std(dim=1, correction=0)], dim=1) if pooling == "mean+sd" else mean


class ViTEncoder(nn.Module):
    """A trained backbone, read at the normalised tokens of its last block as ``pooling`` says (``pool``)."""

    thread_safe = True

    def __init__(self, backbone: ViT, preprocess: Preprocess, card: EncoderCard, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.backbone, self.preprocess, self.card = backbone, preprocess, card
        self.pooling: Pooling = pooling

    def forward(self, images: Tensor) -> Features:
        """Images [B, channels, size, size] to pooled [B, D or 2 D] and the maps of four evenly spaced blocks."""
        tokens, maps = self.backbone(images)
        return Features(pool(tokens, self.backbone.config.tokens, self.pooling), maps)

    def attentions(self, images: Tensor) -> Attentions:
        """Of all blocks, read where ``pooled`` is; a deviation is taken over the patches that the mean is of."""
        return vit_attentions(self.backbone, self.pooling, lambda: self.backbone(images))


def vit_attentions(backbone: ViT, pooling: Pooling, run: Callable[[], object]) -> Attentions:
    """What the blocks of a backbone attend to while ``run`` calls it."""
    side = backbone.config.side
    return recorded(backbone, run, (side, side), "cls" if pooling == "cls" else "mean")


def gray_preprocess(config: ViTConfig) -> Preprocess:
    """What a backbone without a record is fed: grayscale whole images; ImageNet's numbers for three channels."""
    if config.channels == 3:
        return Preprocess(config.size, "crop", IMAGENET_MEAN, IMAGENET_STD, 3, "bicubic")
    return Preprocess(config.size, "squash", (0.5,), (0.25,), channels=1)


def untrained_vit(config: ViTConfig, seed: int, pooling: Pooling = "mean") -> ViTEncoder:
    """The same backbone with random weights, from ``seed`` alone: what ``random`` on the leaderboard is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = ViT(config)
    return ViTEncoder(
        backbone, gray_preprocess(config), EncoderCard("none (random weights)", "Apache-2.0", NOTHING), pooling
    )


def untrained_by_name(
    pooling: Pooling, *, patch: int | None = None, class_token: bool = True
) -> Callable[[str, int], ViTEncoder]:
    """``untrained_vit`` of a method, from an architecture's name ("": that of the phantom's weights) and a seed."""

    def make(arch: str, seed: int) -> ViTEncoder:
        config = parse_arch(arch or PHANTOM_ARCH, channels=1, patch=patch, class_token=class_token)
        return untrained_vit(config, seed, pooling)

    return make


def parse_pooling(request: EncoderRequest, default: Pooling) -> Pooling:
    """What follows the colon of a spec: ``mean``, ``cls`` or ``mean+sd``. Raises UserError."""
    if request.variant not in (None, *POOLINGS):
        raise UserError(
            f"{request.name}:{request.variant}: the part after the colon is the pooling: {', '.join(POOLINGS[:-1])} or "
            f"{POOLINGS[-1]} ({default} is the default)"
        )
    return cast(Pooling, request.variant or default)


def encoder_of(found: TrainedBackbone, path: Path, pooling: Pooling, left_out: Sequence[str] = ()) -> ViTEncoder:
    """The backbone with these weights, all of which must fit. Raises UserError.

    ``left_out``: prefixes of weights in others' files that an encoder does not use (decoders).
    """
    backbone = ViT(found.config)
    load_strict(backbone, leave_out(found.state, left_out, path), path)
    return ViTEncoder(backbone, found.preprocess or gray_preprocess(found.config), found.card, pooling)


def how_to_pretrain(method: str, data: str = "DIR") -> str:
    """What to do where a method has no weights for real images."""
    return (
        f"pretrain with `cxrbench pretrain {method} --data {data} --arch small --epochs 200 --out runs/{method}` and "
        f"name the result, {method}@runs/{method}/encoder.safetensors"
    )


def phantom_weights(method: str) -> str | None:
    """The path of the weights that are shipped for phantom data, if there are any."""
    path = WEIGHTS / f"{method}_phantom.safetensors"
    return str(path) if path.exists() else None
