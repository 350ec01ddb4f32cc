"""Whether a network can be shown the images that are said beside its weights."""

import torch

from cxrbench.encoder import Encoder, Preprocess
from cxrbench.encoders.sidecar import WeightsSidecar
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import first_line


def check_shown(sidecar: WeightsSidecar, encoder: Encoder, own: Preprocess) -> None:
    """Raise UserError where the network cannot be shown images of the size and channels that ``sidecar`` says.

    ``own``: its preprocessing without the sidecar. An image is shown only where the sidecar says another shape: many
    networks take any size, and none says so of itself.
    """
    said = encoder.preprocess
    if (said.size, said.channels) == (own.size, own.channels):
        return
    try:
        with torch.inference_mode():
            encoder.eval()(torch.zeros(1, said.channels, said.size, said.size))  # type: ignore[attr-defined]
    except Exception as error:  # every library has its own kind
        raise UserError(
            f"{sidecar.path} says {said.size} pixels and {said.channels} channel(s); the network is of {own.size} and "
            f"{own.channels} ({type(error).__name__}: {first_line(error)})"
        ) from error
