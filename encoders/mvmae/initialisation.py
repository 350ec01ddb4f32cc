"""How MVMAE-V2T's text decoder starts in its public code."""

from typing import Literal

import torch
from torch import nn

from cxrbench.encoders.mvmae.text import TextDecoder

Initialisation = Literal["mae", "torch"]

WORDS, MEMORY = 1.0, 0.0  # deviations of words, torch's, and of the positions of the tokens that words look at


@torch.no_grad()
def initialise_text_as_torch(text: TextDecoder) -> None:
    """Words from N(0, 1), what they look at without positions at first; layers start as torch's in any case."""
    nn.init.normal_(text.words.weight, std=WORDS)
    nn.init.constant_(text.memory_positions, MEMORY)
