"""MVMAE-V2T's text decoder: the report, word by word, from the visible tokens of one view. Used in training alone."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.text.tokens import Vocabulary
from cxrbench.errors import UserError

IGNORED = -100
HEADS = 8
MLP_RATIO, DROPOUT, NORM_EPS = 1, 0.1, 1e-5  # of a layer; the last two are torch's
WORD_STD = 0.02  # of words and positions at the start, unless as torch has them


@dataclass(frozen=True)
class TextDecoderConfig:
    """``width``: channels of a word (0: the encoder's); ``depth``: layers; ``length``: most tokens of a text.

    ``predict_end``: [SEP] is predicted. ``positions``: words have a learned position. ``start_with_padding``: r₀ is
    [PAD], as the paper writes, not [CLS].
    """

    width: int = 0
    depth: int = 4
    length: int = 300
    predict_end: bool = True
    positions: bool = True
    start_with_padding: bool = False


def words_width(encoder: ViTConfig, config: TextDecoderConfig) -> int:
    """Channels of a word. Raises UserError where its heads cannot share them."""
    width = config.width or encoder.width
    if width % HEADS:
        raise UserError(f"the text decoder is {width} wide, which {HEADS} heads cannot share: give text_width")
    return width


class TextDecoder(nn.Module):
    """Causal transformer decoder with teacher forcing: post-norm layers, GELU, no biases, feed-forward of its width."""

    def __init__(self, encoder: ViTConfig, vocabulary: Vocabulary, config: TextDecoderConfig) -> None:
        super().__init__()
        width = words_width(encoder, config)
        self.config, self.vocabulary = config, vocabulary
        self.memory_positions = nn.Parameter(torch.empty(1, 1 + encoder.tokens, encoder.width))
        self.memory: nn.Module = nn.Linear(encoder.width, width) if width != encoder.width else nn.Identity()
        self.words = nn.Embedding(vocabulary.size, width)
        self.positions = nn.Parameter(torch.empty(1, config.length, width)) if config.positions else None
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width, HEADS, MLP_RATIO * width, DROPOUT, "gelu", NORM_EPS, batch_first=True, bias=False
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.predict = nn.Linear(width, vocabulary.size, bias=False)
        for table in (self.memory_positions, self.words.weight, self.positions):
            if table is not None:
                nn.init.normal_(table, std=WORD_STD)

    def forward(self, encoded: Tensor, kept: Tensor, modality: Tensor, text: Tensor) -> Tensor:
        """Cross entropy per word, mean over each text's words: float32 [R].

        encoded: CLS and visible tokens of one view [R, 1 + n, D]; kept: the visible patches' numbers [R, n]; modality:
        embedding of the view [R, D]; text: [R, L] as of ``ReportTokens.batch``, none of them empty.
        """
        hidden = self.hidden(self.read_memory(encoded, kept, modality), text[:, :-1])
        targets = self.targets(text)
        counted = targets != IGNORED
        losses = F.cross_entropy(self.predict(hidden[counted]).float(), targets[counted], reduction="none")
        whole = losses.new_zeros(targets.shape).index_put((counted,), losses)
        return whole.sum(dim=1) / counted.sum(dim=1).clamp(min=1)

    def read_memory(self, encoded: Tensor, kept: Tensor, modality: Tensor) -> Tensor:
        """What words may look at, [R, 1 + n, width]: tokens with view and position."""
        places = torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], dim=1)  # CLS is the first
        return self.memory(encoded + self.memory_positions[0, places] + modality[:, None])

    def hidden(self, memory: Tensor, words: Tensor) -> Tensor:
        """States [R, L, width] after words [R, L] of which the first is replaced by the start; each sees no later one.

        Padding stands after the words, so that none of them sees it.
        """
        start = self.vocabulary.padding if self.config.start_with_padding else self.vocabulary.start
        length = words.shape[1]
        states = self.words(torch.cat([torch.full_like(words[:, :1], start), words[:, 1:]], dim=1))
        if self.positions is not None:
            states = states + self.positions[:, :length]
        later = torch.ones(length, length, dtype=torch.bool, device=words.device).triu(1)
        for layer in self.layers:
            states = layer(states, memory, tgt_mask=later, tgt_is_causal=True)
        return self.norm(states)

    def targets(self, text: Tensor) -> Tensor:
        """The next token of each but the last, [R, L - 1]; IGNORED where there is nothing to predict."""
        following = text[:, 1:]
        nothing = following == self.vocabulary.padding
        if not self.config.predict_end:
            nothing = nothing | (following == self.vocabulary.end)
        return following.masked_fill(nothing, IGNORED)
