"""The two baselines that know nothing, ``pixels`` and ``random``. What does not beat them has learned nothing."""

from typing import cast

import torch
from torch import Tensor, nn

from cxrbench.encoder import NOTHING, Encoder, EncoderCard, EncoderPlugin, EncoderRequest, Features, Preprocess
from cxrbench.encoders.backbones.encoder import PHANTOM_ARCH, POOLINGS, Pooling, ViTEncoder
from cxrbench.encoders.backbones.vit import ARCHITECTURES
from cxrbench.errors import UserError
from cxrbench.plugins.entry_points import METHODS, found, load_plugin

GRID = 16
USAGE = "random[:METHOD][:ARCH][:mean|cls|mean+sd][@SEED]"


class Pixels(nn.Module):
    """16 x 16 mean intensities. On confounded data they beat real encoders: a warning for every leaderboard."""

    preprocess = Preprocess(size=8 * GRID, resize="squash", mean=(0.0,), std=(1.0,), channels=1)
    card = EncoderCard(method="16 x 16 mean intensities", licence="Apache-2.0", pretrained_on=NOTHING)
    thread_safe = True

    def forward(self, images: Tensor) -> Features:
        """Images [B, 1, 128, 128] in [0, 1] to pooled [B, 256], row by row; no maps."""
        return Features(torch.nn.functional.adaptive_avg_pool2d(images, GRID).flatten(1))


def load_pixels(request: EncoderRequest) -> Pixels:
    """``pixels``: no variants, no weights."""
    if request.variant is not None or request.weights is not None:
        raise UserError("pixels has no variants and no weights: write pixels")
    return Pixels()


def load_random(request: EncoderRequest) -> Encoder:
    """As ``USAGE``: what METHOD trains (default spcl), untrained, its weights drawn from SEED."""
    seed, words = request.weights or "0", (request.variant or "").split(":")
    if not seed.isdecimal() or len(seed) > 18:
        raise UserError(f"random@{seed[:20]}: what follows the @ is the seed, up to 18 digits, e.g. random@1")
    method = words.pop(0) if words[0] in found(METHODS) else "spcl"
    pooling = words.pop() if words and words[-1] in POOLINGS else None
    if len(words) > 1:
        raise UserError(f"random:{request.variant}: the grammar is {USAGE}")
    encoder = load_plugin(METHODS, method, "method").untrained(words[0] if words else "", int(seed))
    if pooling is not None:
        if not isinstance(encoder, ViTEncoder):
            raise UserError(f"random:{request.variant}: {method}'s encoder has one way of reading; leave out {pooling}")
        if pooling == "cls" and not encoder.backbone.config.class_token:
            raise UserError(f"random:{request.variant}: {method}'s encoder has no CLS token; leave out cls")
        encoder.pooling = cast(Pooling, pooling)
    return encoder


PIXELS = EncoderPlugin(
    load_pixels,
    "16 x 16 mean intensities: a warning, not an encoder",
    "pixels",
    complete=("pixels",),
    reads=lambda request: (),
)
RANDOM = EncoderPlugin(
    load_random,
    f"a method's encoder without training; ARCH: {', '.join(ARCHITECTURES)} (default {PHANTOM_ARCH})",
    USAGE,
    complete=("random", "random:mvmae", "random:radjepa", "random:fane"),
    reads=lambda request: (),  # what follows the @ is a seed
)
