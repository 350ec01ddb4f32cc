"""S-PCL: Semantic-Partitioned Contrastive Learning of chest X-ray encoders (arXiv 2603.07113).

One image, two disjoint random sets of its patches, one shared ViT: the two CLS tokens must find each other among
those of all other images. No augmentation, no text, no decoder, no momentum encoder. Where the paper, the code that
it descends from (OCL) and reason disagree, ``VARIANTS`` says what is done; the default is ``fixed``.

Formulas, variants, sources: docs/methods.md.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxrbench.encoder import EncoderRequest
from cxrbench.encoders.backbones.encoder import (
    ViTEncoder,
    gray_preprocess,
    how_to_pretrain,
    pool,
    untrained_by_name,
)
from cxrbench.encoders.backbones.layouts import load_plain_vit
from cxrbench.encoders.backbones.masking import kept_tokens, take
from cxrbench.encoders.backbones.precision import full_precision
from cxrbench.encoders.backbones.vit import ViT, ViTConfig, parse_arch
from cxrbench.encoders.pretraining.augment import (
    crop_constants,
    decode_size,
    flip_constant,
    random_resized_crop_and_flip,
)
from cxrbench.encoders.pretraining.constants import Constants, vit_constants
from cxrbench.encoders.pretraining.declare import declare
from cxrbench.encoders.pretraining.method import Advice, Batch, Blueprint, Draw, Loss, Objective, gather_batch
from cxrbench.encoders.pretraining.options import OptionSet, Variant, option
from cxrbench.encoders.recipes.spcl import RECIPES
from cxrbench.errors import UserError

CROP_AREA = (0.2, 1.0)


@dataclass(frozen=True)
class SPCLOptions:
    """What can be set in S-PCL."""

    variant: Variant = "fixed"
    ratio: float = option(0.3, "r: share of the patches that neither view sees", least=0, below=1)
    kappa: float = option(1 / 64, "κ of eq. 1, the T-SP similarity", above=0)
    loss: Literal["ntxent", "clip"] = option("ntxent", "ntxent is eq. 2; clip has cross-view negatives only")
    initial_scale: float = option(1 / 0.07, "logit scale τ at the start", above=0)
    learn_scale: bool = option(True, "whether the logit scale is learnt")
    max_scale: float = option(100.0, "largest logit scale", above=0)
    gather: bool = option(True, "compare with the images of all processes; false: of the same process")
    floor_slack: float = option(
        1e-9, "added to (1 - r) N before the floor: 10 (1 - 0.9) is 0.99...98", least=0, below=1
    )
    augment: bool = option(False, "RandomResizedCrop (area 0.2 to 1) and horizontal flip (breaks laterality)")
    channels: Literal[1, 3] = option(1, "3: the image thrice, its centre, ImageNet's mean and deviation")


# paper: §3.1's ratio (§2.2 says 0.3) and an unbounded scale. official: what OCL's main_pretrain.py does by default.
VARIANTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "paper": {"ratio": 0.6, "max_scale": math.inf},
    "official": {
        "ratio": 0.9, "loss": "clip", "learn_scale": False, "gather": False, "floor_slack": 0.0, "augment": True,
        "channels": 3,
    },
}  # fmt: skip
OPTIONS = OptionSet("S-PCL", SPCLOptions, VARIANTS)


def visible_tokens(tokens: int, ratio: float, slack: float = 1e-9) -> int:
    """n = floor((1 - r) N), rounded down to an even number so that it can be halved."""
    return kept_tokens(tokens, ratio, slack) // 2 * 2


def seen_by_both(arch: ViTConfig, options: SPCLOptions) -> int:
    """How many patches the two views have together. Raises UserError if they have none."""
    visible = visible_tokens(arch.tokens, options.ratio, options.floor_slack)
    if visible < 2:
        raise UserError(f"ratio {options.ratio} leaves no patch of {arch.tokens} for two views: lower it")
    return visible


def partition(noise: Tensor, visible: int) -> tuple[Tensor, Tensor]:
    """Two disjoint uniform sets of patches per image: indices V1, V2 [B, visible / 2], from uniform noise [B, N]."""
    first, second = noise.argsort(dim=1)[:, :visible].chunk(2, dim=1)
    return first, second


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosines of the rows of a [A, D] with those of b [B, D]: [A, B], float32 even where bf16 is on."""
    with full_precision(a.device):
        return F.normalize(a.float(), dim=1) @ F.normalize(b.float(), dim=1).T


def tsp_similarity(c: Tensor, kappa: float) -> Tensor:
    """Eq. 1 with its bracket corrected: s(c) = ½ (1 + c) / (1 + (1 - c) κ) of a cosine c; s(1) = 1, s(-1) = 0."""
    return 0.5 * (1 + c) / (1 + (1 - c) * kappa)


def ntxent(z1: Tensor, z2: Tensor, scale: Tensor | float, kappa: float) -> Tensor:
    """Eq. 2: mean over i of -log [ exp(τ s(i, p(i))) / Σ_{j≠i} exp(τ s(i, j)) ] over the 2B vectors of both views.

    z1, z2: [B, D], any length. τ = ``scale`` multiplies: it is a logit scale, an inverse temperature.
    """
    z = torch.cat([z1, z2])
    logits = scale * tsp_similarity(cosine(z, z), kappa)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    partner = torch.arange(len(z), device=z.device).roll(len(z1))
    return F.cross_entropy(logits.masked_fill(itself, -math.inf), partner)


def clip_loss(z1: Tensor, z2: Tensor, scale: Tensor | float, kappa: float) -> Tensor:
    """OCL's form: ½ [CE(τ s(z1 z2ᵀ), I) + CE(τ s(z2 z1ᵀ), I)]; only the other view's vectors are negatives."""
    logits, same = scale * tsp_similarity(cosine(z1, z2), kappa), torch.arange(len(z1), device=z1.device)
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


class SPCL(Objective):
    """The objective: the two views of every image find each other."""

    advice = Advice(
        one_point="a lower --lr or a longer --warmup",
        few_dimensions="a larger --batch-size, which gives more negatives, or a lower --lr",
    )

    def __init__(self, arch: ViTConfig, options: SPCLOptions) -> None:
        super().__init__()
        self.backbone = ViT(arch)
        self.options = options
        self.preprocess = gray_preprocess(arch)
        self.visible = seen_by_both(arch, options)
        self.log_scale = nn.Parameter(torch.tensor(math.log(options.initial_scale)), requires_grad=options.learn_scale)

    def augmented(self, batch: Batch, draw: Draw) -> Batch:
        """Crops and flips, where ``augment`` is on."""
        if not self.options.augment:
            return batch
        return Batch(random_resized_crop_and_flip(batch.images, draw, CROP_AREA, self.preprocess.size), batch.more)

    def forward(self, batch: Batch, draw: Draw) -> Loss:
        """Images [B, 1, size, size]; one encoder call on 2B sequences of visible / 2 patches and CLS."""
        images = batch.images
        tokens = self.backbone.embed(images)
        noise = draw.rand(len(images), tokens.shape[1])
        views = [take(tokens, index.to(tokens.device)) for index in partition(noise, self.visible)]
        z1, z2 = self.backbone.encode(torch.cat(views))[:, 0].chunk(2)
        if self.options.gather:
            z1, z2 = gather_batch(z1), gather_batch(z2)
        scale = self.log_scale.exp().clamp(max=self.options.max_scale)
        contrast = ntxent if self.options.loss == "ntxent" else clip_loss
        return Loss(contrast(z1, z2, scale, self.options.kappa), {"logit_scale": scale.detach()})

    def kept(self) -> ViT:
        """The backbone."""
        return self.backbone

    def watched(self, images: Tensor) -> dict[str, Tensor]:
        """The mean of the patch tokens."""
        return {"": pool(self.backbone(images)[0], self.backbone.config.tokens, "mean")}

    def architecture(self) -> dict[str, Any]:
        """Of the backbone."""
        return asdict(self.backbone.config)


def configure(arch: str, options: SPCLOptions) -> Blueprint:
    """S-PCL on single images."""
    config = parse_arch(arch, channels=options.channels)
    seen_by_both(config, options)
    return Blueprint(
        gray_preprocess(config),
        options,
        lambda corpus: SPCL(config, options),
        compared="joined" if options.gather else "process",
        within_process="" if options.gather else "images are compared",
        decode_size=decode_size(config.size, CROP_AREA[0]) if options.augment else None,
        backbone=config,
    )


def constants(arch: ViTConfig, options: SPCLOptions) -> Constants:
    """What no option sets."""
    return {**vit_constants(alone=True), **crop_constants(CROP_AREA, options.augment), **flip_constant(options.augment)}


def load(request: EncoderRequest) -> ViTEncoder:
    """``spcl[:POOLING]@WEIGHTS``: our encoder.safetensors or .ckpt, or timm-named weights as OCL and MAE publish.

    The paper trains the CLS token and does not say what its probes read; Medical-MAE, whose evaluation it follows,
    reads the mean. The mean is the default: the CLS token keeps what tells images apart, the patches keep the findings,
    too (docs/spcl-on-the-phantom.md).
    """
    return load_plain_vit(request, method="spcl", default="mean", without_weights=how_to_pretrain("spcl"))


METHOD, PLUGIN = declare(
    name="spcl",
    summary="S-PCL: contrast of two disjoint patch sets of one image (arXiv 2603.07113)",
    usage="spcl[:mean|cls|mean+sd][@WEIGHTS]",
    options=OPTIONS,
    recipes=RECIPES,
    configure=configure,
    objective=SPCL,
    load=load,
    untrained=untrained_by_name("mean"),
    constants=constants,
)
