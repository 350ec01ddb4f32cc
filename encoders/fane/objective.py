"""FaNe: vision-language pretraining with false negatives found and fine detail asked for (AAAI 2026).

Images and reports meet in one space by a sigmoid loss in which an image has several positives: all reports that say
what its own does (semantic division). Within a report, every sentence must find what it says in the image, through a
sparse mask over the patches; within each modality, hard negatives are pushed apart. Where the paper, its code and
reason disagree, ``options.VARIANTS`` says what is done; the default is ``fixed``.

Formulas, variants, sources: docs/methods.md.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxrbench.encoders.backbones.precision import full_precision
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.fane.attention import SparseAttentionPool, initialise_pools_as_torch, sparsity
from cxrbench.encoders.fane.constants import constants, meant
from cxrbench.encoders.fane.corpus import ReportCorpus, has_sentences, report_corpus
from cxrbench.encoders.fane.division import SemanticDivision
from cxrbench.encoders.fane.encoder import FaNeConfig, FaNeNetwork, load, untrained
from cxrbench.encoders.fane.image import (
    ImageConfig,
    image_preprocess,
    parse_image_arch,
    rotate_and_flip,
    source_weights,
)
from cxrbench.encoders.fane.losses import (
    TAU1,
    TAU2,
    TAU3,
    hard_negatives,
    mean_within_report,
    multi_positive_sigmoid,
    within_report,
)
from cxrbench.encoders.fane.options import OPTIONS, PRIOR, FaNeOptions, first_bias
from cxrbench.encoders.fane.sentences import open_sentences
from cxrbench.encoders.fane.text import Texts, initialise_biases_as_torch, projection
from cxrbench.encoders.pretraining.declare import declare
from cxrbench.encoders.pretraining.method import Advice, Batch, Blueprint, Draw, Loss, Objective, gather_batch
from cxrbench.encoders.recipes.fane import RECIPES
from cxrbench.encoders.text.bert import load_bert

ACCUMULATED = ", by which the average similarity moves with every batch, not once for a step"


class Local(NamedTuple):
    """Per report [B]: the sum and the number of the terms of L_tc, and L_spa, None without a mask."""

    sums: Tensor
    counts: Tensor
    sparsity: Tensor | None


class FaNe(Objective):
    """The objective. L = L_mp + λ₁ L_tc + λ₂ L_hn + λ₃ L_spa; names of the parts are the code's where they are known.

    With ``gather``, what processes share are the embeddings of pairs, so negatives, positives and the memory of the
    semantic division are those of the joined batch; the paper's code compares within a process. A ResNet's batch norms
    see the batch of all GPUs; of several processes on CPUs each has its own.
    """

    advice = Advice(
        one_point="a lower --lr or a longer --warmup",
        few_dimensions="a larger --batch-size or a lower --option hn",
    )

    def __init__(self, image: ImageConfig, options: FaNeOptions, corpus: ReportCorpus) -> None:
        super().__init__()
        self.options = options
        self.preprocess = image_preprocess(image, options.odd_mean)
        bert, bert_config = None, None
        if options.train_text:
            bert = load_bert(options.text).model.requires_grad_(True).train()
            bert.pooler = None
            bert_config = json.loads(bert.config.to_json_string())
        config = FaNeConfig(
            image, corpus.source, options.dim, options.sentence_pool, options.pool_width, bert_config, options.text_head
        )
        self.network = FaNeNetwork(config, bert)
        self.local_image_projection = projection(self.network.image_encoder.local_width, options.dim)
        wide = options.text_head == "ours"  # else sentences are in the common space when they are pooled
        self.local_text_projection = projection(corpus.source.width, options.dim) if wide else nn.Identity()
        if options.initialisation == "torch":
            initialise_pools_as_torch(self.network)
            tower = self.network.text_tower
            initialise_biases_as_torch(
                self.network.global_image_projection, self.local_image_projection, self.local_text_projection,
                tower.token_projection, tower.projection,
            )  # fmt: skip
        # Behind all else that is drawn: whether there is a mask moves no other number.
        self.local_cross_attention = SparseAttentionPool(options.dim, options.mask_mode)
        self.division = SemanticDivision(options.kappa, options.alpha, options.ema, options.similarity)
        self.tau = nn.Parameter(torch.tensor(options.scale), requires_grad=options.learn_scale)
        # With ``prior`` beta is what is learnt beyond the bias of the batch's size, which only a batch knows.
        start = 0.0 if options.initial_bias == PRIOR else first_bias(options.initial_bias, 0)
        self.beta = nn.Parameter(torch.tensor(start), requires_grad=options.learn_bias)

    def augmented(self, batch: Batch, draw: Draw) -> Batch:
        """A rotation and a flip, where ``augment`` is on. They keep the scale: nothing is gained by larger images."""
        if not self.options.augment:
            return batch
        mean, std = (batch.images.new_tensor(v)[:, None, None] for v in (self.preprocess.mean, self.preprocess.std))
        return Batch(rotate_and_flip(batch.images, draw, black=-mean / std), batch.more)

    def forward(self, batch: Batch, draw: Draw) -> Loss:
        """Images [B, channels, size, size] and what ReportCorpus adds."""
        options = self.options
        seen, texts = self.network.image_encoder(batch.images), self.texts(batch)
        v = self.network.global_image_projection(seen.pooled)
        t = self.network.text_tower.projection(texts.reports)
        local = self.local(texts, seen.places) if options.tc or options.spa else None  # no mask: tc is more than 0
        with full_precision(v.device):
            return self.losses(v.float(), t.float(), batch.more["reports"], local)

    def losses(self, v: Tensor, t: Tensor, reports: Tensor, local: Local | None) -> Loss:
        """The total, and each of its terms without its weight. v, t: [B, D] of images and reports."""
        options = self.options
        share = gather_batch if options.gather else lambda rows: rows
        v, t = share(F.normalize(v, dim=1)), share(F.normalize(t, dim=1))
        same = self.division(share(reports))
        terms: dict[str, Tensor] = {}
        facts: dict[str, Tensor] = {}
        if options.mp:
            cosines, scale, bias = v @ t.T, self.tau / TAU1, self.bias_of(len(v))
            terms["mp"] = multi_positive_sigmoid(cosines, same, scale, bias)
            right = (cosines * scale + bias > 0) & same
            facts = {"scale": scale, "bias": bias, "positives_right": right.sum() / same.sum()}
        if local is not None:
            sums, counts = share(local.sums), share(local.counts)
            terms["tc"] = mean_within_report(sums, counts, per_report=options.average == "reports")
            if local.sparsity is not None:
                terms["spa"] = share(local.sparsity).mean()
        if options.hn:
            push = partial(hard_negatives, same=same, temperature=TAU3, form=options.hard_negatives)
            terms["hn"] = (push(v @ v.T) + push(t @ t.T)) / 2
        total = torch.stack([getattr(options, name) * term for name, term in terms.items()]).sum()
        facts["positives"] = same.sum(dim=1).float().mean()
        if options.similarity == "normalised":
            facts["average_similarity"] = self.division.memory
        return Loss(total, {name: value.detach() for name, value in (terms | facts).items()})

    def bias_of(self, batch: int) -> Tensor:
        """The sigmoid loss's bias in a batch of so many pairs, a scalar."""
        beta = self.beta + first_bias(PRIOR, batch) if self.options.initial_bias == PRIOR else self.beta
        return -beta if self.options.bias == "printed" else beta

    def rate_factors(self) -> Mapping[str, float]:
        """Of scale and bias, where they are learnt."""
        if self.options.fast == 1:
            return {}
        return {name: self.options.fast for name in ("tau", "beta") if getattr(self, name).requires_grad}

    def texts(self, batch: Batch) -> Texts:
        """Sentences and reports of a batch, by the trained BERT or out of its frozen states."""
        tower = self.network.text_tower
        if tower.bert is None:
            return tower(batch.more["states"].float(), batch.more["sentence_index"])
        read = tower.bert(input_ids=batch.more["tokens"], attention_mask=batch.more["attention"])
        return tower(read.last_hidden_state, batch.more["sentence_index"])

    def local(self, texts: Texts, places: Tensor) -> Local:
        """What each sentence finds in its image, and through how sparse a mask, where there is one."""
        sentences = self.local_text_projection(texts.sentences)
        found = self.local_cross_attention(sentences, self.local_image_projection(places))
        with full_precision(places.device):
            sums, counts = within_report(found.visual.float(), sentences.float(), texts.present, TAU2)
            return Local(sums, counts, None if found.mask is None else sparsity(found.mask, texts.present))

    def beginnings(self) -> tuple[nn.Module, ...]:
        """The ViT or the ResNet of the image side."""
        return (self.network.image_encoder.model,)

    def kept(self) -> FaNeNetwork:
        """Both towers with the projections to the common space; a frozen BERT is not in it."""
        return self.network

    def watched(self, images: Tensor) -> dict[str, Tensor]:
        """The image tower's vectors, before their projection."""
        return {"": self.network.image_encoder(images).pooled}

    def architecture(self) -> dict[str, Any]:
        """Of both towers, and which text encoder it was."""
        return self.network.config.as_plain()

    def picture(self, batch: Batch, draw: Draw) -> Tensor | None:
        """The first image, and beside it where up to three of its sentences look: [side, up to 4 · side] in [0, 1]."""
        del draw
        first = Batch(batch.images[:1], {name: tensor[:1] for name, tensor in batch.more.items()})
        seen, texts = self.network.image_encoder(first.images), self.texts(first)
        sentences = self.local_text_projection(texts.sentences)
        attention = self.local_cross_attention(sentences, self.local_image_projection(seen.places)).attention[0, :3]
        side = math.isqrt(attention.shape[1])
        maps = F.interpolate(attention.float().reshape(1, -1, side, side), size=first.images.shape[-2:])[0]
        return torch.cat([spread(image) for image in (first.images[0, 0].float(), *maps)], dim=1)


def spread(image: Tensor) -> Tensor:
    """Stretched to [0, 1]; a constant one is black."""
    low, high = image.min(), image.max()
    return (image - low) / (high - low).clamp_min(1e-6)


def configure(arch: str, options: FaNeOptions) -> Blueprint:
    """FaNe on studies with a frontal image and a report."""
    image = parse_image_arch(arch, 3 if options.odd_mean else 1)
    if isinstance(image, ViTConfig):
        image = replace(image, learned_positions=options.learn_positions)
    return Blueprint(
        image_preprocess(image, options.odd_mean),
        options,
        lambda corpus: FaNe(image, options, corpus),
        corpus=partial(report_corpus, text=options.text, train_text=options.train_text),
        eligible=partial(has_sentences, least=options.min_sentences),
        compared=("joined" if options.gather else "process") if options.mp or options.hn else "nothing",
        within_process="" if options.gather or not (options.mp or options.hn) else "pairs are compared",
        if_accumulated=ACCUMULATED if options.similarity == "normalised" else "",
        needed=lambda manifests: load_bert(options.text),
        wants=f"frontal training images with a report of {options.min_sentences} sentences or more",
        recomputes=isinstance(image, ViTConfig) or options.train_text,
        source_weights=None if options.variant == "fixed" else source_weights(image),
        backbone=image,
    )


METHOD, PLUGIN = declare(
    name="fane",
    summary="FaNe: images and reports in one space, with several positives and sparse attention (AAAI 2026)",
    usage="fane[:mean|cls|mean+sd][@WEIGHTS]",
    options=OPTIONS,
    recipes=RECIPES,
    configure=configure,
    objective=FaNe,
    load=load,
    untrained=untrained,
    constants=constants,
    meant=meant,
    data="mimic",
    sentences=open_sentences,
)
