"""RadJEPA: predict the features of hidden blocks of a chest X-ray from the rest of it (arXiv 2601.15891).

An encoder sees some patches (the context); a narrow predictor says what the moving average of that encoder, which sees
the whole image, makes of four blocks among the others. Nothing is reconstructed, nothing is contrasted. The authors
publish weights but no training code and say "the I-JEPA protocol" (Assran et al. 2023); what they leave out is I-JEPA's
here. Where paper, code and reason disagree, ``options.VARIANTS`` says what is done; the default is ``fixed``.

Formulas, variants, sources: docs/methods.md.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrbench.encoders.backbones.encoder import (
    gray_preprocess,
    untrained_by_name,
)
from cxrbench.encoders.backbones.masking import take
from cxrbench.encoders.backbones.precision import full_precision
from cxrbench.encoders.backbones.vit import MATRICES, ViT, ViTConfig, parse_arch
from cxrbench.encoders.pretraining.augment import crop_constants, decode_size, random_resized_crop
from cxrbench.encoders.pretraining.constants import Constant, Constants, vit_constants
from cxrbench.encoders.pretraining.declare import declare
from cxrbench.encoders.pretraining.ema import MovingAverage, linear_momentum
from cxrbench.encoders.pretraining.initial import SourceWeights
from cxrbench.encoders.pretraining.method import (
    Advice,
    Batch,
    Blueprint,
    Draw,
    Loss,
    Objective,
    gather_batch,
)
from cxrbench.encoders.radjepa.encoder import WITHOUT_WEIGHTS, load
from cxrbench.encoders.radjepa.initialisation import STD, initialise_as_ijepa
from cxrbench.encoders.radjepa.multiblock import TRIES, BlockMasks, MultiBlock, masks_on_images, sample
from cxrbench.encoders.radjepa.options import OPTIONS, RadJEPAOptions
from cxrbench.encoders.radjepa.predictor import JepaPredictor, predictor_width
from cxrbench.encoders.radjepa.variance import EPSILON, TARGET, variance_covariance
from cxrbench.encoders.recipes.radjepa import RECIPES

PATCH = 14
# Meta has published no I-JEPA of the shape ViT-B/14.
SOURCE_WEIGHTS = SourceWeights("RadJEPA's repository, finetuned from ijepa", "weights of I-JEPA that nobody published")
CROP_AREA = (0.3, 1.0)
ACCUMULATED = ", by which the sizes of blocks are drawn for every batch, not once for a step"
SMOOTH = 1.0  # β of smooth-L1: errors below it are squared
TARGET_EPS = 1e-5  # of the targets' layer norm, torch's


def latent_loss(predicted: Tensor, wanted: Tensor, kind: Literal["smooth_l1", "mse"]) -> Tensor:
    """Mean over all features of smooth-L1 (β = 1, I-JEPA's code) or of squares (the paper); float32, always."""
    with full_precision(predicted.device):
        if kind == "mse":
            return F.mse_loss(predicted.float(), wanted.float())
        return F.smooth_l1_loss(predicted.float(), wanted.float(), beta=SMOOTH)


class RadJEPA(Objective):
    """The objective: the features of four blocks of every image, predicted from the rest."""

    advice = Advice(
        one_point="an --option momentum nearer to 1 or a lower --lr",
        few_dimensions="--option variance=0.01, an --option momentum nearer to 1 or a lower --lr",
    )

    def __init__(self, arch: ViTConfig, options: RadJEPAOptions) -> None:
        super().__init__()
        self.options = options
        self.preprocess = gray_preprocess(arch)
        self.blocks = MultiBlock(arch.side, options.masks)
        self.backbone = ViT(arch)
        self.predictor = JepaPredictor(arch, predictor_depth(arch, options))
        if options.initialisation != "mae":
            for network in (self.backbone, self.predictor):
                initialise_as_ijepa(network, network.blocks, divided=options.initialisation == "ijepa")
        self.target = MovingAverage(self.backbone)  # a copy of what the backbone has become

    def augmented(self, batch: Batch, draw: Draw) -> Batch:
        """Crops, where ``augment`` is on."""
        if not self.options.augment:
            return batch
        return Batch(random_resized_crop(batch.images, draw, CROP_AREA, size=self.preprocess.size), batch.more)

    def forward(self, batch: Batch, draw: Draw) -> Loss:
        """Images [B, channels, size, size]; the prediction's mean error over blocks, tokens and features."""
        images = batch.images
        masks = self.masks(len(images), draw, images.device)
        features = self.features(images)
        context = self.backbone.encode(take(self.backbone.embed(images), masks.context))
        predicted = self.predictor(context, masks.context, masks.targets)
        value = latent_loss(predicted, self.wanted(features, masks.targets), self.options.loss)
        regularised: dict[str, Tensor] = {}
        if self.options.variance:
            hinge, covariance = variance_covariance(gather_batch(context.mean(dim=1)))
            value = value + self.options.variance * (hinge + covariance)
            regularised = {"variance_hinge": hinge.detach(), "covariance": covariance.detach()}
        spread = gather_batch(features.mean(dim=1)).float().std(dim=0, correction=0).mean()
        return Loss(value, {
            "relaxed": torch.tensor(float(masks.relaxed)),
            "context_patches": torch.tensor(float(masks.context.shape[1])),
            "spread": spread,  # of the images' embeddings: 0 would be collapse
            **regularised,
        })  # fmt: skip

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """What the moving average makes of whole images: normalised tokens [B, N, D]. Its maps are not wanted here."""
        target: ViT = self.target.module  # type: ignore[assignment]
        return target.encode(target.embed(images))

    def masks(self, images: int, draw: Draw, device: torch.device) -> BlockMasks:
        """Our images' masks, drawn for the batch of all processes; ``context_length``: which are equally long."""
        part = slice(draw.rank * images, (draw.rank + 1) * images)
        if self.options.context_length == "process":
            ours = sample(self.blocks, draw.world * images, draw.generator, part)
        else:
            ours = sample(self.blocks, draw.world * images, draw.generator).rows(part)
        return BlockMasks(ours.context.to(device), ours.targets.to(device), ours.relaxed)

    def wanted(self, features: Tensor, targets: Tensor) -> Tensor:
        """What is to be predicted of features [B, N, D], at patches [B, K, m]: float32 [B · K, m, D]."""
        features = features.float()
        if self.options.normalise_targets:
            features = F.layer_norm(features, features.shape[-1:], eps=TARGET_EPS)
        return take(features, targets.flatten(1)).reshape(-1, targets.shape[2], features.shape[2])

    def after_step(self, progress: float) -> None:
        """Let the target follow."""
        momentum = linear_momentum(self.options.momentum, self.options.final_momentum, progress)
        self.target.update(self.backbone, momentum)

    def beginnings(self) -> tuple[torch.nn.Module, ...]:
        """The encoder, and its moving average, which starts as its copy."""
        return self.backbone, self.target.module

    def kept(self) -> torch.nn.Module:
        """The target encoder, which I-JEPA evaluates, or the context encoder."""
        return self.target.module if self.options.keep == "target" else self.backbone

    def watched(self, images: Tensor) -> dict[str, Tensor]:
        """The means of the patch tokens of target and context encoder, the one that is kept first."""
        networks = {"target": self.target, "context": self.backbone}
        names = ("target", "context") if self.options.keep == "target" else ("context", "target")
        return {name: networks[name](images)[0].mean(dim=1) for name in names}

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
    MultiBlock(config.side, options.masks)  # is refused where the grid is too small
    return Blueprint(
        gray_preprocess(config),
        options,
        lambda corpus: RadJEPA(config, options),
        compared="joined" if options.variance else "nothing",
        within_process="contexts are cut to one length" if options.context_length == "process" else "",
        if_accumulated=ACCUMULATED,
        decode_size=decode_size(config.size, CROP_AREA[0]) if options.augment else None,
        source_weights=SOURCE_WEIGHTS if options.variant == "paper" else None,
        backbone=config,
    )


def predictor_depth(arch: ViTConfig, options: RadJEPAOptions) -> int:
    """Blocks of the predictor: those that are asked for, or half as many as the encoder has."""
    return options.predictor_depth or arch.depth // 2


def meant(arch: ViTConfig, options: RadJEPAOptions) -> Mapping[str, str]:
    """What a depth of 0 stands for."""
    depth = predictor_depth(arch, options)
    return {} if options.predictor_depth else {"predictor_depth": f"{depth}, half the encoder's (0)"}


def constants(arch: ViTConfig, options: RadJEPAOptions) -> Constants:
    """What no option sets."""
    blocks, as_mae = MultiBlock(arch.side, options.masks), options.initialisation == "mae"
    return {
        "block_targets": Constant(blocks.targets),
        "target_scale": Constant(blocks.target_scale),
        "target_aspect": Constant(blocks.target_aspect),
        "context_scale": Constant(blocks.context_scale),
        "min_keep": Constant(blocks.kept),
        "tries": Constant(TRIES),
        "predictor_width": Constant(predictor_width(arch.heads)),
        "predictor_heads": Constant(arch.heads),
        "smooth_beta": Constant(SMOOTH, options.loss == "smooth_l1"),
        "target_eps": Constant(TARGET_EPS, options.normalise_targets),
        "start_std": Constant(STD, not as_mae),
        "variance_target": Constant(TARGET, options.variance),
        "variance_eps": Constant(EPSILON, options.variance),
        **vit_constants(),
        "matrix_start": Constant(MATRICES, as_mae),
        **crop_constants(CROP_AREA, options.augment),
    }


METHOD, PLUGIN = declare(
    name="radjepa",
    summary="RadJEPA: features of hidden blocks predicted from the rest of the image (arXiv 2601.15891)",
    usage="radjepa[:mean|mean+sd][@WEIGHTS]",
    options=OPTIONS,
    recipes=RECIPES,
    configure=configure,
    objective=RadJEPA,
    load=load,
    untrained=untrained_by_name("mean", patch=PATCH, class_token=False),
    constants=constants,
    meant=meant,
    without_weights=WITHOUT_WEIGHTS,
)
