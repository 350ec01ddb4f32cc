"""RadJEPA: predict the features of hidden blocks of a chest X-ray from the rest of it (arXiv 2601.15891).

An encoder sees some patches (the context); a narrow predictor says what the moving average of that encoder, which sees
the whole image, makes of four blocks among the others. Nothing is reconstructed, nothing is contrasted. The authors
publish weights but no training code and say "the I-JEPA protocol" (Assran et al. 2023); what they leave out is I-JEPA's
here. Where paper, code and reason disagree, ``VARIANTS`` says what is done; the default is ``fixed``.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrbench.encoder import EncoderPlugin, EncoderRequest, named_weights
from cxrbench.encoders.backbones.encoder import (
    PHANTOM_ARCH,
    ViTEncoder,
    encoder_of,
    gray_preprocess,
    how_to_pretrain,
    phantom_weights,
    untrained_vit,
)
from cxrbench.encoders.backbones.masking import take
from cxrbench.encoders.backbones.vit import ViT, ViTConfig, parse_arch
from cxrbench.encoders.pretraining.augment import random_resized_crop
from cxrbench.encoders.pretraining.ema import MovingAverage, linear_momentum
from cxrbench.encoders.pretraining.method import (
    Batch,
    Blueprint,
    Draw,
    Loss,
    Method,
    Objective,
    PretrainingRecipe,
    gather_batch,
)
from cxrbench.encoders.pretraining.options import read_options
from cxrbench.encoders.radjepa.multiblock import BlockMasks, MultiBlock, Rule, masks_on_images, sample
from cxrbench.encoders.radjepa.predictor import JepaPredictor
from cxrbench.encoders.radjepa.weights import REPOSITORY, locate, read_jepa
from cxrbench.errors import UserError

PATCH = 14
CROP_AREA = (0.3, 1.0)


@dataclass(frozen=True)
class RadJEPAOptions:
    """What can be set in RadJEPA.

    ``masks``: see ``MultiBlock``. ``normalise_targets``: layer norm without affine over a target token's features.
    ``augment``: I-JEPA's RandomResizedCrop. ``momentum``, ``final_momentum``: τ of the moving average at the first step
    and behind the last (0 and 0: targets of the encoder itself, as in the paper's introduction). ``predictor_depth``: 0
    is half the encoder's depth, 6 for ViT-B. ``keep``: which encoder training is for. ``channels``: an image has 1; 3
    is the published layout, the same image thrice, with ImageNet's mean and deviation.
    """

    variant: str = "fixed"
    masks: Rule = "fixed"
    loss: Literal["smooth_l1", "mse"] = "smooth_l1"
    normalise_targets: bool = True
    augment: bool = False
    momentum: float = 0.996
    final_momentum: float = 1.0
    predictor_depth: int = 0
    keep: Literal["target", "context"] = "target"
    channels: Literal[1, 3] = 1


# paper: its loss as printed. official: what I-JEPA's code does, quirks of its masks and augmentation included.
VARIANTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "paper": {"loss": "mse", "normalise_targets": False, "channels": 3},
    "official": {"masks": "official", "augment": True, "channels": 3},
}
OPTION_HELP = {
    "variant": f"where paper and I-JEPA's code differ: {', '.join(VARIANTS)}",
    "masks": "fixed, or official: blocks that never touch the last row and column",
    "loss": "smooth_l1 or mse",
    "normalise_targets": "true: layer norm over the features of each target token",
    "augment": "true: RandomResizedCrop of 0.3 to 1 of the area",
    "momentum": "of the moving average at the start, in [0, 1]; too low and it collapses (see spread in log.csv)",
    "final_momentum": "of the moving average at the end, in [0, 1]",
    "predictor_depth": "blocks of the predictor; 0: half the encoder's",
    "keep": "target (the moving average) or context (the encoder that is trained)",
    "channels": "1, or 3 as published",
}
# I-JEPA's, for ViT-H; the authors of RadJEPA state none. Neither clips gradients: 1 is the engine's.
RECIPE = PretrainingRecipe(
    epochs=300, batch_size=2048, lr=1e-3, start_lr=0.2, final_lr=1e-3, weight_decay=0.04, final_weight_decay=0.4,
    warmup=40 / 300, betas=(0.9, 0.999),
)  # fmt: skip


def parse_options(given: Mapping[str, Any]) -> RadJEPAOptions:
    """Options by name, numbers or text as typed by a user; those of the variant where not given. Raises UserError."""
    options = read_options(RadJEPAOptions, given, method="RadJEPA", help_lines=OPTION_HELP, variants=VARIANTS)
    if not (0 <= options.momentum <= 1 and 0 <= options.final_momentum <= 1):
        raise UserError("RadJEPA's momentum and final_momentum lie in [0, 1]: correct the option")
    if options.predictor_depth < 0:
        raise UserError("RadJEPA's predictor_depth is a number of blocks, or 0: correct the option")
    return options


def latent_loss(predicted: Tensor, wanted: Tensor, kind: Literal["smooth_l1", "mse"]) -> Tensor:
    """Mean over all features of smooth-L1 (β = 1, I-JEPA's code) or of squares (the paper); float32, always."""
    loss = F.smooth_l1_loss if kind == "smooth_l1" else F.mse_loss
    device = predicted.device.type
    with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
        return loss(predicted.float(), wanted.float())


class RadJEPA(Objective):
    """The objective: the features of four blocks of every image, predicted from the rest."""

    def __init__(self, arch: ViTConfig, options: RadJEPAOptions) -> None:
        super().__init__()
        self.options = options
        self.preprocess = gray_preprocess(arch)
        self.blocks = MultiBlock(arch.side, options.masks)
        self.backbone = ViT(arch)
        self.target = MovingAverage(self.backbone)
        self.predictor = JepaPredictor(arch, options.predictor_depth or arch.depth // 2)

    def forward(self, batch: Batch, draw: Draw) -> Loss:
        """Images [B, channels, size, size]; the mean over blocks, tokens and features of the prediction's error."""
        images = batch.images
        if self.options.augment:
            images = random_resized_crop(images, draw, CROP_AREA)
        masks = self.masks(len(images), draw, images.device)
        features = self.target(images)[0]
        context = self.backbone.encode(take(self.backbone.embed(images), masks.context))
        predicted = self.predictor(context, masks.context, masks.targets)
        value = latent_loss(predicted, self.wanted(features, masks.targets), self.options.loss)
        spread = gather_batch(features.mean(dim=1)).float().std(dim=0, correction=0).mean()
        return Loss(value, {
            "relaxed": torch.tensor(float(masks.relaxed)),
            "context_patches": torch.tensor(float(masks.context.shape[1])),
            "spread": spread,  # of the images' embeddings: 0 would be collapse
        })  # fmt: skip

    def masks(self, images: int, draw: Draw, device: torch.device) -> BlockMasks:
        """Our images' masks: drawn and cut for the batch of all processes, or theirs would have other lengths."""
        whole = sample(self.blocks, draw.world * images, draw.generator)
        ours = whole.rows(slice(draw.rank * images, (draw.rank + 1) * images))
        return BlockMasks(ours.context.to(device), ours.targets.to(device), ours.relaxed)

    def wanted(self, features: Tensor, targets: Tensor) -> Tensor:
        """What is to be predicted of features [B, N, D], at patches [B, K, m]: float32 [B · K, m, D]."""
        features = features.float()
        if self.options.normalise_targets:
            features = F.layer_norm(features, features.shape[-1:])
        return take(features, targets.flatten(1)).reshape(-1, targets.shape[2], features.shape[2])

    def after_step(self, progress: float) -> None:
        """Let the target follow."""
        momentum = linear_momentum(self.options.momentum, self.options.final_momentum, progress)
        self.target.update(self.backbone, momentum)

    def kept(self) -> torch.nn.Module:
        """The target encoder, which I-JEPA evaluates, or the context encoder."""
        return self.target.module if self.options.keep == "target" else self.backbone

    def architecture(self) -> dict[str, Any]:
        """Of the backbone."""
        return asdict(self.backbone.config)

    def picture(self, batch: Batch, draw: Draw) -> Tensor:
        """Three rows, a column per image: the image, what the encoder sees of it, and the four blocks to predict."""
        images = batch.images
        mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in
                     (self.preprocess.mean, self.preprocess.std))  # fmt: skip
        inputs = (images * std + mean).mean(dim=1).clamp(0, 1)
        return masks_on_images(inputs, self.masks(len(inputs), draw, inputs.device), self.blocks.side)


def configure(arch: str, options: RadJEPAOptions) -> Blueprint:
    """RadJEPA on single images. Named architectures have patches of 14 pixels: ``nano`` is 126 px, 9 x 9 patches."""
    config = parse_arch(arch, channels=options.channels, patch=PATCH, class_token=False)
    return Blueprint(gray_preprocess(config), options, lambda corpus: RadJEPA(config, options), RECIPE)


def untrained(arch: str, seed: int) -> ViTEncoder:
    """The backbone that ``cxrbench pretrain radjepa --arch ARCH`` would train, with random weights."""
    return untrained_vit(parse_arch(arch or PHANTOM_ARCH, channels=1, patch=PATCH, class_token=False), seed)


def load(request: EncoderRequest) -> ViTEncoder:
    """``radjepa@WEIGHTS``: our encoder.safetensors or .ckpt, RadJEPA's file, its folder or repository, I-JEPA's file.

    Pooled: the mean of the patch tokens after the last norm; there is no CLS token.
    """
    if request.variant is not None:
        raise UserError(
            f"radjepa:{request.variant}: radjepa is read in one way, at the mean of its patches: leave it out"
        )
    if request.weights is None:
        raise UserError(f"radjepa has no weights for real images: {WITHOUT_WEIGHTS}")
    path = locate(request.weights)
    return encoder_of(read_jepa(path), path, "mean")


WITHOUT_WEIGHTS = f"{how_to_pretrain('radjepa')}; or take the published ones, radjepa@{REPOSITORY}"
METHOD = Method(
    name="radjepa",
    configure=lambda arch, given: configure(arch, parse_options(given)),
    options=OPTION_HELP,
    untrained=untrained,
)
PLUGIN = EncoderPlugin(
    load=load,
    summary="RadJEPA: features of hidden blocks predicted from the rest of the image (arXiv 2601.15891)",
    usage="radjepa[@WEIGHTS]",
    phantom_weights=phantom_weights("radjepa"),
    without_weights=WITHOUT_WEIGHTS,
    reads=named_weights,
)
