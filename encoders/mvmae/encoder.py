"""MVMAE as an encoder: the backbone alone, nothing masked, every image of its own view or all of one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from cxrbench.encoder import NOTHING, Attentions, EncoderCard, EncoderRequest, Features, Preprocess
from cxrbench.encoders.backbones.checkpoint import read_encoder
from cxrbench.encoders.backbones.encoder import (
    PHANTOM_ARCH,
    POOLINGS,
    Pooling,
    how_to_pretrain,
    pool,
    vit_attentions,
)
from cxrbench.encoders.backbones.vit import ViTConfig, infer_config
from cxrbench.encoders.mvmae.backbone import (
    PUBLISHED_UNUSED,
    MultiviewBackbone,
    backbone_config,
    from_published,
    is_published,
)
from cxrbench.encoders.mvmae.options import OPTIONS, preprocess_of
from cxrbench.encoders.pretraining.studies import VIEW_CODES, VIEWS
from cxrbench.encoders.sidecar import refuse_sidecar
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import leave_out, load_strict


class MultiviewEncoder(nn.Module):
    """A trained backbone on whole images.

    ``view``: a code of ``VIEWS``, of all images whose view nobody tells. ``view_codes``: the code of each view of a
    manifest, which is then asked for; None: all images are taken to be of the one view.
    """

    def __init__(
        self, backbone: MultiviewBackbone, preprocess: Preprocess, card: EncoderCard, pooling: Pooling, view: int,
        view_codes: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.backbone, self.preprocess, self.card, self.view = backbone, preprocess, card, view
        self.view_codes = view_codes
        self.pooling: Pooling = pooling

    def forward(self, images: Tensor, views: Tensor | None = None) -> Features:
        """Images [B, 1, size, size] and codes of their views [B] to pooled [B, D or 2 D], the CLS token by default, and
        four blocks' maps.
        """
        tokens, maps = self.backbone(images, self._codes(images, views))
        return Features(pool(tokens, self.backbone.config.tokens, self.pooling), maps)

    def attentions(self, images: Tensor, views: Tensor | None = None) -> Attentions:
        """Of all blocks, read where ``pooled`` is."""
        return vit_attentions(self.backbone, self.pooling, lambda: self.backbone(images, self._codes(images, views)))

    def _codes(self, images: Tensor, views: Tensor | None) -> Tensor:
        return torch.full((len(images),), self.view, device=images.device) if views is None else views


def load(request: EncoderRequest) -> MultiviewEncoder:
    """``mvmae[:VIEW][-POOLING]@WEIGHTS``: our encoder.safetensors or .ckpt, or the authors' Lightning checkpoint.

    Each image is embedded by its own view: frontal, lateral or unknown. The row of a view that training never met is
    noise: such images are taken for the view that most training images had. VIEW (F, L, U) takes all images to be of
    that one; where training never met it, that is an error. Images whose view nobody tells are of the view that most
    training images had, and F for others' files.
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
    usual = VIEWS.index(view or max(VIEWS, key=lambda name: counts.get(name, 0)))  # the first of equals: F
    codes = None if view else codes_met(counts, usual)
    return MultiviewEncoder(backbone, preprocess, found.card, pooling, usual, codes)


def codes_met(counts: Mapping[str, int], usual: int) -> dict[str, int]:
    """The code of each view of a manifest; ``usual`` for those that training never met. No counts: it met them all."""
    return {view: code if counts.get(VIEWS[code], not counts) else usual for view, code in VIEW_CODES.items()}


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
    """The same backbone with random weights, each image by its view, CLS."""
    config = backbone_config(arch or PHANTOM_ARCH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = MultiviewBackbone(config)
    card = EncoderCard("none (random weights)", "Apache-2.0", NOTHING)
    preprocess = preprocess_of(config, OPTIONS.read({}))
    return MultiviewEncoder(backbone, preprocess, card, "cls", VIEWS.index("F"), codes_met({}, VIEWS.index("F")))
