"""An encoder that a program hands over as an object: any ``torch.nn.Module``, held to the same contract as a plugin."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from cxrbench.encoder import EncoderCard, EncoderRequest, Features, Preprocess
from cxrbench.errors import THEIRS, UserError
from cxrbench.plugins.loading import LoadedEncoder, blame, identified

ASSUMED = Preprocess(size=224, resize="squash", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What is assumed of a module that does not say how it wants its images: ImageNet's numbers."""
ASSUMED_SAYS = (
    "preprocessing was not said and ImageNet's assumed: 224 x 224, squashed, three channels, mean .485 .456 .406, "
    "SD .229 .224 .225"
)


class GivenModule(nn.Module):
    """A module as an encoder: a tensor [B, D] that it returns is the pooled embedding, without maps.

    What else it has (``encode_text``, ``project``) is found on it. ``preprocess`` and ``card`` are its own, or assumed.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        own = getattr(module, "preprocess", None)
        self.preprocess = ASSUMED if own is None else own
        card = getattr(module, "card", None)
        assumed = (ASSUMED_SAYS,) if own is None else ()
        self.card = EncoderCard(type(module).__name__, assumed=assumed) if card is None else card

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":  # while it is copied it has none
                raise
            return getattr(self.module, name)

    def _get_name(self) -> str:
        """What torch calls it: as the module that it holds."""
        return type(self.module).__name__

    def forward(self, images: Tensor, *views: Tensor) -> Features:
        """What the module gives: Features as they are, a tensor as the pooled embedding."""
        given: Any = self.module(images, *views)
        return Features(given) if isinstance(given, Tensor) else given


def load_given(name: str, module: nn.Module) -> LoadedEncoder:
    """A copy of the module, ready to run, and who it is: its tensors, its class and the source of it.

    The module itself stays as it is: on its device, in its mode. Raises UserError if it cannot be copied or does not
    keep the contract.
    """
    try:
        with torch.no_grad():  # a scripted module's copy has parameters that were computed, else
            copied = GivenModule(copy.deepcopy(module)).to("cpu")
    except UserError:
        raise
    except THEIRS as error:
        raise UserError(f"encoder {name!r} cannot be copied: {blame(error)}") from error
    return identified(name, EncoderRequest(name, None, None), copied, type(module))
