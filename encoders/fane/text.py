"""FaNe's text side: reports as shuffled sentences, sentences as vectors, a report as one vector."""

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrbench.encoders.fane.attention import AttentionPool, SoftmaxPool

PROJECTED = -0.5  # power of a layer's width that is the standard deviation of its weights at the start
LONGEST = 112  # tokens of a report, [CLS] and [SEP] among them
BLANKS = re.compile(r"[ \t]+")
NUMBER = re.compile(r"(?:^|(?<=[.!?:] )|(?<=\n))\s*\d{1,2}[.)]\s+")  # of a list's entry
END = re.compile(r"(?<!\bDr\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bMrs\.)(?<!\bvs\.)(?<=[.!?])\s+|\s*\n\s*")
WORD = re.compile(r"[^\W\d_]{2,}")

SentencePool = Literal["attention", "mean"]
TextHead = Literal["ours", "official"]


def split_sentences(text: str) -> list[str]:
    """The sentences of a report, in order: list numbers are dropped, and so is what has no word in it."""
    parts = (part.strip() for part in END.split(NUMBER.sub("\n", BLANKS.sub(" ", text))))
    return [part for part in parts if WORD.search(part)]


def place(rows: Sequence[Sequence[int]], longest: int = LONGEST) -> list[tuple[int, int]]:
    """How many tokens of each sentence fit, as (its place in ``rows``, tokens): what is beyond ``longest`` is cut.

    [CLS] and [SEP] keep their places; a sentence that is cut whole is not in the list.
    """
    left, fitting = longest - 2, []
    for i, row in enumerate(rows):
        if tokens := min(len(row), left):
            fitting.append((i, tokens))
            left -= tokens
    return fitting


def joined_tokens(rows: Sequence[Sequence[int]], tokeniser: Any) -> tuple[list[int], list[int]]:
    """A report: [CLS] sentences [SEP], and of each token the number of its sentence, 1..P; 0 of [CLS] and [SEP]."""
    fitting = place(rows)
    ids = [tokeniser.cls_token_id, *(t for i, n in fitting for t in rows[i][:n]), tokeniser.sep_token_id]
    index = [0, *(k for k, (_, n) in enumerate(fitting, 1) for _ in range(n)), 0]
    return ids, index


def joined_states(rows: Sequence[NDArray[np.float16]]) -> tuple[NDArray[np.float16], list[int]]:
    """A report out of the states [tokens, C] of sentences that were read one by one, and the sentence of each token."""
    fitting = place(rows)  # type: ignore[arg-type]
    states = np.concatenate([rows[i][:n] for i, n in fitting])
    return states, [k for k, (_, n) in enumerate(fitting, 1) for _ in range(n)]


def stacked(index: Sequence[Sequence[int]]) -> Tensor:
    """``sentence_index`` int64 [B, longest], padded with 0."""
    length = max(map(len, index))
    return torch.tensor([[*row, *[0] * (length - len(row))] for row in index])


def stacked_states(states: Sequence[NDArray[np.float16]]) -> Tensor:
    """States of B reports, float16 [B, longest, C], padded with 0."""
    result = torch.zeros(len(states), max(map(len, states)), states[0].shape[1], dtype=torch.float16)
    for target, row in zip(result, states, strict=True):
        target[: len(row)] = torch.from_numpy(row)
    return result


class Texts(NamedTuple):
    """``sentences``: [B, P, C], of which ``present`` (bool [B, P]) are there; ``reports``: [B, C].

    C: channels of the text encoder, or, of the official head, of the common space.
    """

    sentences: Tensor
    present: Tensor
    reports: Tensor


class TextTower(nn.Module):
    """From the states of a report's tokens to its sentences, and to the report.

    A sentence is pooled from its tokens, by ``attention`` (the paper) or as their ``mean`` (the code's default); a
    report from its sentences by CLIP's attention pool, without positions: their order does not matter. ``projection``
    takes reports to the space of images. ``inner``: channels of the pools' attention (0: as wide as the text encoder).
    ``bert``: the encoder itself, where it is trained.

    ``head``: ``ours`` pools as wide as the text encoder, as the paper says it, sentences by CLIP's pool, too.
    ``official`` is the code's: tokens are projected to the space of images before anything is pooled, sentences by a
    ``SoftmaxPool``; one projection serves sentences and reports.
    """

    def __init__(
        self,
        width: int,
        dim: int,
        pool: SentencePool,
        inner: int = 0,
        bert: nn.Module | None = None,
        head: TextHead = "ours",
    ) -> None:
        super().__init__()
        wide, attends = head == "ours", pool == "attention"
        self.token_projection = nn.Identity() if wide else projection(width, dim)
        if wide:
            self.sentence_pool = AttentionPool(width, inner=inner) if attends else None
            self.report_pool = AttentionPool(width, inner=inner)
        else:
            self.sentence_pool = SoftmaxPool(dim) if attends else None
            self.report_pool = AttentionPool(dim)
        self.projection = projection(width, dim) if wide else nn.Identity()
        self.bert: Any = bert

    def forward(self, states: Tensor, sentence_index: Tensor) -> Texts:
        """States [B, T, C] of tokens, and the number of each token's sentence [B, T], 1..P, 0: of none."""
        states = self.token_projection(states)
        of_sentence = (
            sentence_index[:, None]
            == torch.arange(1, int(sentence_index.max()) + 1, device=states.device)[None, :, None]
        )  # [B, P, T]
        lengths = of_sentence.sum(dim=2)
        present = lengths > 0
        if self.sentence_pool is None:
            sentences = of_sentence.to(states.dtype) @ states / lengths.clamp_min(1)[:, :, None]
        else:
            tokens, there = self.gathered(states, of_sentence, lengths)
            sentences = self.sentence_pool(tokens.flatten(0, 1), there.flatten(0, 1)).unflatten(0, lengths.shape)
        return Texts(sentences, present, self.report_pool(sentences, present))

    def gathered(self, states: Tensor, of_sentence: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens of each sentence, [B, P, L, C], and which of them are there: they are neighbours in a report."""
        steps = torch.arange(int(lengths.max()), device=states.device)
        there = steps < lengths[:, :, None]
        index = (of_sentence.int().argmax(dim=2)[:, :, None] + steps).where(there, 0)
        rows = torch.arange(len(states), device=states.device)[:, None, None]
        return states[rows, index], there


def projection(width: int, dim: int) -> nn.Linear:
    """A linear layer with weights of standard deviation width^-½ at first, as FaNe's four, and no bias."""
    layer = nn.Linear(width, dim)
    nn.init.normal_(layer.weight, std=width**PROJECTED)
    nn.init.zeros_(layer.bias)
    return layer


@torch.no_grad()
def initialise_biases_as_torch(*layers: nn.Module) -> None:
    """Biases of linear layers from torch's U(±n^-½), n numbers going in, where FaNe's code leaves those of its four."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.uniform_(layer.bias, -(layer.in_features**PROJECTED), layer.in_features**PROJECTED)
