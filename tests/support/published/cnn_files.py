"""ResNets and DenseNets in published layouts, by torchvision's networks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from cxrbench.encoders.families.published.entry import PublishedEncoder
from support.published.files import EXTRA, Published, scattered, write


def small_resnet(channels: int = 3, *, bottleneck: bool = False) -> Any:
    """torchvision's ResNet of one block a stage."""
    block = torchvision.models.resnet.Bottleneck if bottleneck else torchvision.models.resnet.BasicBlock
    net = torchvision.models.resnet.ResNet(block, [1, 1, 1, 1], num_classes=5)
    net.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    return scattered(net)


def resnet_file(entry: PublishedEncoder, folder: Path) -> Published:
    """GLoRIA, MGCA, BioViL, M-FLAG, torchvision's in torchxrayvision, RadImageNet, PRIOR, MedKLIP."""
    options, channels = entry.options, entry.options.get("channels", 3)
    net = small_resnet(channels, bottleneck=entry.name in ("medklip", "prior", "m-flag"))
    prefix = options.get("prefix", options.get("prefixes", [""])[0])
    children = {str(at): part for at, part in enumerate(net.children())}
    state = {f"{prefix}{name}": value for name, value in net.state_dict().items() if not name.startswith("fc.")}
    if options.get("sequential"):
        last = 7 if options.get("stages") == 3 else 9
        parts = nn.Sequential(*[children[str(at)] for at in range(last)])
        state = {f"{prefix}{name}": value for name, value in parts.state_dict().items()}
    if entry.name == "xrv-resnet50-all":
        state = net.state_dict()
    cut = nn.Sequential(*list(net.children())[: 7 if "mlp" in options else 8])

    def stages(images: Tensor) -> Tensor:
        if options.get("enlarged"):
            images = nn.Upsample(size=(299, 299), mode="bilinear", align_corners=True)(images)
        return cut(images)

    if "mlp" in options:
        first, second = scattered(nn.Linear(1024, 32)), scattered(nn.Linear(32, 16))
        state |= {f"res_l1.{n}": v for n, v in first.state_dict().items()}
        state |= {f"res_l2.{n}": v for n, v in second.state_dict().items()} | {"classifier.weight": torch.zeros(2, 2)}
        content = {"model": {f"module.{name}": value for name, value in state.items()}, **EXTRA}
        return Published(write(folder, content), lambda x: second(F.relu(first(stages(x).flatten(2).mT))).mean(1))
    if "attention_pool" in options:
        return _with_attention_pool(entry, folder, state, stages)
    content = {"state_dict": state, "epoch": 3} if prefix and not options.get("sequential") else state
    return Published(write(folder, content), lambda x: stages(x).mean((2, 3)))


def _with_attention_pool(
    entry: PublishedEncoder, folder: Path, state: dict[str, Tensor], stages: Callable[[Tensor], Tensor]
) -> Published:
    generator = torch.Generator().manual_seed(4)
    pool = {f"{n}_proj.{p}": torch.randn(2048, *([2048] if p == "weight" else []), generator=generator) * 0.01
            for n in "qkvc" for p in ("weight", "bias")}  # fmt: skip
    pool["positional_embedding"] = torch.randn(50, 2048, generator=generator) * 0.1
    state = state | {f"{entry.options['attention_pool']}{name}": value for name, value in pool.items()}
    state["local_image_projection.weight"] = torch.zeros(4, 4)

    def expected(images: Tensor) -> Tensor:
        places = stages(images).flatten(2).permute(2, 0, 1)
        tokens = torch.cat([places.mean(0, keepdim=True), places]) + pool["positional_embedding"][:, None]
        return F.multi_head_attention_forward(
            tokens, tokens, tokens, 2048, 8, None,
            torch.cat([pool["q_proj.bias"], pool["k_proj.bias"], pool["v_proj.bias"]]), None, None, False, 0.0,
            pool["c_proj.weight"], pool["c_proj.bias"], training=False, need_weights=False,
            use_separate_proj_weight=True, q_proj_weight=pool["q_proj.weight"], k_proj_weight=pool["k_proj.weight"],
            v_proj_weight=pool["v_proj.weight"],
        )[0][0]  # fmt: skip

    return Published(write(folder, {"state_dict": state, "epoch": 3}), expected)


def densenet_file(entry: PublishedEncoder, folder: Path) -> Published:
    """torchxrayvision's state dict of a DenseNet, its classifier and thresholds with it."""
    net = torchvision.models.densenet.DenseNet(8, (1, 1, 2, 1), 16, num_classes=18)
    net.features.conv0 = nn.Conv2d(1, 16, 7, stride=2, padding=3, bias=False)
    net = scattered(net)
    path = write(folder, net.state_dict() | {"op_threshs": torch.zeros(18)})
    return Published(path, lambda x: F.relu(net.features(x)).mean((2, 3)))


def biovil_file(entry: PublishedEncoder, folder: Path) -> Published:
    """BioViL-T's image model, with what compares two images."""
    net = small_resnet()
    state = {f"encoder.encoder.{name}": value for name, value in net.state_dict().items()}
    projection = torch.randn(16, 512, 1, 1, generator=torch.Generator().manual_seed(6)) * 0.02
    missing = torch.randn(1, 16, 1, 1, generator=torch.Generator().manual_seed(7))
    state |= {"encoder.backbone_to_vit.weight": projection, "encoder.missing_previous_emb": missing}
    state |= {
        "encoder.vit_pooler.type_embed": torch.zeros(2, 1, 16),
        "projector.model.0.weight": torch.zeros(8, 32, 1, 1),
    }
    cut = nn.Sequential(*list(net.children())[:8])

    def expected(images: Tensor) -> Tensor:
        static = F.conv2d(cut(images), projection)
        fused = torch.cat([static, missing.expand(len(images), -1, *static.shape[2:])], dim=1)
        return F.adaptive_avg_pool2d(fused, 1).flatten(1)

    return Published(write(folder, state, "biovil.pt"), expected)
