"""Single bits of a file, flipped one at a time: is each noticed?"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from cxrbench.errors import UserError


def unnoticed(path: Path, read: Callable[[], object], flips: int, seed: int = 0) -> list[int]:
    """Flip ``flips`` bits spread over a file, each alone, and return those (byte times 8 plus bit) that ``read`` lets
    pass: it neither raises UserError nor returns False. The file is as before in the end.
    """
    content = path.read_bytes()
    rng = np.random.default_rng(seed)
    places = rng.choice(8 * len(content), min(flips, 8 * len(content)), replace=False)
    passed = []
    for place in map(int, places):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with suppress(UserError):
            if read() is not False:
                passed.append(place)
    path.write_bytes(content)
    return passed
