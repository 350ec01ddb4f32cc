"""Run-length encoded masks: SIIM-ACR's relative form and COCO's counts, plain or packed into a string.

Both run down the columns (pixel p is row p % height, column p // height). SIIM writes, for every run of foreground, the
number of background pixels since the end of the last run and the length of the run; its own mask_functions.py adds
each start to the position where the last run ended. COCO writes all run lengths, background first, to the end of
the image. So SIIM's numbers are COCO's without the last background run.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cxrbench.errors import UserError

MAX_PIXELS = 1 << 28
"""Of a mask that run lengths are read for: more than any image that is decoded has."""
MAX_GROUPS = 11  # of 5 bits, counted from 0: what 64 bits hold


def siim_to_counts(text: str, height: int, width: int) -> str:
    """SIIM's relative RLE as COCO counts, space-separated. ``-1`` is the empty mask. UserError if it does not fit."""
    numbers = _numbers(text, height, width)
    return encode_counts(_decode(numbers, height, width)) if 0 in numbers[1:] else _closed(numbers, height * width)


def counts_to_siim(counts: str) -> str:
    """COCO counts as SIIM's relative RLE; ``-1`` for an empty mask."""
    numbers = counts.split()
    pairs = numbers[: len(numbers) // 2 * 2]
    return " ".join(pairs) if pairs else "-1"


def union_counts(texts: Iterable[str], height: int, width: int) -> str:
    """COCO counts of the union of several SIIM masks of one image (they may overlap)."""
    distinct = list(dict.fromkeys(text.strip() for text in texts))
    if len(distinct) == 1:
        return siim_to_counts(distinct[0], height, width)
    masks = [_decode(_numbers(text, height, width), height, width) for text in distinct]
    return encode_counts(np.logical_or.reduce(masks) if masks else np.zeros((height, width), bool))


def encode_siim(mask: NDArray[np.bool_]) -> str:
    """SIIM's relative RLE of a mask [height, width]; ``-1`` for an empty one."""
    return counts_to_siim(encode_counts(mask))


def unpack_counts(packed: str, height: int, width: int) -> str:
    """COCO's compressed run lengths (pycocotools' ``counts``) as counts, space-separated.

    A number is written in groups of 5 bits, the lowest first, each as a character from ``0`` on: the sixth bit says
    that another group follows, the fifth of the last group is the sign. From the fourth number on it is the difference
    to the last but one. Raises UserError for other characters, and for runs that do not add up to the image.
    """
    groups = np.frombuffer(packed.encode(), np.uint8).astype(np.int64) - ord("0")
    if not len(groups) or (groups < 0).any() or (groups > 63).any() or groups[-1] & 32:
        raise UserError(f"mask {packed[:40]!r} is no compressed run lengths of COCO's")
    last = np.flatnonzero(groups & 32 == 0)
    place = np.arange(len(groups)) - np.repeat(np.concatenate([[0], last[:-1] + 1]), np.diff(last, prepend=-1))
    if place.max() > MAX_GROUPS:
        raise UserError(f"mask {packed[:40]!r} has a run of more than 60 bits")
    numbers = np.add.reduceat((groups & 31) << (5 * place), np.concatenate([[0], last[:-1] + 1]))
    numbers -= np.where(groups[last] & 16, np.int64(1) << (5 * (place[last] + 1)), 0)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    if (numbers < 0).any() or _total(numbers, height, width) != height * width:
        raise UserError(
            f"mask {packed[:40]!r} does not fill an image of {height} x {width}; the mask is of another image"
        )
    ends = np.cumsum(numbers)[:-1]
    places, often = np.unique(ends[ends < height * width], return_counts=True)  # a run of no pixels is none
    return " ".join(map(str, np.diff([0, *places[often % 2 == 1], height * width]).tolist()))


def empty_counts(height: int, width: int) -> str:
    """COCO counts of a mask with nothing inside."""
    return str(height * width)


def decode_counts(counts: str, height: int, width: int) -> NDArray[np.bool_]:
    """Mask [height, width] of space-separated COCO counts. UserError if they do not add up to the image."""
    numbers = _whole_numbers(counts)
    total = _total(numbers, height, width)
    if (numbers < 0).any() or total != height * width:
        raise UserError(f"mask counts add up to {total}, not to {height} x {width}; the mask is of another image")
    return _decode(numbers, height, width)


def encode_counts(mask: NDArray[np.bool_]) -> str:
    """Space-separated COCO counts of a mask [height, width]: column-major run lengths starting with background."""
    flat = np.asarray(mask, bool).T.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=False)) if flat.size else np.zeros(0, np.int64)
    return " ".join(map(str, np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()))


def _numbers(text: str, height: int, width: int) -> NDArray[np.int64]:
    """Check and parse SIIM's RLE; empty for ``-1``."""
    words = text.split()
    if words in ([], ["-1"]):
        return np.zeros(0, np.int64)
    numbers = _whole_numbers(text)
    if len(numbers) % 2 or (numbers < 0).any():
        raise UserError(f"mask {text[:40]!r} is not made of pairs of a start and a length")
    total = _total(numbers, height, width)
    if total > height * width:
        raise UserError(
            f"mask {text[:40]!r} runs to pixel {total:,}, beyond the {height} x {width} image; "
            "is the image of another size, or the RLE an absolute one?"
        )
    return numbers


def _whole_numbers(text: str) -> NDArray[np.int64]:
    try:
        return np.array(text.split(), np.int64)
    except (ValueError, OverflowError) as error:
        raise UserError(f"mask {text[:40]!r} is not a list of whole numbers") from error


def _total(runs: NDArray[np.int64], height: int, width: int) -> int:
    """Where runs end, exactly: in 64 bits a sum of huge ones wraps around. UserError for an image of unlikely size."""
    if height * width > MAX_PIXELS:
        raise UserError(f"a mask of {width} x {height} pixels is more than the limit of {MAX_PIXELS:,}")
    return sum(runs.tolist())


def _decode(runs: NDArray[np.int64], height: int, width: int) -> NDArray[np.bool_]:
    """Mask of alternating runs, background first; what they leave is background."""
    values = np.arange(len(runs)) % 2 == 1
    flat = np.zeros(height * width, bool)
    painted = np.repeat(values, runs)
    flat[: len(painted)] = painted
    return flat.reshape(width, height).T


def _closed(runs: NDArray[np.int64], pixels: int) -> str:
    """Runs with the last background run put at the end, if there is one."""
    rest = pixels - int(runs.sum())
    return " ".join(map(str, [*runs.tolist(), *([rest] if rest or not len(runs) else [])]))
