"""MAE: a masked autoencoder on single images (He et al., 2022), with what PaCX-MAE's stage 1 sets in it.

Most patches are hidden; the backbone sees the rest and the CLS token; a decoder, thrown away in the end, must paint the
hidden pixels. Where PaCX-MAE's paper and code (arXiv 2606.01537) disagree, ``VARIANTS`` says what is done.

Formulas, variants, sources: docs/methods.md.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from cxrbench.encoder import EncoderRequest, Preprocess
from cxrbench.encoders.backbones.decoder import MAEDecoder, decoder_of
from cxrbench.encoders.backbones.encoder import (
    ViTEncoder,
    gray_preprocess,
    how_to_pretrain,
    pool,
    untrained_by_name,
)
from cxrbench.encoders.backbones.layouts import load_plain_vit
from cxrbench.encoders.backbones.masking import (
    PIXEL_EPS,
    Masking,
    kept_tokens,
    masked_error,
    normalise_patches,
    patch_moments,
    patchify,
    random_masking,
    take,
    unpatchify,
)
from cxrbench.encoders.backbones.vit import ViT, ViTConfig, parse_arch
from cxrbench.encoders.pretraining.augment import (
    crop_constants,
    decode_size,
    flip_constant,
    random_resized_crop_and_flip,
)
from cxrbench.encoders.pretraining.constants import Constant, Constants, vit_constants
from cxrbench.encoders.pretraining.declare import declare
from cxrbench.encoders.pretraining.method import Advice, Batch, Blueprint, Draw, Loss, Objective
from cxrbench.encoders.pretraining.options import OptionSet, Variant, option
from cxrbench.encoders.recipes.mae import RECIPES
from cxrbench.errors import UserError

CROP_AREA = (0.5, 1.0)


@dataclass(frozen=True)
class MAEOptions:
    """What can be set in MAE."""

    variant: Variant = "fixed"
    ratio: float = option(0.9, "share of the patches that are hidden", above=0, below=1)
    norm_pix: bool = option(False, "predict each patch less its mean, over its standard deviation")
    error: Literal["mean", "sum"] = option("mean", "over a patch's pixels; sum is PaCX-MAE's eq. 1")
    floor_slack: float = option(1e-9, "added to (1 - ratio) N before the floor", least=0, below=1)
    augment: bool = option(False, "RandomResizedCrop (area 0.5 to 1) and horizontal flip (breaks laterality)")
    channels: Literal[1, 3] = option(1, "3: the image thrice, ImageNet's mean and deviation")


# paper: eq. 1 as printed. official: PaCX-MAE's code, which stores 0.9 and never reads it: MAE's default 0.75 is used.
VARIANTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "paper": {"error": "sum", "channels": 3},
    "official": {"ratio": 0.75, "floor_slack": 0.0, "augment": True, "channels": 3},
}
OPTIONS = OptionSet("MAE", MAEOptions, VARIANTS)


def whole_preprocess(arch: ViTConfig) -> Preprocess:
    """Whole images, squashed to a square: gray ones, or, as PaCX-MAE has them, thrice with ImageNet's numbers."""
    return replace(gray_preprocess(arch), resize="squash")


def visible_patches(arch: ViTConfig, options: MAEOptions) -> int:
    """How many patches of an image are seen. Raises UserError where all are, or none."""
    visible = kept_tokens(arch.tokens, options.ratio, options.floor_slack)
    if not 0 < visible < arch.tokens:
        raise UserError(f"ratio {options.ratio} leaves {visible} of {arch.tokens} patches visible: all or none")
    return visible


class MAE(Objective):
    """The objective: the hidden patches of every image are painted from the visible ones."""

    spread_left = 0.1  # reconstruction does not ask for a CLS token that differs: it does so later
    advice = Advice(
        one_point="longer training (one point paints no patch, and the spread comes back), else a lower --lr",
        few_dimensions="a lower --option ratio or a lower --lr",
    )

    def __init__(self, arch: ViTConfig, options: MAEOptions) -> None:
        super().__init__()
        self.backbone = ViT(arch)
        self.decoder = MAEDecoder(arch, decoder_of(arch))
        self.options = options
        self.preprocess = whole_preprocess(arch)
        self.visible = visible_patches(arch, options)

    def augmented(self, batch: Batch, draw: Draw) -> Batch:
        """Crops and flips, where ``augment`` is on."""
        if not self.options.augment:
            return batch
        return Batch(random_resized_crop_and_flip(batch.images, draw, CROP_AREA, self.preprocess.size), batch.more)

    def forward(self, batch: Batch, draw: Draw) -> Loss:
        """Images [B, channels, size, size]: the mean squared error over the pixels of their hidden patches."""
        images = batch.images
        masking, predicted = self.reconstruct(images, draw)
        target = patchify(images, self.backbone.config.patch)
        if self.options.norm_pix:
            target = normalise_patches(target)
        error = masked_error(predicted, target, masking.hidden).mean()
        return Loss(error * target.shape[2] if self.options.error == "sum" else error, {"pixel_error": error.detach()})

    def reconstruct(self, images: Tensor, draw: Draw) -> tuple[Masking, Tensor]:
        """Draw masks, encode what is visible, and paint every patch: the masks and pixels [B, N, patch² · C]."""
        tokens = self.backbone.embed(images)
        noise = draw.rand(len(images), tokens.shape[1]).to(tokens.device)
        masking = random_masking(noise, self.visible)
        return masking, self.decoder(self.backbone.encode(take(tokens, masking.kept)), masking.restore)

    def kept(self) -> ViT:
        """The backbone."""
        return self.backbone

    def watched(self, images: Tensor) -> dict[str, Tensor]:
        """The CLS token."""
        return {"": pool(self.backbone(images)[0], self.backbone.config.tokens, "cls")}

    def architecture(self) -> dict[str, Any]:
        """Of the backbone."""
        return asdict(self.backbone.config)

    def picture(self, batch: Batch, draw: Draw) -> Tensor:
        """A column per image: original, what the backbone sees, reconstruction beside the visible patches."""
        masking, predicted = self.reconstruct(batch.images, draw)
        patches = patchify(batch.images, self.backbone.config.patch)
        if self.options.norm_pix:
            mean, deviation = patch_moments(patches)
            predicted = predicted * deviation + mean
        hidden = masking.hidden[:, :, None]
        rows = (patches, patches.masked_fill(hidden, 0.0), torch.where(hidden, predicted, patches))
        normalisation = (self.preprocess.mean, self.preprocess.std)
        mean, std = (torch.tensor(v, device=hidden.device)[:, None, None] for v in normalisation)
        images = [unpatchify(row, self.backbone.config.patch) * std + mean for row in rows]
        return torch.cat([torch.cat(list(row.mean(dim=1)), dim=1) for row in images])


def configure(arch: str, options: MAEOptions) -> Blueprint:
    """MAE on single images."""
    config = parse_arch(arch, channels=options.channels)
    visible_patches(config, options)
    return Blueprint(
        whole_preprocess(config),
        options,
        lambda corpus: MAE(config, options),
        decode_size=decode_size(config.size, CROP_AREA[0]) if options.augment else None,
        backbone=config,
    )


def constants(arch: ViTConfig, options: MAEOptions) -> Constants:
    """What no option sets."""
    decoder = decoder_of(arch)
    return {
        "decoder_width": Constant(decoder.width),
        "decoder_depth": Constant(decoder.depth),
        "decoder_heads": Constant(decoder.heads),
        "pixel_eps": Constant(PIXEL_EPS, options.norm_pix),
        **vit_constants(),
        **crop_constants(CROP_AREA, options.augment),
        **flip_constant(options.augment),
    }


def load(request: EncoderRequest) -> ViTEncoder:
    """``mae[:POOLING]@WEIGHTS``: our encoder.safetensors or .ckpt, or what MAE, Medical-MAE, MRM or PaCX published.

    The CLS token is the default: MAE's own linear probe reads it (``main_linprobe.py``), and PaCX-MAE's does. MAE's
    loss trains no token for reading; He et al. (appendix A.1) report that the mean works as well.
    """
    return load_plain_vit(request, method="mae", default="cls", without_weights=how_to_pretrain("mae"))


METHOD, PLUGIN = declare(
    name="mae",
    summary="MAE: hidden patches painted from the visible ones (He et al., 2022); loads Medical-MAE and MRM, too",
    usage="mae[:mean|cls|mean+sd][@WEIGHTS]",
    options=OPTIONS,
    recipes=RECIPES,
    configure=configure,
    objective=MAE,
    load=load,
    untrained=untrained_by_name("cls"),
    constants=constants,
)
