"""PaCX-MAE: what an ECG and blood tests say of a patient, taught to a chest X-ray encoder (arXiv 2606.01537, stage 2).

An MAE backbone is adapted with LoRA so that the image's CLS token finds the embeddings of its own ECG and laboratory
values among those of other patients (contrast), and tells them (regression). Both come from frozen teachers. In the end
LoRA is merged: a plain ViT that needs nothing but images. Stage 1a is ``mae``, 1b ``labs.autoencoder``, 1c
``ecg.teacher``.

Formulas, variants, sources: docs/methods.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess
from cxrbench.encoders.backbones.checkpoint import TrainedBackbone
from cxrbench.encoders.backbones.encoder import (
    PHANTOM_ARCH,
    gray_preprocess,
    phantom_weights,
    untrained_by_name,
)
from cxrbench.encoders.backbones.vit import ViT, ViTConfig, parse_arch
from cxrbench.encoders.pacx.augment import ENLARGED, ENLARGED_SOURCE, augment
from cxrbench.encoders.pacx.constants import HEAD_EPS, HEAD_STD, LEAST_SCALE, constants, meant
from cxrbench.encoders.pacx.corpus import PaCXCorpus, build, with_signals
from cxrbench.encoders.pacx.encoder import HOW_TO, load
from cxrbench.encoders.pacx.lora import adapt, merged, set_norm_eps
from cxrbench.encoders.pacx.losses import Pair, contrastive_loss, regression_loss
from cxrbench.encoders.pacx.options import OPTIONS, Modalities, PaCXOptions
from cxrbench.encoders.pretraining.corpus import TrainingImages
from cxrbench.encoders.pretraining.declare import declare
from cxrbench.encoders.pretraining.initial import VIEW_ROWS, InitialWeights, read_initial, refuse_misfit
from cxrbench.encoders.pretraining.method import (
    Advice,
    BaseWeights,
    Batch,
    Blueprint,
    Draw,
    Loss,
    Objective,
    gather_batch,
)
from cxrbench.encoders.recipes.pacx import RECIPES
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import load_strict

WITHOUT_INIT = (
    "PaCX-MAE begins from an MAE: pretrain one with `cxrbench pretrain mae --data DIR --arch {arch} --out runs/mae` "
    "and pass --init runs/mae/encoder.safetensors"
)


class PaCX(Objective):
    """The objective: the image's CLS token against what the teachers make of ECG and labs."""

    advice = Advice(
        one_point="a lower --lr or a lower --option contrastive",
        few_dimensions="a larger --batch-size or a lower --lr",
    )

    def __init__(
        self,
        base: TrainedBackbone,
        options: PaCXOptions,
        preprocess: Preprocess,
        widths: Mapping[str, int],
        path: object = "init",
    ) -> None:
        """``widths``: by modality the length of its teacher's embeddings. ``path``: of the base, for messages."""
        super().__init__()
        self.options, self.preprocess, self.inherited = options, preprocess, base.card
        backbone = ViT(base.config)
        load_strict(backbone, base.state, path)
        width = base.config.width
        self.backbone = adapt(
            set_norm_eps(backbone, options.norm_eps),
            rank=options.rank,
            alpha=options.alpha,
            dropout=options.dropout,
            norms=options.norms,
        )
        self.project = nn.ModuleDict(
            {name: head(n, options.projection, options) for name, n in ({"image": width} | dict(widths)).items()}
        )
        self.regress = nn.ModuleDict({name: head(width, n, options) for name, n in widths.items()})
        self.log_scale = nn.Parameter(torch.tensor(math.log(options.initial_scale)))

    def augmented(self, batch: Batch, draw: Draw) -> Batch:
        """Crops, turns, jitter, blur and erasing, where ``augment`` is on."""
        return Batch(augment(batch.images, self.preprocess, draw), batch.more) if self.options.augment else batch

    def forward(self, batch: Batch, draw: Draw) -> Loss:
        """Images [B, channels, size, size]; of each modality ``NAME`` [B, E] and ``has_NAME`` [B], as in the corpus."""
        tokens = self.backbone(batch.images)[0]
        inputs = tokens[:, 0]
        image = gather_batch(self.project["image"](inputs).float())  # once: all modalities meet the same dropout
        pairs = [self.pair(name, inputs, image, batch) for name in self.regress]
        scale = self.log_scale.exp().clamp(LEAST_SCALE, self.options.max_scale)
        contrast = contrastive_loss(pairs, scale, self.options.smoothing)
        regression = regression_loss(pairs)
        value = self.options.contrastive * contrast + self.options.regression * regression
        logged = {"contrastive": contrast, "regression": regression, "logit_scale": scale}
        return Loss(value, {name: scalar.detach() for name, scalar in logged.items()})

    def pair(self, name: str, images: Tensor, image: Tensor, batch: Batch) -> Pair:
        """One modality of the whole batch of all processes: our images' CLS tokens [B, D], all images' projections."""
        target, present = batch.more[name], batch.more[f"has_{name}"]
        ours = (self.project[name](target), self.regress[name](images), target, present)
        other, predicted, target, present = (gather_batch(rows.float()) for rows in ours)
        return Pair(image, other, predicted, target, present > 0.5)

    def kept(self) -> ViT:
        """The backbone, LoRA merged: a copy."""
        return merged(self.backbone)

    def watched(self, images: Tensor) -> dict[str, Tensor]:
        """The CLS token."""
        return {"": self.backbone(images)[0][:, 0]}

    def architecture(self) -> dict[str, Any]:
        """Of the backbone; ``norm_eps`` is that of all its norms."""
        backbone: Any = self.backbone.base_model.model
        return asdict(backbone.config)


def head(width: int, out: int, options: PaCXOptions) -> nn.Module:
    """A projection or regression head: linear (paper), or Dropout, Linear, LayerNorm (code).

    It starts as the code's do, of which the paper says nothing: from a truncated N(0, .02²), biases at 0.
    """
    linear = nn.Linear(width, out)
    nn.init.trunc_normal_(linear.weight, std=HEAD_STD)
    nn.init.zeros_(linear.bias)
    if options.heads == "linear":
        return linear
    return nn.Sequential(nn.Dropout(options.head_dropout), linear, nn.LayerNorm(out, eps=HEAD_EPS))


def base_of(initial: InitialWeights, arch: ViTConfig) -> TrainedBackbone:
    """The MAE to begin from: a plain ViT of ours, by whatever method, or one of others (PaCX's stage 1, MAE, MRM).

    Its channels and preprocessing are its own; all else is that of ``arch``, else UserError.
    """
    if VIEW_ROWS in initial.state:
        raise UserError(f"{initial.name} is no plain ViT, of which PaCX-MAE begins: pass weights of mae")
    return TrainedBackbone(initial.state, refuse_misfit(initial, arch), initial.preprocess, initial.card)


def shipped(manifests: Sequence[Manifest], name: str, modalities: Modalities) -> InitialWeights:
    """The shipped MAE, on phantom data. Raises UserError for another architecture than its own, and on real data."""
    path = phantom_weights("mae")
    synthetic = all(one.synthetic for one in manifests if with_signals(one, modalities).any())
    if path is None or not synthetic or not fits_shipped(name):
        raise UserError(WITHOUT_INIT.format(arch=name))
    return replace(read_initial(path), name=f"the shipped {Path(path).name}")


def fits_shipped(name: str) -> bool:
    """Whether the shipped MAE is of this architecture."""
    return parse_arch(name, channels=1) == parse_arch(PHANTOM_ARCH, channels=1)


SIGNALS = {"both": "an ECG or laboratory values", "ecg": "an ECG", "labs": "laboratory values"}


def configure(name: str, options: PaCXOptions, initial: InitialWeights | None = None) -> Blueprint:
    """PaCX-MAE on studies with an ECG or laboratory values, from an MAE's weights, without which it cannot be made."""
    arch = parse_arch(name, channels=1)
    given = base_of(initial, arch) if initial else None
    preprocess = (given.preprocess if given else None) or gray_preprocess(given.config if given else arch)

    def corpus(images: TrainingImages) -> PaCXCorpus:
        return build(images, options.modalities, options.teachers())

    def objective(corpus: PaCXCorpus) -> PaCX:
        if initial is None or given is None:
            raise UserError(WITHOUT_INIT.format(arch=name))
        widths = {modality: embeddings.shape[1] for modality, embeddings in corpus.taught.items()}
        return PaCX(given, options, preprocess, widths, initial.name)

    return Blueprint(
        preprocess,
        options,
        objective,
        corpus,
        lambda manifest: with_signals(manifest, options.modalities),
        wants=f"training images with {SIGNALS[options.modalities]}",
        compared="joined" if options.contrastive else "nothing",
        decode_size=round(preprocess.size * ENLARGED) if options.augment else None,
        decode_source=ENLARGED_SOURCE,
        base=BaseWeights(
            "MAE",
            "PaCX-MAE §3, stage 1a",
            begun=partial(configure, name, options),
            usual=partial(shipped, name=name, modalities=options.modalities),
            usual_on="phantom data" if fits_shipped(name) else "",
        ),
        backbone=replace(given.config if given else arch, norm_eps=options.norm_eps),
    )


METHOD, PLUGIN = declare(
    name="pacx",
    summary="PaCX-MAE: an MAE that learnt from ECGs and laboratory values (arXiv 2606.01537)",
    usage="pacx[:mean|cls|mean+sd][@WEIGHTS]",
    options=OPTIONS,
    recipes=RECIPES,
    configure=configure,
    objective=PaCX,
    load=load,
    untrained=untrained_by_name("cls"),
    constants=constants,
    meant=meant,
    without_weights=HOW_TO,
)
