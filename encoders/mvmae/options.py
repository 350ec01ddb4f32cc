"""What can be set in MVMAE and MVMAE-V2T, and what paper, code and ``fixed`` mean."""

from dataclasses import dataclass
from typing import Any, Literal

from cxrbench.encoder import Preprocess
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.mvmae.initialisation import Initialisation
from cxrbench.encoders.mvmae.losses import Alignment
from cxrbench.encoders.mvmae.text import TextDecoderConfig
from cxrbench.encoders.pretraining.options import OptionSet, Variant, option
from cxrbench.encoders.pretraining.studies import Section

AUGMENTED = ("augment is true", lambda options: options.augment)
ANNEALED = ("beta is more than 0", lambda options: options.beta)


@dataclass(frozen=True)
class MVMAEOptions:
    """What can be set in MVMAE."""

    variant: Variant = "fixed"
    mask: float = option(0.9, "α: share of hidden patches", above=0, below=1)
    align: Alignment = option(
        "pooled", "what is compared: mean tokens, token by token (eq. 1), or so with one mask per study"
    )
    beta: float = option(2.0, "β: weight of the alignment in the end; 0 is the paper's Independent", least=0)
    max_views: int = option(3, "images of a study in one epoch", least=1)
    decoder_depth: int = option(4, "blocks of the decoder", least=1)
    initialisation: Initialisation = option(
        "mae", "matrices Xavier-uniform, biases 0 (MAE), or both as torch makes them (the code, which leaves them)"
    )
    augment: bool = option(True, "crop and jitter")
    flip: bool = option(False, "horizontal flip (breaks laterality)", when=AUGMENTED)
    late_midpoint: bool = option(False, "β rises as late as in the official code", when=ANNEALED)
    all_slots: bool = option(False, "means over all slots of a study, missing views counting as 0; else over its views")
    nominal_ratio: bool = option(False, "divide the reconstruction by α; else by the share that was hidden")
    floor_slack: float = option(1e-9, "added to (1 - α) N before the floor", least=0, below=1)
    mean: float = option(0.5056, "taken from pixels in [0, 1]")
    std: float = option(0.252, "what they are then divided by", above=0)
    centre_crop: bool = option(
        False, "the centre, 224 of 256 pixels of the shorter side; else the whole image, squashed"
    )


@dataclass(frozen=True)
class V2TOptions(MVMAEOptions):
    """What can be set in MVMAE-V2T beside that."""

    text: Section = option("impression_or_findings", "the report's part to write; report is findings and impression")
    tokenizer: str = option("", "folder of a BERT tokeniser")
    vocabulary: Literal["seen", "full"] = option("seen", "seen: words of the training reports alone")
    text_weight: float = option(1.0, "γ: weight of the text's cross entropy", above=0)
    text_depth: int = option(4, "layers of the text decoder", least=1)
    text_width: int = option(0, "its channels; 0: the encoder's", least=0)
    text_length: int = option(300, "most tokens of a text", least=3)
    predict_end: bool = option(True, "[SEP] is predicted, too")
    text_positions: bool = option(True, "words have a learned position")
    text_memory: Literal["visible", "shuffled"] = option(
        "visible",
        "of the tokens that words look at: their own positions, or the official code's wrong ones",
    )
    start_with_padding: bool = option(False, "r₀ is [PAD], as the paper writes; else [CLS]")
    halved: bool = option(False, "the mean of reconstruction and text; else eq. 6's sum")

    @property
    def decoder(self) -> TextDecoderConfig:
        """Of the text."""
        return TextDecoderConfig(
            self.text_width, self.text_depth, self.text_length, self.predict_end, self.text_positions,
            self.start_with_padding,
        )  # fmt: skip


# paper: pixels in [0, 1] of the centre, eq. 1 as printed, 1/α, crops, jitter and flips. official: config_base.yaml and
# config_v2t.yaml, dataclass defaults where they are silent; its crops are cut out of whole files, which evaluation
# squashes. So does fixed: the centre of a portrait image lacks the costophrenic angles.
VARIANTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "paper": {
        "align": "token_index", "initialisation": "torch", "nominal_ratio": True, "flip": True, "mean": 0.0, "std": 1.0,
        "centre_crop": True,
    },
    "official": {
        "mask": 0.93, "initialisation": "torch", "flip": True, "late_midpoint": True, "all_slots": True,
        "nominal_ratio": True, "floor_slack": 0.0,
    },
}  # fmt: skip
V2T_VARIANTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "paper": VARIANTS["paper"] | {"text": "report", "vocabulary": "full", "start_with_padding": True},
    "official": VARIANTS["official"] | {
        "text": "impression", "vocabulary": "full", "predict_end": False, "text_positions": False, "halved": True,
        "text_memory": "shuffled",
    },
}  # fmt: skip
OPTIONS = OptionSet("MVMAE", MVMAEOptions, VARIANTS)
V2T_OPTIONS = OptionSet("MVMAE-V2T", V2TOptions, V2T_VARIANTS)


def preprocess_of(arch: ViTConfig, options: MVMAEOptions) -> Preprocess:
    """Whole images, squashed to a square; ``centre_crop``: the middle of the shorter side, 224 of 256 pixels."""
    numbers = ((options.mean,), (options.std,))
    if options.centre_crop:
        return Preprocess(arch.size, "crop", *numbers, channels=1, crop_pct=224 / 256)
    return Preprocess(arch.size, "squash", *numbers, channels=1)
