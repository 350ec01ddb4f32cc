"""The numbers of FaNe that no option sets."""

from collections.abc import Mapping

from torch import nn

from cxrbench.encoders.backbones.vit import TORCHS
from cxrbench.encoders.fane.attention import HEADS, NARROWED, NORM_EPS, POOLS
from cxrbench.encoders.fane.division import EPSILON
from cxrbench.encoders.fane.image import DEGREES, ImageConfig, ResNetConfig
from cxrbench.encoders.fane.losses import LEAST, TAU1, TAU2, TAU3
from cxrbench.encoders.fane.options import FaNeOptions
from cxrbench.encoders.fane.text import LONGEST, PROJECTED
from cxrbench.encoders.pretraining.augment import FLIPS, MOVED
from cxrbench.encoders.pretraining.constants import Constant, Constants, vit_constants

BATCH_NORM = nn.BatchNorm2d(1)  # torch's numbers, which torchvision's ResNet takes


def constants(image: ImageConfig, options: FaNeOptions) -> Constants:
    """What no option sets."""
    resnet, local = isinstance(image, ResNetConfig), options.tc or options.spa
    narrow = options.text_head == "official" and options.sentence_pool == "attention"
    divided = (options.mp or options.hn) and options.similarity == "normalised"
    as_torch = options.initialisation == "torch"
    of_vit = vit_constants(sincos=not options.learn_positions, alone=True)
    return {
        "tau1": Constant(TAU1, options.mp),
        "tau2": Constant(TAU2, options.tc),
        "tau3": Constant(TAU3, options.hn),
        "division_eps": Constant(EPSILON, divided),
        "least_sum": Constant(LEAST, options.hn and options.hard_negatives == "paper"),
        "text_longest": Constant(LONGEST),
        "text_dropout": Constant("the BERT's own", options.train_text),
        "pool_heads": Constant(HEADS),
        "pool_narrowed": Constant(NARROWED, narrow),
        "pool_start": Constant(TORCHS if as_torch else POOLS),
        "projection_std": Constant(f"width^{PROJECTED:g}"),
        "projection_bias": Constant(TORCHS if as_torch else 0),
        "mask_norm_eps": Constant(NORM_EPS, local),
        "enlarged": Constant(image.enlarged if isinstance(image, ResNetConfig) else None, resnet),
        "batch_norm_eps": Constant(BATCH_NORM.eps, resnet),
        "batch_norm_momentum": Constant(BATCH_NORM.momentum, resnet),
        **{name: one._replace(read=one.read and not resnet) for name, one in of_vit.items()},
        "rotation": Constant(DEGREES, options.augment),
        "affine_filter": Constant(MOVED, options.augment),
        "flip_chance": Constant(FLIPS, options.augment),
    }


def meant(image: ImageConfig, options: FaNeOptions) -> Mapping[str, str]:
    """What a width of 0 stands for, and the BERT where none is given."""
    widths = {} if options.pool_width else {"pool_width": "the BERT's (0)"}
    return widths | ({} if options.text else {"text": "Bio_ClinicalBERT, or MiniLM without the hub"})
