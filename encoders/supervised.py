"""The supervised baseline: the same backbone, trained to tell the labels of the manifests, and nothing before it.

Formulas, variants, sources: docs/methods.md.
"""

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
from cxrbench.encoders.backbones.vit import ViT, ViTConfig, parse_arch
from cxrbench.encoders.pretraining.augment import (
    crop_constants,
    decode_size,
    flip_constant,
    random_resized_crop_and_flip,
)
from cxrbench.encoders.pretraining.constants import Constant, Constants, vit_constants
from cxrbench.encoders.pretraining.declare import declare
from cxrbench.encoders.pretraining.labelled import LabelledImages, has_a_label, labelled_images
from cxrbench.encoders.pretraining.method import (
    Advice,
    Batch,
    Blueprint,
    Draw,
    Loss,
    Objective,
    gather_batch,
)
from cxrbench.encoders.pretraining.options import OptionSet, Variant, option
from cxrbench.encoders.recipes.supervised import RECIPES

CROP_AREA = (0.5, 1.0)
HEAD_STD = 0.02


@dataclass(frozen=True)
class SupervisedOptions:
    """What can be set. There is one variant."""

    variant: Variant = "fixed"
    pooling: Literal["mean", "cls"] = option(
        "mean", "where the linear head reads, of the patch tokens or the CLS token"
    )
    pos_weight: bool = option(False, "weigh the positives of each label by its negatives per positive")
    augment: bool = option(False, "RandomResizedCrop (area 0.5 to 1) and horizontal flip (breaks laterality)")


OPTIONS = OptionSet("supervised", SupervisedOptions, {"fixed": {}})


def known_cross_entropy(logits: Tensor, targets: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, averaged over the targets [B, labels] of the whole batch that are known (not NaN): scalar.

    Of W processes each divides its own sum by a W-th of all known targets: what DDP then averages is the loss of the
    joined batch, though one process may know more than another. No known target at all: 0.
    """
    known = ~targets.isnan()
    each = F.binary_cross_entropy_with_logits(
        logits.float(), targets.nan_to_num(), pos_weight=pos_weight, reduction="none"
    )
    counts = gather_batch(known.sum()[None].float())
    return each.masked_fill(~known, 0.0).sum() * len(counts) / counts.sum().clamp(min=1)


class Supervised(Objective):
    """The objective: a linear layer on the pooled tokens tells every label."""

    spread_left = 0.1  # what tells no label may go
    advice = Advice(
        one_point="a lower --lr or a longer --warmup",
        few_dimensions="a lower --lr, unless the labels are few and ask for no more",
    )

    def __init__(self, arch: ViTConfig, options: SupervisedOptions, corpus: LabelledImages) -> None:
        super().__init__()
        self.backbone = ViT(arch)
        self.head = nn.Linear(arch.width, len(corpus.labels))
        nn.init.trunc_normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)
        self.options = options
        self.preprocess = gray_preprocess(arch)
        self.pos_weight: Tensor | None
        ratios = torch.from_numpy(corpus.negatives / corpus.positives).float() if options.pos_weight else None
        self.register_buffer("pos_weight", ratios)

    def augmented(self, batch: Batch, draw: Draw) -> Batch:
        """Crops and flips, where ``augment`` is on."""
        if not self.options.augment:
            return batch
        return Batch(random_resized_crop_and_flip(batch.images, draw, CROP_AREA, self.preprocess.size), batch.more)

    def forward(self, batch: Batch, draw: Draw) -> Loss:
        """Images [B, channels, size, size] and ``targets`` [B, labels]."""
        return Loss(known_cross_entropy(self.logits(batch.images), batch.more["targets"], self.pos_weight))

    def logits(self, images: Tensor) -> Tensor:
        """Images [B, channels, size, size] to logits [B, labels]."""
        tokens = self.backbone.encode(self.backbone.embed(images))
        return self.head(tokens[:, 0] if self.options.pooling == "cls" else tokens[:, 1:].mean(dim=1))

    def kept(self) -> ViT:
        """The backbone; the head stays in the checkpoint."""
        return self.backbone

    def watched(self, images: Tensor) -> dict[str, Tensor]:
        """Where the head reads."""
        return {"": pool(self.backbone(images)[0], self.backbone.config.tokens, self.options.pooling)}

    def architecture(self) -> dict[str, Any]:
        """Of the backbone."""
        return asdict(self.backbone.config)


def configure(arch: str, options: SupervisedOptions) -> Blueprint:
    """The labels of single images."""
    config = parse_arch(arch, channels=1)
    return Blueprint(
        gray_preprocess(config),
        options,
        lambda corpus: Supervised(config, options, corpus),
        corpus=labelled_images,
        eligible=has_a_label,
        wants="training images with a known label",
        decode_size=decode_size(config.size, CROP_AREA[0]) if options.augment else None,
        backbone=config,
    )


def constants(arch: ViTConfig, options: SupervisedOptions) -> Constants:
    """What no option sets."""
    return {
        "head_std": Constant(HEAD_STD),
        **vit_constants(alone=True),
        **crop_constants(CROP_AREA, options.augment),
        **flip_constant(options.augment),
    }


def load(request: EncoderRequest) -> ViTEncoder:
    """``supervised[:POOLING]@WEIGHTS``: our encoder.safetensors or .ckpt, or a ViT that others trained on labels.

    Ours is read where its head did. Of others' files the head is left out (timm's names, DeiT's and those that MAE's
    fine-tuning writes).
    """
    return load_plain_vit(request, method="supervised", default="cls", without_weights=how_to_pretrain("supervised"))


METHOD, PLUGIN = declare(
    name="supervised",
    summary="supervised: the same backbone trained on the labels, the baseline of every pretraining paper",
    usage="supervised[:mean|cls|mean+sd][@WEIGHTS]",
    options=OPTIONS,
    recipes=RECIPES,
    configure=configure,
    objective=Supervised,
    load=load,
    untrained=untrained_by_name("mean"),
    constants=constants,
)
