"""MVMAE: masked autoencoding of every view of a study, aligned with each other; MVMAE-V2T writes its report, too.

Each view of a study is masked by itself and reconstructed; pooled tokens of its views are drawn together, with a
weight that is annealed. V2T adds a causal text decoder on one view's visible tokens, which must tell the report. Where
paper, official code and reason disagree, ``options.VARIANTS`` says what is done; the default is ``fixed``.

Formulas, variants, sources: docs/methods.md.
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.backbones.masking import (
    Masking,
    kept_tokens,
    masked_error,
    patchify,
    random_masking,
    take,
    unpatchify,
)
from cxrbench.encoders.backbones.vit import ViTConfig, initialise_as_torch
from cxrbench.encoders.mvmae.augment import NUMBERS, PLACE, SCALE, augment
from cxrbench.encoders.mvmae.backbone import MultiviewBackbone, backbone_config
from cxrbench.encoders.mvmae.constants import constants, meant
from cxrbench.encoders.mvmae.decoder import MultiviewDecoder
from cxrbench.encoders.mvmae.encoder import load, untrained
from cxrbench.encoders.mvmae.initialisation import initialise_text_as_torch
from cxrbench.encoders.mvmae.losses import alignment, beta_at, per_study, spread
from cxrbench.encoders.mvmae.options import OPTIONS, V2T_OPTIONS, MVMAEOptions, V2TOptions, preprocess_of
from cxrbench.encoders.mvmae.text import TextDecoder, words_width
from cxrbench.encoders.pretraining.augment import decode_size
from cxrbench.encoders.pretraining.corpus import TrainingImages
from cxrbench.encoders.pretraining.declare import declare
from cxrbench.encoders.pretraining.method import Advice, Batch, Blueprint, Draw, Loss, Objective, gather_batch
from cxrbench.encoders.pretraining.studies import StudyCorpus, group_studies, report_texts
from cxrbench.encoders.recipes.mvmae import RECIPES, V2T_RECIPES
from cxrbench.encoders.text.tokens import Vocabulary, load_tokeniser, tokenise
from cxrbench.errors import UserError

WITHOUT_REPORTS = "use mvmae, or --data with reports (mimic)"


class Encoded(NamedTuple):
    """The P present views of a batch: ``target`` patches [P, N, patch²], their masking, codes, tokens [P, 1 + n, D]."""

    target: Tensor
    masking: Masking
    views: Tensor
    tokens: Tensor


def visible_patches(arch: ViTConfig, options: MVMAEOptions) -> int:
    """How many patches of a view are seen. Raises UserError where all are, or none."""
    visible = kept_tokens(arch.tokens, options.mask, options.floor_slack)
    if not 0 < visible < arch.tokens:
        raise UserError(f"mask {options.mask} leaves {visible} of {arch.tokens} patches visible: change it")
    return visible


class MVMAE(Objective):
    """The objective. With ``vocabulary``, whose options must be V2T's, it is MVMAE-V2T.

    Slots without an image are dropped before anything is computed. Every term is a mean over studies, so that processes
    with the same number of them learn what one process learns; a study without a report has a text loss of 0.
    """

    spread_left = 0.1  # reconstruction does not ask for a CLS token that differs: it does so later
    advice = Advice(
        one_point="a lower --option beta, which weighs how like views must be, or a lower --lr",
        few_dimensions="a lower --option beta or a lower --option mask",
    )

    def __init__(self, arch: ViTConfig, options: MVMAEOptions, vocabulary: Vocabulary | None = None) -> None:
        super().__init__()
        self.options, self.preprocess = options, preprocess_of(arch, options)
        self.visible = visible_patches(arch, options)
        self.backbone = MultiviewBackbone(arch)
        self.decoder = MultiviewDecoder(arch, options.decoder_depth)
        self.text: TextDecoder | None = None
        if vocabulary is not None:
            assert isinstance(options, V2TOptions)
            self.text = TextDecoder(arch, vocabulary, options.decoder)
        if options.initialisation == "torch":
            initialise_as_torch(self.backbone, self.decoder)
            if self.text is not None:
                initialise_text_as_torch(self.text)

    def augmented(self, batch: Batch, draw: Draw) -> Batch:
        """Crops, flips and jitter, where ``augment`` is on. Random numbers are drawn for every slot, present or not."""
        present, options = batch.more["present"], self.options
        if not options.augment:
            return batch
        u = draw.rand(*present.shape, NUMBERS)
        if options.align == "token_shared_mask":  # crop and flip are the study's, colours each image's
            u[:, :, :PLACE] = u[:, :1, :PLACE].clone()
        pixels, size = self.plain(batch.images[present]), self.preprocess.size
        cut = augment(pixels, u.to(pixels.device)[present], flip=options.flip, size=size)
        return Batch(spread(self.normalised(cut), present), batch.more)

    def forward(self, batch: Batch, draw: Draw) -> Loss:
        """Studies as of ``StudyCorpus``: images [B, V, 1, size, size], ``views``, ``present`` and maybe ``text``."""
        present, options = batch.more["present"], self.options
        seen = self.encode(batch, draw)
        error = masked_error(
            self.decoder(seen.tokens, seen.masking.restore, seen.views), seen.target, seen.masking.hidden
        )
        if options.nominal_ratio:
            error = error * (1 - self.visible / seen.target.shape[1]) / options.mask
        terms = {
            "reconstruction": per_study(error, present, all_slots=options.all_slots),
            "alignment": alignment(spread(seen.tokens, present), present, options.align, all_slots=options.all_slots),
        }
        if self.text is not None:
            terms["text"] = self.text_loss(self.text, seen, present, batch.more["text"])
        means = dict(zip(terms, gather_batch(torch.stack(list(terms.values()), dim=1)).mean(dim=0), strict=True))
        beta = beta_at(draw.progress, options.beta, late=options.late_midpoint)
        rest = means["reconstruction"]
        if isinstance(options, V2TOptions):
            rest = (rest + options.text_weight * means["text"]) * (0.5 if options.halved else 1)
        logged = {name: value.detach() for name, value in means.items()} | {"beta": torch.tensor(beta)}
        return Loss(rest + beta * means["alignment"], logged)

    def encode(self, batch: Batch, draw: Draw) -> Encoded:
        """Mask and encode the present views. Random numbers are drawn for every slot, present or not."""
        present, options = batch.more["present"], self.options
        studies, slots = present.shape
        one_mask = options.align == "token_shared_mask"
        noise = draw.rand(studies, 1 if one_mask else slots, self.backbone.config.tokens).expand(-1, slots, -1)
        images, views = batch.images[present], batch.more["views"][present]
        masking = random_masking(noise.to(images.device)[present], self.visible)
        tokens = self.backbone.encode(take(self.backbone.embed(images, views), masking.kept))
        return Encoded(patchify(images, self.backbone.config.patch), masking, views, tokens)

    def text_loss(self, decoder: TextDecoder, seen: Encoded, present: Tensor, text: Tensor) -> Tensor:
        """Cross entropy of each study's report, mean over its views: [B]; 0 without a report."""
        reported = text[:, 0] != decoder.vocabulary.padding
        study = present.nonzero()[:, 0]
        told = reported[study]
        losses = seen.tokens.new_zeros(len(study), dtype=torch.float32)
        if told.any():
            modality = self.decoder.modality[seen.views[told]]
            places = memory_places(seen.masking, self.options)[told]
            entropy = decoder(seen.tokens[told], places, modality, text[study[told]])
            losses = losses.index_put((told,), entropy)
        return per_study(losses, present, all_slots=self.options.all_slots)

    def plain(self, images: Tensor) -> Tensor:
        """Normalised images, back in [0, 1]."""
        return images * self.preprocess.std[0] + self.preprocess.mean[0]

    def normalised(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the backbone wants them."""
        return (images - self.preprocess.mean[0]) / self.preprocess.std[0]

    def kept(self) -> MultiviewBackbone:
        """The backbone."""
        return self.backbone

    def watched(self, images: Tensor) -> dict[str, Tensor]:
        """The CLS token, every image taken to be frontal."""
        return {"": self.backbone(images, torch.zeros(len(images), dtype=torch.int64, device=images.device))[0][:, 0]}

    def architecture(self) -> dict[str, Any]:
        """Of the backbone."""
        return asdict(self.backbone.config)

    def picture(self, batch: Batch, draw: Draw) -> Tensor:
        """A row per study, and of each view the image, what is visible of it, and the image with the rest made up."""
        present, patch = batch.more["present"], self.backbone.config.patch
        seen = self.encode(batch, draw)
        made = self.decoder(seen.tokens, seen.masking.restore, seen.views).float()
        hidden = seen.masking.hidden[:, :, None]
        black = self.normalised(torch.zeros_like(seen.target))
        shown = [seen.target, torch.where(hidden, black, seen.target), torch.where(hidden, made, seen.target)]
        views = self.plain(torch.cat([unpatchify(patches, patch) for patches in shown], dim=3))[:, 0]
        return torch.cat(list(torch.cat(list(spread(views, present).unbind(1)), dim=2)), dim=0)


def memory_places(masking: Masking, options: MVMAEOptions) -> Tensor:
    """Patch numbers [P, n] whose positions the text decoder adds to the n visible tokens.

    ``shuffled``: the official ``pos_embedding[backward_indexes[:n]]``, where the first n patches of the raster were put
    by the shuffle. The visible ones' own numbers are ``forward_indexes[:n]``.
    """
    shuffled = isinstance(options, V2TOptions) and options.text_memory == "shuffled"
    return masking.restore[:, : masking.kept.shape[1]] if shuffled else masking.kept


def study_corpus(images: TrainingImages, options: MVMAEOptions) -> StudyCorpus:
    """The images by studies, with their reports for V2T. Raises UserError if V2T has none."""
    studies, reports = group_studies(images), None
    if isinstance(options, V2TOptions):
        texts = report_texts(images, studies, options.text)
        reports = tokenise(
            texts, load_tokeniser(options.tokenizer), options.text_length, seen_only=options.vocabulary == "seen"
        )
        if not reports.count:
            raise UserError(
                f"mvmae-v2t learns from reports (text={options.text}), and none of the {len(studies):,} training "
                f"studies has one: {WITHOUT_REPORTS}"
            )
    return StudyCorpus(images, studies, options.max_views, reports)


def needed(manifests: Sequence[Manifest], options: MVMAEOptions) -> None:
    """V2T has a tokeniser, and a data set with reports. Raises UserError."""
    if isinstance(options, V2TOptions):
        load_tokeniser(options.tokenizer)
        if all(manifest.reports is None for manifest in manifests):
            names = ", ".join(manifest.name for manifest in manifests)
            raise UserError(f"mvmae-v2t learns from reports, and {names} has none: {WITHOUT_REPORTS}")


def configure(arch: str, options: MVMAEOptions) -> Blueprint:
    """MVMAE on studies; MVMAE-V2T, if the options are its."""
    config = backbone_config(arch)
    visible_patches(config, options)
    if isinstance(options, V2TOptions):
        words_width(config, options.decoder)

    def objective(corpus: StudyCorpus) -> MVMAE:
        if not isinstance(options, V2TOptions):
            return MVMAE(config, options)
        assert corpus.reports is not None
        return MVMAE(config, options, corpus.reports.vocabulary)

    corpus = partial(study_corpus, options=options)
    return Blueprint(
        preprocess_of(config, options),
        options,
        objective,
        corpus=corpus,
        needed=partial(needed, options=options),
        decode_size=decode_size(config.size, SCALE[0]) if options.augment else None,
        backbone=config,
    )


METHOD, PLUGIN = declare(
    name="mvmae",
    summary="MVMAE: masked autoencoding of a study's views, aligned with each other",
    usage="mvmae[:F|L|U][-cls|-mean|-mean+sd][@WEIGHTS]",
    options=OPTIONS,
    recipes=RECIPES,
    configure=configure,
    objective=MVMAE,
    load=load,
    untrained=untrained,
    constants=constants,
    meant=meant,
    data="mimic",
)
V2T_METHOD, V2T_PLUGIN = declare(
    name="mvmae-v2t",
    summary="MVMAE-V2T: MVMAE that also learns to write the report",
    usage="mvmae-v2t[:F|L|U][-cls|-mean|-mean+sd][@WEIGHTS]",
    options=V2T_OPTIONS,
    recipes=V2T_RECIPES,
    configure=configure,
    objective=MVMAE,
    load=load,
    untrained=untrained,
    constants=constants,
    meant=meant,
    data="mimic",
)
