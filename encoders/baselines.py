"""The two baselines that know nothing, ``pixels`` and ``random``. What does not beat them has learned nothing."""

import torch
from torch import Tensor, nn

from cxrbench.encoder import EncoderCard, EncoderPlugin, EncoderRequest, Features, Preprocess
from cxrbench.encoders.spcl import PHANTOM_ARCH, SPCLEncoder, untrained
from cxrbench.encoders.vit import ARCHITECTURES
from cxrbench.errors import UserError

GRID = 16


class Pixels(nn.Module):
    """16 x 16 mean intensities. On confounded data they beat real encoders: a warning for every leaderboard."""

    preprocess = Preprocess(size=8 * GRID, resize="squash", mean=(0.0,), std=(1.0,), channels=1)
    card = EncoderCard(method="16 x 16 mean intensities", licence="Apache-2.0")

    def forward(self, images: Tensor) -> Features:
        """Images [B, 1, 128, 128] in [0, 1] to pooled [B, 256], row by row; no maps."""
        return Features(torch.nn.functional.adaptive_avg_pool2d(images, GRID).flatten(1))


def load_pixels(request: EncoderRequest) -> Pixels:
    """``pixels``: no variants, no weights."""
    if request.variant is not None or request.weights is not None:
        raise UserError("pixels has no variants and no weights: write pixels")
    return Pixels()


def load_random(request: EncoderRequest) -> SPCLEncoder:
    """``random[:ARCH][:mean|cls][@SEED]``: S-PCL's trunk before training, its weights drawn from SEED (default 0)."""
    seed = request.weights or "0"
    if not seed.isdecimal():
        raise UserError(f"random@{seed}: what follows the @ is the seed, a whole number, e.g. random@1")
    arch, _, pooling = (request.variant or PHANTOM_ARCH).partition(":")
    if arch in ("mean", "cls"):
        arch, pooling = PHANTOM_ARCH, arch
    if pooling not in ("", "mean", "cls"):
        raise UserError(
            f"random:{request.variant}: what follows the architecture is the pooling: mean (default) or cls"
        )
    return untrained(arch, int(seed), "cls" if pooling == "cls" else "mean")


PIXELS = EncoderPlugin(load_pixels, "16 x 16 mean intensities: a warning, not an encoder", "pixels")
RANDOM = EncoderPlugin(
    load_random,
    f"S-PCL's trunk without training; ARCH: {', '.join(ARCHITECTURES)} (default {PHANTOM_ARCH})",
    "random[:ARCH][:mean|cls][@SEED]",
)
