"""Encoders and datasets that a program hands over as objects, where a command names them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from cxrbench.data.manifest import Manifest


@dataclass(frozen=True)
class Given:
    """Objects by what they are called in a run: modules among its encoders, manifests among its datasets."""

    encoders: "Mapping[str, nn.Module]" = field(default_factory=dict)
    datasets: "Mapping[str, Manifest]" = field(default_factory=dict)
