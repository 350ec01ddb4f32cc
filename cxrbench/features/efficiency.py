"""What an encoder costs: parameters, operations per image, feature width."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cxrbench.encoder import Encoder, Preprocess
from cxrbench.plugins.identity import count_parameters
from cxrbench.plugins.loading import fixed_batch


@dataclass(frozen=True)
class Efficiency:
    """``parameters`` of the image encoder; ``gflops_per_image``: see ``measure``; ``width``: D of pooled [B, D]."""

    parameters: int
    gflops_per_image: float
    width: int


def measure(module: Encoder, preprocess: Preprocess, *, device: str = "cpu", precision: str = "fp32") -> Efficiency:
    """Count an encoder's operations on the two fixed images, in one call.

    A multiply-add is two operations, as PyTorch counts and as ``cxrbench pretrain`` prints. Many papers call 10⁹
    multiply-adds (GMAC) a GFLOP: S-PCL's 6.1 and DeiT's 17.6 for ViT-B/16 at 224 px are half of what stands here.
    Matrix products, attention and convolutions count; norms, activations and the softmax do not. Attention runs as
    plain matrix products while it is counted, because fused kernels on the CPU go uncounted. ``precision``: ``fp32``,
    or ``bf16`` autocast, which gives the same count.
    """
    images = fixed_batch(preprocess, device)
    counter = FlopCounterMode(display=False)
    autocast = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode(), autocast, sdpa_kernel(SDPBackend.MATH), counter:
        features = module(images)
    network: Any = module
    return Efficiency(
        parameters=count_parameters(network),
        gflops_per_image=counter.get_total_flops() / len(images) / 1e9,
        width=features.pooled.shape[1],
    )
