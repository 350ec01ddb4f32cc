"""What can be set in MVMAE and MVMAE-V2T, and what paper, official code and ``fixed`` mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cxrbench.encoder import Preprocess
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.mvmae.losses import Alignment
from cxrbench.encoders.mvmae.text import TextDecoderConfig
from cxrbench.encoders.pretraining.options import read_options
from cxrbench.encoders.pretraining.studies import Section
from cxrbench.errors import UserError


@dataclass(frozen=True)
class MVMAEOptions:
    """What can be set in MVMAE.

    ``mask``: α, the share of hidden patches. ``beta``: the weight of the alignment in the end; 0 is the paper's
    "Independent". ``max_views``: images of a study in one epoch. ``late_midpoint``: of β's annealing (``beta_at``).
    ``all_slots``: reconstruction and alignment are means over all slots of a study, missing views counting as 0; else
    over its views and pairs of views, so that a study's weight does not hang on how many images it has. A study of one
    view has alignment 0 and is counted. ``nominal_ratio``: the reconstruction is divided by α, not by the share that
    was hidden, which the rounding of the visible patches makes a little larger. ``floor_slack``: see ``kept_tokens``.
    """

    variant: str = "fixed"
    mask: float = 0.9
    align: Alignment = "pooled"
    beta: float = 2.0
    max_views: int = 3
    decoder_depth: int = 4
    augment: bool = True
    flip: bool = False
    late_midpoint: bool = False
    all_slots: bool = False
    nominal_ratio: bool = False
    floor_slack: float = 1e-9
    mean: float = 0.5056
    std: float = 0.252
    centre_crop: bool = False


@dataclass(frozen=True)
class V2TOptions(MVMAEOptions):
    """What can be set in MVMAE-V2T beside that.

    ``text``: the report's part to write. ``tokenizer``: a BERT tokeniser's folder. ``vocabulary``: ``seen`` drops the
    words that no training report has. ``text_weight``: γ. ``text_width``: 0 is the encoder's. ``halved``: the mean of
    reconstruction and text instead of eq. 6's sum.
    """

    text: Section = "impression_or_findings"
    tokenizer: str = ""
    vocabulary: Literal["seen", "full"] = "seen"
    text_weight: float = 1.0
    text_depth: int = 4
    text_width: int = 0
    text_length: int = 300
    predict_end: bool = True
    text_positions: bool = True
    start_with_padding: bool = False
    halved: bool = False

    @property
    def decoder(self) -> TextDecoderConfig:
        """Of the text."""
        return TextDecoderConfig(
            self.text_width, self.text_depth, self.text_length, self.predict_end, self.text_positions,
            self.start_with_padding,
        )  # fmt: skip


# paper: pixels in [0, 1] of the centre, eq. 1 as printed, 1/α; it names no augmentation. official: config_base.yaml and
# config_v2t.yaml, dataclass defaults where they are silent; it has the paper's centre too, and crops are cut out of it.
# fixed squashes whole images: the centre of a portrait image lacks the costophrenic angles.
VARIANTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "paper": {
        "align": "token_index", "nominal_ratio": True, "augment": False, "mean": 0.0, "std": 1.0, "centre_crop": True,
    },
    "official": {
        "mask": 0.93, "flip": True, "late_midpoint": True, "all_slots": True, "nominal_ratio": True, "floor_slack": 0.0,
        "centre_crop": True,
    },
}  # fmt: skip
V2T_VARIANTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "paper": VARIANTS["paper"] | {"text": "report", "vocabulary": "full", "start_with_padding": True},
    "official": VARIANTS["official"] | {
        "text": "impression", "vocabulary": "full", "predict_end": False, "text_positions": False, "halved": True,
    },
}  # fmt: skip
OPTION_HELP = {
    "variant": f"where paper and code differ: {', '.join(VARIANTS)}",
    "mask": "share of hidden patches, in (0, 1)",
    "align": "pooled (mean token), token_index (eq. 1) or token_shared_mask (eq. 1, one mask per study)",
    "beta": "weight of the alignment in the end; 0: every view by itself",
    "max_views": "images of a study in one epoch",
    "decoder_depth": "blocks of the decoder",
    "augment": "true: crop and jitter",
    "flip": "true: horizontal flip (breaks laterality), where augment is true",
}
V2T_OPTION_HELP = OPTION_HELP | {
    "text": "impression, impression_or_findings (where it is empty) or report (findings and impression)",
    "tokenizer": "folder of a BERT tokeniser",
    "vocabulary": "seen (words of the training reports) or full",
    "text_weight": "weight of the text's cross entropy",
    "text_depth": "layers of the text decoder",
    "text_width": "its channels; 0: the encoder's",
    "text_length": "most tokens of a text",
}


def parse_options(given: Mapping[str, Any]) -> MVMAEOptions:
    """MVMAE's options as typed by a user; those of the variant where not given. Raises UserError."""
    return checked(read_options(MVMAEOptions, given, method="MVMAE", help_lines=OPTION_HELP, variants=VARIANTS))


def parse_v2t_options(given: Mapping[str, Any]) -> V2TOptions:
    """MVMAE-V2T's. Raises UserError."""
    options = read_options(
        V2TOptions, given, method="MVMAE-V2T", help_lines=V2T_OPTION_HELP, variants=V2T_VARIANTS
    )  # fmt: skip
    if options.text_weight <= 0 or options.text_depth < 1 or options.text_width < 0 or options.text_length < 3:
        raise UserError("MVMAE-V2T needs text_weight > 0, text_depth >= 1, text_width >= 0 and text_length >= 3")
    checked(options)
    return options


def checked(options: MVMAEOptions) -> MVMAEOptions:
    """The options. Raises UserError for impossible ones."""
    if not 0 < options.mask < 1 or options.beta < 0:
        raise UserError("MVMAE needs 0 < mask < 1 and beta >= 0: correct the option")
    if options.max_views < 1 or options.decoder_depth < 1:
        raise UserError("MVMAE needs max_views >= 1 and decoder_depth >= 1: correct the option")
    return options


def preprocess_of(arch: ViTConfig, options: MVMAEOptions) -> Preprocess:
    """Whole images, squashed to a square; ``centre_crop``: the middle of the shorter side, 224 of 256 pixels."""
    numbers = ((options.mean,), (options.std,))
    if options.centre_crop:
        return Preprocess(arch.size, "crop", *numbers, channels=1, crop_pct=224 / 256)
    return Preprocess(arch.size, "squash", *numbers, channels=1)
