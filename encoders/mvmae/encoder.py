"""MVMAE as an encoder: the backbone alone, nothing masked, every image taken to be of one view."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from cxrbench.encoder import NOTHING, EncoderCard, EncoderRequest, Features, Preprocess
from cxrbench.encoders.backbones.checkpoint import read_encoder
from cxrbench.encoders.backbones.encoder import PHANTOM_ARCH, POOLINGS, Pooling, how_to_pretrain, pool
from cxrbench.encoders.backbones.vit import ViTConfig, infer_config
from cxrbench.encoders.mvmae.backbone import (
    PUBLISHED_UNUSED,
    MultiviewBackbone,
    backbone_config,
    from_published,
    is_published,
)
from cxrbench.encoders.mvmae.options import OPTIONS, preprocess_of
from cxrbench.encoders.pretraining.studies import VIEWS
from cxrbench.encoders.sidecar import refuse_sidecar
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import leave_out, load_strict


class MultiviewEncoder(nn.Module):
    """A trained backbone on whole images, all taken to be of one view: a code of ``VIEWS``."""

    def __init__(
        self, backbone: MultiviewBackbone, preprocess: Preprocess, card: EncoderCard, pooling: Pooling, view: int
    ) -> None:
        super().__init__()
        self.backbone, self.preprocess, self.card, self.view = backbone, preprocess, card, view
        self.pooling: Pooling = pooling

    def forward(self, images: Tensor) -> Features:
        """Images [B, 1, size, size] to pooled [B, D or 2 D], the CLS token by default, and four blocks' maps."""
        tokens, maps = self.backbone(images, torch.full((len(images),), self.view, device=images.device))
        return Features(pool(tokens, self.backbone.config.tokens, self.pooling), maps)


def load(request: EncoderRequest) -> MultiviewEncoder:
    """``mvmae[:VIEW][-POOLING]@WEIGHTS``: our encoder.safetensors or .ckpt, or the authors' Lightning checkpoint.

    VIEW says from which side all images are taken to be (F, L, U); the default is the one that most training images
    had, frontal in every public collection, and F for others' files. The row of a view that training never met is
    noise: asking for it is an error, and it is why U is no default, true as it is of an image without a view.
    POOLING is cls (default), mean or mean+sd. Raises UserError.
    """
    if request.weights is None:
        raise UserError(f"{request.name} has no weights for real images: {how_to_pretrain(request.name, 'mimic')}")
    view, pooling = parse_variant(request)
    path = Path(request.weights).expanduser()
    found = read_encoder(path, request.name)
    state, preprocess = found.state, found.preprocess
    if is_published(state):
        state = from_published(leave_out(state, PUBLISHED_UNUSED, path))
    if found.architecture is None:
        refuse_sidecar(path)
        config = replace(infer_config(state, path), class_token=True, learned_positions=True, norm_eps=1e-5)
        preprocess = preprocess_of(config, OPTIONS.read({"variant": "official"}))
    else:
        config = ViTConfig(**found.architecture)
    backbone = MultiviewBackbone(config)
    load_strict(backbone, state, path)
    assert preprocess is not None
    counts: Mapping[str, int] = found.facts.get("corpus", {}).get("views", {})
    if view and not counts.get(view, 1):
        met = " or ".join(name for name, count in counts.items() if count)
        raise UserError(f"{request.name}:{view}: {path} has seen no image of that view: choose {met}")
    view = view or max(VIEWS, key=lambda name: counts.get(name, 0))  # the first of equals: F
    return MultiviewEncoder(backbone, preprocess, found.card, pooling, VIEWS.index(view))


def parse_variant(request: EncoderRequest) -> tuple[str, Pooling]:
    """View ("" if not given) and pooling out of what follows the colon: F, L-mean, cls. Raises UserError."""
    view, pooling, given = "", "", (request.variant or "").split("-") if request.variant else []
    for part in given:
        if part in VIEWS and not view:
            view = part
        elif part in POOLINGS and not pooling:
            pooling = part
        else:
            raise UserError(
                f"{request.name}:{request.variant}: the part after the colon is the images' view, F, L or U, the "
                "pooling, cls, mean or mean+sd, or both, e.g. L-mean"
            )
    return view, cast(Pooling, pooling or "cls")


def untrained(arch: str, seed: int) -> MultiviewEncoder:
    """The same backbone with random weights, frontal, CLS."""
    config = backbone_config(arch or PHANTOM_ARCH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = MultiviewBackbone(config)
    card = EncoderCard("none (random weights)", "Apache-2.0", NOTHING)
    return MultiviewEncoder(backbone, preprocess_of(config, OPTIONS.read({})), card, "cls", VIEWS.index("F"))
