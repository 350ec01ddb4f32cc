"""What can be set in FaNe, and the variants of its paper and its code."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from cxrbench.encoders.fane.attention import HEADS, Initialisation, MaskMode
from cxrbench.encoders.fane.division import Similarity
from cxrbench.encoders.fane.losses import HardNegatives
from cxrbench.encoders.fane.text import SentencePool, TextHead
from cxrbench.encoders.pretraining.options import OptionSet, Variant, option
from cxrbench.errors import UserError

LOCAL = ("tc or spa is more than 0", lambda options: options.tc or options.spa)
PRIOR = "prior"  # an initial bias
SIGMOID = ("mp is more than 0", lambda options: options.mp)
LEARNT = (
    "mp is more than 0 and learn_bias or learn_scale is true",
    lambda options: options.mp and (options.learn_bias or options.learn_scale),
)
DIVIDED = ("mp or hn is more than 0", lambda options: options.mp or options.hn)
NORMALISED = (
    "mp or hn is more than 0 and similarity is normalised",
    lambda options: (options.mp or options.hn) and options.similarity == "normalised",
)
VIT = ("arch is a ViT", lambda arch: not arch.startswith("resnet"))
MASKED = ("mask_mode is not none", lambda options: options.mask_mode != "none")


@dataclass(frozen=True)
class FaNeOptions:
    """What can be set in FaNe."""

    variant: Variant = "fixed"
    text: str = option(
        "", "folder or hub repository of the BERT that reads reports and, frozen, divides them by meaning; if not "
        "given, Bio_ClinicalBERT, or MiniLM without the hub",
    )  # fmt: skip
    train_text: bool = option(True, "false: the BERT is frozen, and reads each sentence by itself, once")
    dim: int = option(128, "channels of the common space", least=1)
    text_head: TextHead = option(
        "ours", "sentences and reports are pooled as wide as the BERT, then projected (ours, as the paper says), or "
        "tokens are projected, and what they are pooled to is not (official, the code)",
    )  # fmt: skip
    sentence_pool: SentencePool = option("attention", "a sentence out of its tokens: attention (paper) or mean (code)")
    pool_width: int = option(
        0, "channels of the attention over tokens and sentences, a multiple of 8; 0: the BERT's", least=0,
        when=("text_head is ours", lambda options: options.text_head == "ours"),
    )  # fmt: skip
    initialisation: Initialisation = option(
        "clip", "pools start as CLIP's, biases of projections at 0 (clip), or both as torch makes them (the code)"
    )
    kappa: float = option(0.95, "κ: similarity above which reports say the same; 1: none but itself", when=DIVIDED)
    similarity: Similarity = option(
        "normalised", "what is compared with κ: S̃ of eq. 4 (normalised), or the cosine S itself (the paper's Table 4, "
        "semantic normalisation off)", when=DIVIDED,
    )  # fmt: skip
    alpha: float = option(0.05, "share of a batch in the running average similarity", above=0, most=1, when=NORMALISED)
    ema: Literal["recursive", "printed"] = option("recursive", "eq. 3 as meant, or as printed", when=NORMALISED)
    scale: float = option(1.0, "of the cosines over τ₁ = 0.1 in the sigmoid loss", above=0, when=SIGMOID)
    learn_scale: bool = option(False, "whether that scale is learnt", when=SIGMOID)
    initial_bias: str = option(
        "-10", f"of the sigmoid loss: a number, or {PRIOR}: -ln(B - 1), at which pairs of cosine 0 are taken for "
        "positives as often as one of a batch of B is one", when=SIGMOID,
    )  # fmt: skip
    learn_bias: bool = option(True, "whether that bias is learnt", when=SIGMOID)
    fast: float = option(
        1.0, "learning rate of scale and bias, in those of the rest: AdamW moves a number by no more than its rate in "
        "a step, however wrong it is", above=0, when=LEARNT,
    )  # fmt: skip
    bias: Literal["corrected", "printed"] = option("corrected", "sign of the sigmoid loss's bias", when=SIGMOID)
    mask_mode: MaskMode = option(
        "post", "a masked patch has no weight (post), or ½ (pre, the paper); none: no mask is learnt, and no L_spa "
        "(the paper's Table 3, row 1)", when=LOCAL,
    )  # fmt: skip
    hard_negatives: HardNegatives = option("fixed", "form of eq. 16", when=("hn is more than 0", lambda o: o.hn))
    average: Literal["sentences", "reports"] = option(
        "sentences", "of the contrast within reports: over all sentences (paper), or first over each report's (code)",
        when=("tc is more than 0", lambda options: options.tc),
    )  # fmt: skip
    mp: float = option(1.0, "weight of the multi-positive sigmoid loss", least=0)
    tc: float = option(1.0, "λ₁: weight of the contrast within a report", least=0)
    hn: float = option(0.1, "λ₂: weight of the hard negatives", least=0)
    spa: float = option(1.0, "λ₃: weight of the masks' sparsity", least=0, when=MASKED)
    gather: bool = option(True, "compare with the pairs of all processes; false: of the same process")
    augment: bool = option(False, "rotation by up to 5 degrees and horizontal flip (breaks laterality)")
    odd_mean: bool = option(
        False, "three channels and the paper's mean .4755, .4755, .406; else ImageNet's for a ResNet, which always has "
        "three, and one gray channel for a ViT",
    )  # fmt: skip
    learn_positions: bool = option(False, "positions are trained (from N(0, .02²), or --init); else sin-cos", of=VIT)
    min_sentences: int = option(4, "studies with fewer are left out", least=1)


# paper: its formulas as printed. official: its code, whose τ is the logarithm of 1 / .07, never exponentiated, learnt.
VARIANTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "paper": {
        "initialisation": "torch", "ema": "printed", "bias": "printed", "mask_mode": "pre", "hard_negatives": "paper",
        "hn": 1.0, "odd_mean": True,
    },
    "official": {
        "bias": "printed", "scale": math.log(1 / 0.07), "learn_scale": True, "text_head": "official",
        "sentence_pool": "mean", "initialisation": "torch", "mask_mode": "pre", "hard_negatives": "official", "hn": 1.0,
        "average": "reports", "gather": False, "augment": True, "odd_mean": True, "learn_positions": True,
    },
}  # fmt: skip


def first_bias(text: str, batch: int) -> float:
    """``initial_bias`` of the logits in batches of so many pairs; NaN where the text is no number."""
    if text == PRIOR:
        return -math.log(max(1, batch - 1))
    try:
        return float(text)
    except ValueError:
        return math.nan


def check(options: FaNeOptions) -> None:
    """Some loss has a weight, and heads share the pools' width. Raises UserError."""
    if not any((options.mp, options.tc, options.hn)):
        raise UserError("FaNe: mp, tc and hn are all 0: nothing would be learnt")
    if options.mask_mode == "none" and not options.tc:
        raise UserError("FaNe: tc is 0, so no sentence looks at the patches and there is no mask: leave out mask_mode")
    if not math.isfinite(first_bias(options.initial_bias, 2)):
        raise UserError(f"FaNe: initial_bias is a number or {PRIOR}, not {options.initial_bias!r}")
    if options.pool_width % HEADS:
        raise UserError(f"FaNe: pool_width is {options.pool_width}: it must be a multiple of {HEADS}, or 0")
    if options.text_head == "official" and options.dim % HEADS:
        raise UserError(f"FaNe: dim is {options.dim}: with the official text_head it must be a multiple of {HEADS}")


OPTIONS = OptionSet("FaNe", FaNeOptions, VARIANTS, check)
