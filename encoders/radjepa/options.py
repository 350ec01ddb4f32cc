"""What can be set in RadJEPA, and what paper and code set differently."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cxrbench.encoders.pretraining.options import OptionSet, Variant, option
from cxrbench.encoders.radjepa.multiblock import Rule


@dataclass(frozen=True)
class RadJEPAOptions:
    """What can be set in RadJEPA."""

    variant: Variant = "fixed"
    masks: Rule = option("fixed", "the blocks: official ones never touch the last row and column, see MultiBlock")
    context_length: Literal["joined", "process"] = option(
        "joined", "contexts are cut to the shortest one of the joined batch, or of each process's own (I-JEPA)"
    )
    loss: Literal["smooth_l1", "mse"] = option("smooth_l1", "smooth-L1 with β = 1 (I-JEPA's code) or squares (paper)")
    normalise_targets: bool = option(True, "layer norm without affine over the features of each target token")
    augment: bool = option(False, "I-JEPA's RandomResizedCrop (area 0.3 to 1), without a flip")
    variance: float = option(
        0.0, "weight of VICReg's variance and covariance terms, of the pooled context embeddings of the batch", least=0
    )
    momentum: float = option(0.996, "τ of the moving average at the start", least=0, most=1)
    final_momentum: float = option(
        1.0, "τ behind the last step; 0 and 0: targets of the encoder itself", least=0, most=1
    )
    initialisation: Literal["mae", "ijepa", "ijepa-undivided"] = option(
        "mae", "Xavier's (MAE), or N(0, .02²), with or without the division of block l's last matrices by sqrt(2 l)"
    )
    predictor_depth: int = option(0, "blocks of the predictor; 0: half the encoder's", least=0)
    keep: Literal["target", "context"] = option(
        "target", "which encoder is kept: the moving average, or the trained one"
    )
    channels: Literal[1, 3] = option(1, "3 is the published layout: the image thrice, ImageNet's mean and deviation")


# paper: its loss as printed, on "the I-JEPA protocol". official: what I-JEPA's code does, quirks included.
IJEPA: Mapping[str, Any] = {"initialisation": "ijepa", "context_length": "process", "channels": 3}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "fixed": {},
    "paper": {**IJEPA, "loss": "mse", "normalise_targets": False},
    "official": {**IJEPA, "initialisation": "ijepa-undivided", "masks": "official", "augment": True},
}
OPTIONS = OptionSet("RadJEPA", RadJEPAOptions, VARIANTS)
