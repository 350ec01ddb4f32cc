"""How the C library is led to keep the memory that is freed, and Python not to look for garbage where there is none."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

KEPT_BYTES = 31 << 20  # glibc raises its limits for blocks below 32 MiB only


def keep_freed() -> None:
    """Let the next large block have the memory of the last, in all threads of this process.

    Else glibc gives each large block back to the system, which clears it before it lends it again: a quarter of the
    time that a small convolutional network takes on a CPU, or a phantom image. Elsewhere nothing happens.
    """
    np.empty(KEPT_BYTES, np.uint8)  # glibc raises its limit to the largest block that was freed


@contextmanager
def settled() -> Iterator[None]:
    """What is there now is not looked through for garbage meanwhile; what is made in it is.

    Where very many objects are made that stay, the collector would look again and again through all modules and tables
    that are loaded: a tenth of the time that a board of a thousand cells takes.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
