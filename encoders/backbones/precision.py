"""Where sums of many small terms are taken, in float32 whatever the network around them runs in."""

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """No autocast on this kind of device: cosines, exponentials and errors are computed in their inputs' own type."""
    kind = device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
