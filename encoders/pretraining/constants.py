"""Numbers of a method's code that no option and no flag sets: told beside those of the recipe, with their sources.

A value is the code's own constant, or what the code makes of the architecture; its source is in ``encoders/recipes/``,
among those of the recipe. What torch sets in its functions and nobody chose (the 1e-12 under a length) is not here.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from cxrbench.encoders.backbones.vit import DROPPED, MATRICES, MLP_RATIO, NORM_EPS, POSITION_BASE, TOKEN_STD


class Constant(NamedTuple):
    """``value``: as the code has it. ``read``: whether anything reads it where architecture and options are these.

    ``replaced``: it is of the start of what weights to begin from replace as a whole.
    """

    value: Any
    read: object = True
    replaced: bool = False


Constants = Mapping[str, Constant]


def vit_constants(*, sincos: object = True, alone: bool = False) -> dict[str, Constant]:
    """Of a plain ViT. ``sincos``: whether its positions are; ``alone``: nothing beside it starts by these numbers."""
    return {
        "mlp_ratio": Constant(MLP_RATIO),
        "drop_rates": Constant(DROPPED),
        "position_base": Constant(POSITION_BASE, sincos, replaced=alone),
        "block_norm_eps": Constant(NORM_EPS),
        "matrix_start": Constant(MATRICES, replaced=alone),
        "token_std": Constant(TOKEN_STD, replaced=alone),
    }
