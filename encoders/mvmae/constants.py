"""The numbers of MVMAE and MVMAE-V2T that no option sets."""

from collections.abc import Mapping

from cxrbench.encoders.backbones.vit import MATRICES, TORCHS, ViTConfig
from cxrbench.encoders.mvmae.augment import PROBABILITY, SCALE, SQUARE, STRENGTH
from cxrbench.encoders.mvmae.initialisation import MEMORY, WORDS
from cxrbench.encoders.mvmae.losses import MIDDLE, STEEPNESS, WARMUP
from cxrbench.encoders.mvmae.options import MVMAEOptions, V2TOptions
from cxrbench.encoders.mvmae.text import DROPOUT, HEADS, MLP_RATIO, NORM_EPS, WORD_STD, words_width
from cxrbench.encoders.pretraining.augment import crop_constants, flip_constant
from cxrbench.encoders.pretraining.constants import Constant, Constants, vit_constants


def constants(arch: ViTConfig, options: MVMAEOptions) -> Constants:
    """What no option sets."""
    as_mae = options.initialisation == "mae"
    return {
        "beta_warmup": Constant(WARMUP, options.beta),
        "beta_steepness": Constant(STEEPNESS, options.beta),
        "beta_middle": Constant(MIDDLE, options.beta),
        "decoder_width": Constant(arch.width),
        "decoder_heads": Constant(arch.heads),
        **(of_text(options) if isinstance(options, V2TOptions) else {}),
        **vit_constants(sincos=False),
        "matrix_start": Constant(MATRICES if as_mae else TORCHS),
        **crop_constants(SCALE, options.augment, SQUARE),
        **flip_constant(options.augment and options.flip),
        "jitter_strength": Constant(STRENGTH, options.augment),
        "jitter_chance": Constant(PROBABILITY, options.augment),
    }


def of_text(options: V2TOptions) -> Constants:
    """Of the decoder of words."""
    as_mae = options.initialisation == "mae"
    return {
        "text_heads": Constant(HEADS),
        "text_mlp_ratio": Constant(MLP_RATIO),
        "text_dropout": Constant(DROPOUT),
        "text_norm_eps": Constant(NORM_EPS),
        "word_std": Constant(WORD_STD if as_mae else WORDS),
        "memory_std": Constant(WORD_STD if as_mae else MEMORY),
        "word_position_std": Constant(WORD_STD, options.text_positions),
    }


def meant(arch: ViTConfig, options: MVMAEOptions) -> Mapping[str, str]:
    """What a width of 0 stands for, and the tokeniser where none is given."""
    if not isinstance(options, V2TOptions):
        return {}
    widths = {} if options.text_width else {"text_width": f"{words_width(arch, options.decoder)}, the encoder's (0)"}
    return widths | ({} if options.tokenizer else {"tokenizer": "bert-base-uncased's"})
