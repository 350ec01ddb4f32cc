"""FaNe as an encoder: what is kept of its training, images for probes and decoders, texts in one space with images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from cxrbench.encoder import NOTHING, Attentions, EncoderCard, EncoderRequest, Features, Preprocess
from cxrbench.encoders.backbones.checkpoint import TrainedEncoder, read_encoder
from cxrbench.encoders.backbones.encoder import (
    PHANTOM_ARCH,
    Pooling,
    how_to_pretrain,
    parse_pooling,
    pool,
    vit_attentions,
)
from cxrbench.encoders.backbones.vit import infer_config
from cxrbench.encoders.fane.image import (
    ImageConfig,
    ViTImage,
    as_plain,
    build_image_tower,
    from_plain,
    image_preprocess,
    infer_image_config,
    parse_image_arch,
)
from cxrbench.encoders.fane.text import (
    LONGEST,
    SentencePool,
    TextHead,
    Texts,
    TextTower,
    joined_states,
    joined_tokens,
    projection,
    split_sentences,
    stacked,
    stacked_states,
)
from cxrbench.encoders.sidecar import refuse_sidecar
from cxrbench.encoders.text.bert import Bert, TextSource, load_bert, padded, sentence_states, token_numbers
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.files.checkpoints import leave_out, load_strict


@dataclass(frozen=True)
class FaNeConfig:
    """What it takes to build the kept network.

    ``dim``: D of the common space. ``pool``, ``inner``, ``head``: see TextTower. ``bert``: a trained BERT's config,
    which is in the file then; None: a frozen one's, which is ``text`` and is not.
    """

    image: ImageConfig
    text: TextSource
    dim: int = 128
    pool: SentencePool = "attention"
    inner: int = 0
    bert: Mapping[str, Any] | None = None
    head: TextHead = "ours"

    def as_plain(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "image": as_plain(self.image), "text": asdict(self.text), "dim": self.dim, "pool": self.pool,
            "inner": self.inner, "bert": None if self.bert is None else dict(self.bert), "head": self.head,
        }  # fmt: skip

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> "FaNeConfig":
        """What ``as_plain`` wrote."""
        text, image = TextSource(**values["text"]), from_plain(values["image"])
        return FaNeConfig(**{**values, "text": text, "image": image})


class FaNeNetwork(nn.Module):
    """What is kept: the image tower, and of the text tower all that is trained; both end in the common space.

    Names are the paper's code's where they are known. What only the training uses (local projections, sparse attention)
    is not here. ``bert``: trained weights to start from; None: those of the configuration, untrained, if it has one.
    """

    def __init__(self, config: FaNeConfig, bert: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = build_image_tower(config.image)
        self.global_image_projection = projection(self.image_encoder.width, config.dim)
        if bert is None and config.bert is not None:
            bert = transformers.BertModel(transformers.BertConfig(**config.bert), add_pooling_layer=False)
        self.text_tower = TextTower(config.text.width, config.dim, config.pool, config.inner, bert, config.head)


class FaNeImageEncoder(nn.Module):
    """The image tower alone: ``pooled`` before the projection, 2048 numbers of a ResNet-50, the CLS token of a ViT.

    ``pooling``: of a ViT's tokens (``pool``); texts meet CLS alone.
    """

    def __init__(
        self, image_encoder: nn.Module, preprocess: Preprocess, card: EncoderCard, pooling: Pooling = "cls"
    ) -> None:
        super().__init__()
        self.image_encoder, self.preprocess, self.card = image_encoder, preprocess, card
        self.pooling: Pooling = pooling

    def forward(self, images: Tensor) -> Features:
        """Images [B, channels, size, size] to pooled [B, D] and four maps: a CNN's stages, or a ViT's blocks."""
        seen = self.image_encoder(images)
        if self.pooling == "cls":
            return Features(seen.pooled, seen.maps)
        return Features(pool(seen.places, seen.places.shape[1], self.pooling), seen.maps)

    def attentions(self, images: Tensor) -> Attentions:
        """Of a ViT's blocks, read where ``pooled`` is. Raises NotApplicableError for a ResNet."""
        tower = self.image_encoder
        if not isinstance(tower, ViTImage):
            raise NotApplicableError("its image side is a ResNet, whose blocks do not attend")
        return vit_attentions(tower.model, self.pooling, lambda: tower(images))


class FaNeEncoder(FaNeImageEncoder):
    """Both towers. One encoder serves probes, which read ``pooled``, and text tasks, which ``project`` it.

    A frozen BERT is none of its weights: it is looked for when the first text comes, and whoever has none can still
    embed images. Its digest is a buffer, so that another BERT makes another encoder.
    """

    def __init__(self, network: FaNeNetwork, preprocess: Preprocess, card: EncoderCard) -> None:
        super().__init__(network.image_encoder, preprocess, card)
        self.config = network.config
        self.global_image_projection = network.global_image_projection
        self.text_tower = network.text_tower
        digest = torch.tensor(list(bytes.fromhex(network.config.text.sha256)), dtype=torch.uint8)
        self.register_buffer("text_sha256", digest, persistent=False)
        self._found: list[Bert] = []  # in a list, so that it becomes no submodule: the weights must stay what they are

    def project(self, pooled: Tensor) -> Tensor:
        """``pooled`` [n, D] of ``forward`` in the space of ``encode_text``: [n, dim], at length one."""
        return F.normalize(self.global_image_projection(pooled), dim=1)

    def encode_text(self, texts: list[str]) -> Tensor:
        """Reports or prompts in the space of ``project``: [len(texts), dim], at length one.

        Raises NotApplicableError where the text encoder is not on this machine.
        """
        reports = self.texts([split_sentences(text) or [text.strip() or "."] for text in texts]).reports
        return F.normalize(self.text_tower.projection(reports), dim=1)

    def texts(self, sentences: Sequence[Sequence[str]]) -> Texts:
        """Reports by their sentences, as the text tower has them. Raises NotApplicableError as ``encode_text``."""
        bert, device = self.bert(), self.global_image_projection.weight.device
        rows = token_numbers(bert.tokeniser, list(chain.from_iterable(sentences)))
        ends = [0, *torch.tensor([len(s) for s in sentences]).cumsum(0).tolist()]
        if self.text_tower.bert is None:
            states, index = self._frozen(bert, rows, ends, device)
        else:
            pairs = [joined_tokens(rows[a:b], bert.tokeniser) for a, b in pairwise(ends)]
            ids, attention = padded([ids for ids, _ in pairs], bert.tokeniser.pad_token_id)
            states = self.text_tower.bert(input_ids=ids.to(device), attention_mask=attention.to(device))
            states, index = states.last_hidden_state, stacked([index for _, index in pairs])
        return self.text_tower(states, index.to(device))

    def _frozen(
        self, bert: Bert, rows: Sequence[Sequence[int]], ends: Sequence[int], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """States of reports whose sentences are read one by one, as in training."""
        read = sentence_states(bert, rows, device, LONGEST)
        joined = [joined_states(read[a:b]) for a, b in pairwise(ends)]
        return stacked_states([s for s, _ in joined]).to(device).float(), stacked([index for _, index in joined])

    def bert(self) -> Bert:
        """The text encoder that it was trained with. Raises NotApplicableError if it is not here, or another one."""
        wanted = self.config.text
        if not self._found:
            try:
                found = load_bert(wanted.name)
            except UserError as error:
                raise NotApplicableError(f"its text encoder {wanted.name} is not here ({error})") from error
            if found.source.sha256 != wanted.sha256:
                raise NotApplicableError(
                    f"its text encoder was {wanted.name} with weights {wanted.sha256[:12]}, and here that name has "
                    f"{found.source.sha256[:12]}"
                )
            self._found.append(found)
        return self._found[0]


def untrained(arch: str, seed: int) -> FaNeImageEncoder:
    """The image tower with random weights."""
    config = parse_image_arch(arch or PHANTOM_ARCH, channels=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = build_image_tower(config)
    card = EncoderCard("none (random weights)", "Apache-2.0", NOTHING)
    return FaNeImageEncoder(tower, image_preprocess(config), card)


def load(request: EncoderRequest) -> FaNeImageEncoder:
    """``fane[:POOLING]@WEIGHTS``: our encoder.safetensors or .ckpt, or the image side of the paper's code's layout."""
    pooling = parse_pooling(request, "cls")
    if request.weights is None:
        raise UserError(f"fane has no weights for real images: {how_to_pretrain('fane', 'mimic')}")
    path = Path(request.weights).expanduser()
    found = read_encoder(path, "fane")
    if found.architecture is None or found.preprocess is None:
        encoder = published(found, path)
        return read_at(pooling, encoder) if request.variant else encoder
    network = FaNeNetwork(FaNeConfig.from_plain(found.architecture))
    load_strict(network, found.state, path)
    encoder = FaNeEncoder(network, found.preprocess, found.card)
    return read_at(pooling, encoder) if request.variant else encoder


def read_at(pooling: Pooling, encoder: FaNeImageEncoder) -> FaNeImageEncoder:
    """A ViT's encoder read at ``pooling``; what no projection takes to texts has no text side."""
    tower = encoder.image_encoder
    if not isinstance(tower, ViTImage):
        raise UserError(f"fane:{pooling}: a ResNet has no tokens and is read at its attention pool: leave it out")
    return encoder if pooling == "cls" else FaNeImageEncoder(tower, encoder.preprocess, encoder.card, pooling)


UNUSED = ("global_image_projection.", "global_text_projection.", "local_image_projection.", "local_text_projection.",
          "local_cross_attention.", "global_text_attention.", "item_gather.", "text_encoder.", "tool_bert.", "tau",
          "beta", "image_encoder.global_embed.", "image_encoder.model.fc.", "image_encoder.model.head.")  # fmt: skip


def published(found: TrainedEncoder, path: Path) -> FaNeImageEncoder:
    """The image tower of a checkpoint of the paper's code, a ResNet or a ViT with timm's names; all of it must fit.

    Its text side is left out: its file does not say which BERT wrote the states that the official head pools.
    """
    refuse_sidecar(path)
    state = leave_out(found.state, UNUSED, path)
    tower = {name.removeprefix("image_encoder."): value for name, value in state.items()}
    vit = {name.removeprefix("model."): value for name, value in tower.items()}
    config = infer_config(vit, path) if "patch_embed.proj.weight" in vit else infer_image_config(tower, path)
    encoder = FaNeImageEncoder(
        build_image_tower(config), image_preprocess(config, odd=True), EncoderCard("FaNe", "unknown", ("mimic",))
    )
    load_strict(encoder, state, path)
    return encoder
