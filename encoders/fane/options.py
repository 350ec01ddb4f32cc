"""What can be set in FaNe, the variants of its paper and its code, and how each is trained."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from cxrbench.encoders.fane.attention import HEADS, MaskMode
from cxrbench.encoders.fane.losses import HardNegatives
from cxrbench.encoders.fane.text import SentencePool
from cxrbench.encoders.pretraining.method import PretrainingRecipe
from cxrbench.encoders.pretraining.options import read_options
from cxrbench.encoders.pretraining.schedule import half_cosine
from cxrbench.errors import UserError


@dataclass(frozen=True)
class FaNeOptions:
    """What can be set in FaNe.

    ``text``: the BERT, for reports and, frozen, for the semantic division. ``train_text``: false freezes it; each
    sentence is then read by itself, once. ``pool_width``: channels of the attention over tokens and sentences (0: the
    BERT's). ``scale``: of the cosines over τ₁ = 0.1 in the sigmoid loss; ``bias``: sign of its bias. ``mp``, ``tc``,
    ``hn``, ``spa``: weights of the losses (1, λ₁, λ₂, λ₃). ``average``: of the contrast within reports, over all
    sentences or first over each report's. ``gather``: compare with the pairs of all processes. ``odd_mean``: three
    channels and the paper's mean, for a ViT, too. ``augment``: ±5° and flip. ``init``: a file to start the backbone
    from.
    """

    variant: str = "fixed"
    text: str = ""
    train_text: bool = True
    dim: int = 128
    sentence_pool: SentencePool = "attention"
    pool_width: int = 0
    kappa: float = 0.95
    alpha: float = 0.05
    ema: Literal["recursive", "printed"] = "recursive"
    scale: float = 1.0
    learn_scale: bool = False
    bias: Literal["corrected", "printed"] = "corrected"
    mask_mode: MaskMode = "post"
    hard_negatives: HardNegatives = "fixed"
    average: Literal["sentences", "reports"] = "sentences"
    mp: float = 1.0
    tc: float = 1.0
    hn: float = 1.0
    spa: float = 1.0
    gather: bool = True
    augment: bool = False
    odd_mean: bool = False
    min_sentences: int = 4
    init: str = ""


# paper: its formulas as printed. official: its code, whose τ is the logarithm of 1 / .07, never exponentiated, learnt.
VARIANTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "paper": {
        "ema": "printed", "bias": "printed", "mask_mode": "pre", "hard_negatives": "paper", "odd_mean": True,
    },
    "official": {
        "bias": "printed", "scale": math.log(1 / 0.07), "learn_scale": True, "sentence_pool": "mean",
        "mask_mode": "pre", "hard_negatives": "official", "average": "reports", "gather": False, "augment": True,
        "odd_mean": True,
    },
}  # fmt: skip
OPTION_HELP = {
    "variant": f"where paper and code differ: {', '.join(VARIANTS)}",
    "text": "folder or hub repository of a BERT (default: Bio_ClinicalBERT, or MiniLM without the hub)",
    "train_text": "false: freeze it, and read each sentence once",
    "dim": "channels of the common space",
    "sentence_pool": "attention (the paper) or mean (its code): a sentence out of its tokens",
    "pool_width": "channels of the attention over tokens and sentences, a multiple of 8 (0: the BERT's)",
    "kappa": "κ: similarity above which reports say the same, 1: none but itself",
    "alpha": "share of a batch in the running average similarity, in (0, 1]",
    "ema": "recursive, or printed: eq. 3 as the paper prints it",
    "bias": "sign of the sigmoid loss's bias: corrected, or printed",
    "mask_mode": "post (a masked patch has no weight) or pre (the paper: it has ½)",
    "hard_negatives": "fixed, paper or official",
    "mp": "weight of the multi-positive sigmoid loss",
    "tc": "λ₁, weight of the contrast within a report",
    "hn": "λ₂, weight of the hard negatives",
    "spa": "λ₃, weight of the masks' sparsity",
    "average": "of the contrast within a report: sentences (the paper) or reports (its code)",
    "gather": "false: negatives of the same process only",
    "odd_mean": "true: three channels and the paper's mean .4755, .4755, .406",
    "augment": "true: rotation by up to 5 degrees and horizontal flip (breaks laterality)",
    "min_sentences": "studies with fewer are left out",
    "init": "file to start the image backbone from: torchvision's ResNet-50, DeiT-B",
}
# The paper: AdamW, 98 pairs on each of two GPUs, cosine decay. Its code's cosine is one of 100 epochs with 40 of
# warm-up, of which it runs 50: 40 of them warm-up, at the end still at .93 of the peak.
RECIPE = PretrainingRecipe(epochs=50, batch_size=196, lr=4e-4, weight_decay=1e-6, warmup=0.05, betas=(0.9, 0.999))
RECIPES = {
    "fixed": RECIPE,
    "paper": replace(RECIPE, warmup=0.0),
    "official": replace(RECIPE, warmup=0.8, final_lr=half_cosine(1, 0, 10 / 60)),
}


def parse_options(given: Mapping[str, Any]) -> FaNeOptions:
    """Options by name, numbers or text as typed by a user; those of the variant where not given. Raises UserError."""
    options = read_options(FaNeOptions, given, method="FaNe", help_lines=OPTION_HELP, variants=VARIANTS)
    weights = (options.mp, options.tc, options.hn, options.spa)
    if min(weights) < 0 or not any(weights[:3]) or options.dim < 1 or options.min_sentences < 1:
        raise UserError("FaNe needs weights >= 0, mp, tc or hn > 0, dim and min_sentences >= 1: correct the option")
    if not 0 < options.alpha <= 1:
        raise UserError(f"FaNe: alpha is {options.alpha}: it must be in (0, 1]")
    if options.pool_width < 0 or options.pool_width % HEADS:
        raise UserError(f"FaNe: pool_width is {options.pool_width}: it must be a multiple of {HEADS}, or 0")
    return options
