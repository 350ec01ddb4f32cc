"""What an encoder's features look like, from one blank image."""

import torch
from torch import nn

from cxrbench.encoder import Features, Preprocess
from cxrbench.errors import THEIRS, NotApplicableError, UserError
from cxrbench.plugins.loading import blame


def features_of_blank(module: nn.Module, preprocess: Preprocess) -> Features:
    """The features of a black image, for their shapes; the module is put in eval mode.

    Raises UserError if the encoder fails on it.
    """
    parameter = next(module.parameters(), torch.zeros(0))
    blank = torch.zeros(1, preprocess.channels, preprocess.size, preprocess.size, device=parameter.device)
    try:
        with torch.no_grad():  # not inference mode: what a module may keep of this call is trained with later
            return module.eval()(blank)
    except NotApplicableError:
        raise
    except THEIRS as error:
        raise UserError(f"encoder {type(module).__name__} fails on a blank image: {blame(error)}") from error
