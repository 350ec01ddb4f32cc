"""What the header of an image file promises, whatever its format."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Source:
    """An image that is not decoded yet.

    ``height`` and ``width``: of the decoded image, turned as its file says. ``memory``: bytes that decoding takes at
    most, copies on the way included. ``read`` decodes: gray [height, width], float32 in [0, 1].
    """

    height: int
    width: int
    memory: int
    read: Callable[[], NDArray[np.float32]]
