"""FaNe's image side: a ResNet with CLIP's attention pool, or a ViT; one vector of the image, many of its places."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from cxrbench.encoder import Preprocess
from cxrbench.encoders.backbones.encoder import IMAGENET_MEAN, IMAGENET_STD, gray_preprocess
from cxrbench.encoders.backbones.vit import ViT, ViTConfig, parse_arch
from cxrbench.encoders.fane.attention import AttentionPool
from cxrbench.encoders.pretraining.augment import FLIPS, MOVED
from cxrbench.encoders.pretraining.initial import SourceWeights
from cxrbench.encoders.pretraining.method import Draw
from cxrbench.errors import UserError

ODD_MEAN, ODD_STD = (0.4755, 0.4755, 0.406), (0.229, 0.224, 0.225)  # paper and code
DEGREES = 5.0
CITED = "FaNe:codes/fane/encoders/image/"
# By width, depth, patch and size.
DEIT = {
    (192, 12, 16, 224): "deit_tiny_patch16_224",
    (384, 12, 16, 224): "deit_small_patch16_224",
    (768, 12, 16, 224): "deit_base_patch16_224",
}


@dataclass(frozen=True)
class ResNetConfig:
    """``blocks`` of the four stages; ``size``: pixels of an image, which is enlarged by 299 / 224 in the network."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    bottleneck: bool = True
    size: int = 224

    @property
    def enlarged(self) -> int:
        """Pixels that the first convolution sees: 299 of 224."""
        return round(self.size * 299 / 224)

    @property
    def width(self) -> int:
        """Channels of the last stage."""
        return 2048 if self.bottleneck else 512

    @property
    def side(self) -> int:
        """Places along a side of the last stage: 10 of 299 pixels, halved five times, rounded up."""
        return -(-self.enlarged // 32)


RESNETS = {"resnet50": ResNetConfig(), "resnet18": ResNetConfig((2, 2, 2, 2), bottleneck=False)}
ImageConfig = ViTConfig | ResNetConfig


def parse_image_arch(text: str, channels: int) -> ImageConfig:
    """``resnet50[-SIZE]``, ``resnet18[-SIZE]``, or a ViT as in ``parse_arch``, of ``channels``. Raises UserError."""
    match = re.fullmatch(r"(resnet\d+)(?:-(\d+))?", text)
    if match is None:
        return parse_arch(text, channels=channels)
    if match[1] not in RESNETS or (match[2] and int(match[2]) < 32):
        raise UserError(f"unknown architecture {text!r}: the ResNets are {', '.join(RESNETS)}, of at least 32 pixels")
    named = RESNETS[match[1]]
    return replace(named, size=int(match[2])) if match[2] else named


def as_plain(config: ImageConfig) -> dict[str, Any]:
    """The configuration as JSON values."""
    return {"kind": "resnet" if isinstance(config, ResNetConfig) else "vit"} | asdict(config)


def from_plain(values: Mapping[str, Any]) -> ImageConfig:
    """What ``as_plain`` wrote."""
    rest = {name: value for name, value in values.items() if name != "kind"}
    if values["kind"] == "vit":
        return ViTConfig(**rest)
    return ResNetConfig(tuple(rest["blocks"]), rest["bottleneck"], rest["size"])


def image_preprocess(config: ImageConfig, odd: bool = False) -> Preprocess:
    """Whole images: gray ones for a ViT of one channel, three equal channels else.

    ``odd``: the paper's means, of which the first two are .4755, as neither ImageNet's nor anybody else's are.
    """
    if isinstance(config, ViTConfig) and config.channels == 1:
        return gray_preprocess(config)
    mean, std = (ODD_MEAN, ODD_STD) if odd else (IMAGENET_MEAN, IMAGENET_STD)
    return Preprocess(config.size, "squash", mean, std, 3, "bicubic")


class ImageVectors(NamedTuple):
    """``pooled``: [B, D]; ``places``: [B, I, D_l], raster order; ``maps``: 4 x [B, C, H, W]."""

    pooled: Tensor
    places: Tensor
    maps: tuple[Tensor, ...]


class ViTImage(nn.Module):
    """A ViT: the CLS token, and its patches, both after the last norm."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.model = ViT(config)
        self.width = self.local_width = config.width

    def forward(self, images: Tensor) -> ImageVectors:
        """Images [B, channels, size, size]."""
        tokens, maps = self.model(images)
        return ImageVectors(tokens[:, 0], tokens[:, 1:], maps)


class ResNetImage(nn.Module):
    """torchvision's ResNet on enlarged images: attention pool of layer4, and the places of layer3 (19 x 19 of 224).

    Images are enlarged from 224 to 299 pixels in the network, bilinearly with corners aligned, as in MGCA, GLoRIA's
    descendant. The maps are the four stages of that same pass.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.enlarged, self.width, self.local_width = config.enlarged, config.width, config.width // 2
        self.model = ResNet(Bottleneck if config.bottleneck else BasicBlock, list(config.blocks))
        self.model.fc = nn.Identity()  # type: ignore[assignment]
        self.pool = AttentionPool(config.width, positions=config.side**2)

    def forward(self, images: Tensor) -> ImageVectors:
        """Images [B, 3, size, size]."""
        net = self.model
        x = F.interpolate(images, size=(self.enlarged, self.enlarged), mode="bilinear", align_corners=True)
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        maps = []
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = stage(x)
            maps.append(x)
        places, last = (m.flatten(2).transpose(1, 2) for m in maps[2:])
        return ImageVectors(self.pool(last), places, tuple(maps))


ImageTower = ViTImage | ResNetImage


def build_image_tower(config: ImageConfig) -> ImageTower:
    """The untrained tower."""
    return ViTImage(config) if isinstance(config, ViTConfig) else ResNetImage(config)


def source_weights(config: ImageConfig) -> SourceWeights:
    """What paper and code begin from: ImageNet weights of torchvision's ResNet-50, or of DeiT."""
    if isinstance(config, ResNetConfig):
        fifty = config.bottleneck and config.blocks == RESNETS["resnet50"].blocks
        return SourceWeights(CITED, "torchvision's ImageNet weights", "timm:resnet50.tv_in1k" if fifty else "")
    published = DEIT.get((config.width, config.depth, config.patch, config.size), "")
    return SourceWeights(CITED, "DeiT's ImageNet weights", published and f"timm:{published}.fb_in1k")


def infer_image_config(state: Mapping[str, Tensor], path: object) -> ResNetConfig:
    """The ResNet whose ``model.*`` and ``pool.*`` these are. Raises UserError if they are of none.

    Only its side is told from the pool's positions (10 x 10 and one of 299 pixels); a size that is not 224 is
    one that has it.
    """
    counts = [len({n.split(".")[2] for n in state if n.startswith(f"model.layer{k}.")}) for k in (1, 2, 3, 4)]
    if not all(counts) or "pool.positional_embedding" not in state:
        raise UserError(f"{path} holds no ResNet with its attention pool (model.layer1., pool.positional_embedding)")
    side = round((len(state["pool.positional_embedding"]) - 1) ** 0.5)
    config = ResNetConfig(tuple(counts), "model.layer1.0.conv3.weight" in state)
    sizes = (config.size, round(32 * side * 224 / 299), *range(32, 4096))
    return next(sized for size in sizes if (sized := replace(config, size=size)).side == side)


def rotate_and_flip(images: Tensor, draw: Draw, black: Tensor) -> Tensor:
    """RandomAffine(5°) and horizontal flip with probability ½ (breaks laterality), as in the code; the paper has none.

    images: [B, C, S, S]; ``black``: [C, 1, 1], what fills the corners. Bilinear.
    """
    u = draw.rand(len(images), 2).to(images.device)
    angle = torch.deg2rad((2 * u[:, 0] - 1) * DEGREES)
    sign = torch.where(u[:, 1] < FLIPS, -1.0, 1.0)
    zero, cos, sin = torch.zeros_like(angle), angle.cos(), angle.sin()
    matrix = torch.stack([torch.stack([sign * cos, -sin, zero], 1), torch.stack([sign * sin, cos, zero], 1)], 1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False).to(images.dtype)
    return F.grid_sample(images - black, grid, mode=MOVED, align_corners=False) + black
