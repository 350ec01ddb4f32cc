"""S-PCL: Semantic-Partitioned Contrastive Learning of chest X-ray encoders (arXiv 2603.07113).

One image, two disjoint random sets of its patches, one shared ViT: the two CLS tokens must find each other among
those of all other images. No augmentation, no text, no decoder, no momentum encoder. Where the paper, the code that
it descends from (OCL) and reason disagree, ``VARIANTS`` says what is done; the default is ``fixed``.
"""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxrbench.checkpoints import load_strict
from cxrbench.encoder import EncoderCard, EncoderPlugin, EncoderRequest, Features, Preprocess
from cxrbench.encoders.augment import random_resized_crop_and_flip
from cxrbench.encoders.checkpoint import TrainedTrunk, read_trunk
from cxrbench.encoders.method import Draw, Loss, Method, gather_batch
from cxrbench.encoders.vit import ViT, ViTConfig, parse_arch
from cxrbench.errors import UserError

PHANTOM_ARCH = "nano"
PHANTOM_WEIGHTS = Path(__file__).parent / "weights" / "spcl_phantom.safetensors"


@dataclass(frozen=True)
class SPCLOptions:
    """What can be set in S-PCL.

    ``ratio``: r, the share of an image's patches that neither view sees. ``kappa``: κ of eq. 1. ``loss``: ``ntxent``
    (eq. 2) or ``clip`` (cross-view negatives only). ``gather``: compare with the images of all processes.
    ``floor_slack``: added to (1 - r) N before the floor, because 10 * (1 - 0.9) is 0.9999999999999998. ``augment``:
    RandomResizedCrop and flip.
    """

    variant: str = "fixed"
    ratio: float = 0.3
    kappa: float = 1 / 64
    loss: Literal["ntxent", "clip"] = "ntxent"
    initial_scale: float = 1 / 0.07
    learn_scale: bool = True
    max_scale: float = 100.0
    gather: bool = True
    floor_slack: float = 1e-9
    augment: bool = False


# paper: §3.1's ratio (§2.2 says 0.3) and an unbounded scale. official: what OCL's main_pretrain.py does by default.
VARIANTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "paper": {"ratio": 0.6, "max_scale": math.inf},
    "official": {
        "ratio": 0.9, "loss": "clip", "learn_scale": False, "gather": False, "floor_slack": 0.0, "augment": True,
    },
}  # fmt: skip
OPTION_HELP = {
    "variant": f"where paper and code differ: {', '.join(VARIANTS)}",
    "ratio": "share of the patches that neither view sees, in [0, 1)",
    "kappa": "κ > 0 of the T-SP similarity",
    "loss": "ntxent (the paper's eq. 2) or clip (cross-view negatives only)",
    "augment": "true: RandomResizedCrop and horizontal flip (breaks laterality)",
}


def parse_options(given: Mapping[str, Any]) -> SPCLOptions:
    """Options by name, numbers or text as typed by a user; those of the variant where not given. Raises UserError."""
    unknown = sorted(set(given) - set(OPTION_HELP))
    variant = str(given.get("variant", "fixed"))
    if unknown:
        raise UserError(f"S-PCL has no option {', '.join(unknown)}: choose from {', '.join(OPTION_HELP)}")
    if variant not in VARIANTS:
        raise UserError(f"S-PCL has no variant {variant!r}: choose one of {', '.join(VARIANTS)}")
    values: dict[str, Any] = {"variant": variant, **VARIANTS[variant]}
    try:
        values |= {name: float(given[name]) for name in ("ratio", "kappa") if name in given}
    except ValueError as error:
        raise UserError(f"S-PCL's ratio and kappa are numbers: {error}") from error
    values |= {"loss": str(given["loss"])} if "loss" in given else {}
    values |= {"augment": str(given["augment"]).lower() in ("true", "1", "yes")} if "augment" in given else {}
    options = SPCLOptions(**values)
    if not (0 <= options.ratio < 1 and options.kappa > 0 and options.loss in ("ntxent", "clip")):
        raise UserError("S-PCL needs 0 <= ratio < 1, kappa > 0 and loss ntxent or clip: correct the option")
    return options


def visible_tokens(tokens: int, ratio: float, slack: float = 1e-9) -> int:
    """n = floor((1 - r) N), rounded down to an even number so that it can be halved."""
    return math.floor(tokens * (1 - ratio) + slack) // 2 * 2


def partition(noise: Tensor, visible: int) -> tuple[Tensor, Tensor]:
    """Two disjoint uniform sets of patches per image: indices V1, V2 [B, visible / 2], from uniform noise [B, N]."""
    first, second = noise.argsort(dim=1)[:, :visible].chunk(2, dim=1)
    return first, second


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosines of the rows of a [A, D] with those of b [B, D]: [A, B], float32 even where bf16 is on."""
    device = a.device.type
    with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
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


class SPCL(nn.Module):
    """The objective: ``forward`` gives the loss of a batch."""

    def __init__(self, arch: ViTConfig, options: SPCLOptions) -> None:
        super().__init__()
        self.trunk = ViT(arch)
        self.options = options
        self.preprocess = default_preprocess(arch)
        self.visible = visible_tokens(arch.tokens, options.ratio, options.floor_slack)
        if self.visible < 2:
            raise UserError(f"ratio {options.ratio} leaves no patch of {arch.tokens} for two views: lower it")
        self.log_scale = nn.Parameter(torch.tensor(math.log(options.initial_scale)), requires_grad=options.learn_scale)

    def forward(self, images: Tensor, draw: Draw) -> Loss:
        """Images [B, 1, size, size]; one encoder call on 2B sequences of visible / 2 patches and CLS."""
        if self.options.augment:
            images = random_resized_crop_and_flip(images, draw)
        tokens = self.trunk.embed(images)
        noise = draw.rand(len(images), tokens.shape[1])
        views = [take(tokens, index.to(tokens.device)) for index in partition(noise, self.visible)]
        z1, z2 = self.trunk.encode(torch.cat(views))[:, 0].chunk(2)
        if self.options.gather:
            z1, z2 = gather_batch(z1), gather_batch(z2)
        scale = self.log_scale.exp().clamp(max=self.options.max_scale)
        contrast = ntxent if self.options.loss == "ntxent" else clip_loss
        return Loss(contrast(z1, z2, scale, self.options.kappa), {"logit_scale": scale.detach()})


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens [B, N, D] at index [B, n]: [B, n, D]. Their positions were added before, so they travel along."""
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[2]))


def default_preprocess(arch: ViTConfig) -> Preprocess:
    """What a trunk without a record is fed: grayscale whole films; ImageNet's numbers for three channels (OCL)."""
    if arch.channels == 3:
        return Preprocess(arch.size, "crop", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 3, "bicubic")
    return Preprocess(arch.size, "squash", (0.5,), (0.25,), channels=1)


Pooling = Literal["mean", "cls"]


class SPCLEncoder(nn.Module):
    """An S-PCL trunk as an encoder. ``pooling``: the mean of the patch tokens or the CLS token, both normalised.

    The paper trains the CLS token and does not say what its probes read; Medical-MAE, whose evaluation it follows,
    reads the mean. The mean is the default: the CLS token keeps what tells films apart, the patches keep the findings,
    too (docs/spcl-on-the-phantom.md).
    """

    def __init__(self, trunk: ViT, preprocess: Preprocess, card: EncoderCard, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.trunk, self.preprocess, self.card, self.pooling = trunk, preprocess, card, pooling

    def forward(self, images: Tensor) -> Features:
        """Images [B, channels, size, size] to pooled [B, D] and the maps of four evenly spaced blocks."""
        tokens, maps = self.trunk(images)
        pooled = tokens[:, 0] if self.pooling == "cls" else tokens[:, 1:].mean(dim=1)
        return Features(pooled, maps)


def untrained(arch: str = PHANTOM_ARCH, seed: int = 0, pooling: Pooling = "mean") -> SPCLEncoder:
    """The same trunk with random weights, from ``seed`` alone: what ``random`` on the leaderboard is."""
    config = parse_arch(arch, channels=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = ViT(config)
    return SPCLEncoder(trunk, default_preprocess(config), EncoderCard("none (random weights)", "Apache-2.0"), pooling)


def load(request: EncoderRequest) -> SPCLEncoder:
    """``spcl[:mean|cls]@WEIGHTS``: our encoder.safetensors or .ckpt, or timm-named weights as OCL and MAE publish."""
    if request.weights is None:
        raise UserError(f"spcl has no weights for real images: {WITHOUT_WEIGHTS}")
    if request.variant not in (None, "cls", "mean"):
        raise UserError(f"spcl:{request.variant}: the part after the colon is the pooling: mean (default) or cls")
    trained: TrainedTrunk = read_trunk(Path(request.weights), method="spcl")
    if not trained.config.class_token:
        raise UserError(f"{request.weights} holds a ViT without cls_token, which S-PCL always has: pass S-PCL weights")
    trunk = ViT(trained.config)
    load_strict(trunk, trained.state, Path(request.weights))
    preprocess = trained.preprocess or default_preprocess(trained.config)
    return SPCLEncoder(trunk, preprocess, trained.card, "cls" if request.variant == "cls" else "mean")


WITHOUT_WEIGHTS = (
    "pretrain with `cxrbench pretrain spcl --data DIR --arch small --epochs 200 "
    "--out runs/spcl` and name the result, spcl@runs/spcl/encoder.safetensors"
)
PLUGIN = EncoderPlugin(
    load=load,
    summary="S-PCL: contrast of two disjoint patch sets of one film (arXiv 2603.07113)",
    usage="spcl[:mean|cls][@WEIGHTS]",
    phantom_weights=str(PHANTOM_WEIGHTS) if PHANTOM_WEIGHTS.exists() else None,
    without_weights=WITHOUT_WEIGHTS,
)
METHOD = Method(
    name="spcl",
    channels=1,
    build=lambda arch, options: SPCL(arch, parse_options(options)),
    options=OPTION_HELP,
)
