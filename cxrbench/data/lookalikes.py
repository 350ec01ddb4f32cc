"""Which images of a dataset are the same picture: byte for byte, or to the eye (resized, recompressed, relit).

Each image leaves some 300 bytes behind (``Looks``); pairs are sought among neighbours in sorted orders of a 64-bit
hash, so that time and memory grow with the number of images, not with that of their pairs.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from cxrbench.data.decode.images import use_decoded
from cxrbench.errors import BadImageError

SIDE = 32
"""Pixels a side of the picture that is hashed."""
FREQUENCIES = 8
"""Lowest frequencies of it, each way, that the hash looks at: 64 bits."""
THUMB = 16
BITS_APART = 8
"""Hashes that differ in more bits are of two pictures. Copies of 40 NIH images at half the size, of JPEG quality 50,
with noise or another gamma, differ in at most 6."""
ALIKE = 0.995
"""Correlation of thumbnails from which on two pictures are one. Of 2,063 real chest X-rays (NIH, RSNA, Kermany) no two
different ones come above 0.978, of 1,400 drawn ones above 0.991; the copies above stay over 0.9955."""
SAME_SHAPE = 0.02  # relative difference of aspect ratios: copies keep them
NEIGHBOURS = 16
TURNS = range(0, 64, 4)
MOST_BLACK, MOST_WHITE = 0.6, 0.2
"""Shares of pixels at the ends of the range above which an image is called saturated. Of the real images above the
99th percentiles are 0.18 and 0.002."""


class Looks(NamedTuple):
    """What is kept of an image [H, W]: a digest of its pixels, a perceptual hash, a thumbnail uint8 [16, 16]."""

    digest: bytes
    hash: int
    thumbnail: NDArray[np.uint8]
    aspect: float
    constant: bool
    saturated: bool


def looks(image: NDArray[np.float32]) -> Looks:
    """What is kept of a decoded image: gray [H, W] in [0, 1].

    The hash has a bit for each of the lowest frequencies of a cosine transform: whether it is above their median
    (pHash; Zauner 2010, section 3.2). Neither brightness nor contrast nor size changes it much.
    """
    low, high = float(image.min()), float(image.max())
    height, width = image.shape
    small = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX))
    waves = np.asarray(dctn(small, norm="ortho"))[:FREQUENCIES, :FREQUENCIES].ravel()
    bits = waves > np.median(waves[1:])  # the first is the mean of the image, which says nothing
    bits[0] = False
    thumbnail = small.reshape(THUMB, SIDE // THUMB, THUMB, SIDE // THUMB).mean((1, 3))
    spread = max(float(np.ptp(thumbnail)), 1e-6)
    return Looks(
        hashlib.blake2b(
            np.ascontiguousarray(image).data.cast("B"), digest_size=16, key=f"{height}x{width}".encode()
        ).digest(),
        int.from_bytes(np.packbits(bits).tobytes(), "big"),
        np.rint((thumbnail - thumbnail.min()) / spread * 255).astype(np.uint8),
        width / height,
        low == high,
        bool((image == 0).mean() > MOST_BLACK or (image == 1).mean() > MOST_WHITE),
    )


class Gallery:
    """The looks of ``size`` images, by row; rows that are never put in are like no other."""

    def __init__(self, size: int) -> None:
        self._digests = np.zeros(size, "V16")
        self._hashes = np.zeros(size, np.uint64)
        self._thumbnails = np.zeros((size, THUMB * THUMB), np.uint8)
        self._aspects = np.zeros(size)
        self._constant, self._saturated, self._sought = (np.zeros(size, bool) for _ in range(3))

    def put(self, row: int, seen: Looks) -> None:
        """Keep what was seen of the image of a row."""
        self._digests[row], self._hashes[row], self._aspects[row] = seen.digest, seen.hash, seen.aspect
        self._thumbnails[row] = seen.thumbnail.ravel()
        self._constant[row], self._saturated[row] = seen.constant, seen.saturated and not seen.constant
        self._sought[row] = not seen.constant  # blank images are alike and no copies

    def constant(self) -> NDArray[np.int64]:
        """Rows of images of a single value."""
        return np.flatnonzero(self._constant)

    def saturated(self) -> NDArray[np.int64]:
        """Rows of images with a large share of pixels at an end of the range, constant ones apart."""
        return np.flatnonzero(self._saturated)

    def groups(self) -> list[list[int]]:
        """Rows of the images that are one picture, group by group, the first rows first."""
        leader = np.arange(len(self._hashes))

        def lead(row: int) -> int:
            while leader[row] != row:
                leader[row] = leader[leader[row]]
                row = int(leader[row])
            return row

        for one, other in self._pairs():
            first, second = sorted((lead(one), lead(other)))
            leader[second] = first
        members: dict[int, list[int]] = {}
        for row in np.flatnonzero(self._sought).tolist():
            members.setdefault(lead(row), []).append(row)
        return [rows for rows in members.values() if len(rows) > 1]

    def _pairs(self) -> Iterator[tuple[int, int]]:
        """Pairs of rows that are one picture: enough of them to join every group that is found."""
        rows = np.flatnonzero(self._sought)
        order = rows[np.argsort(self._digests[rows], kind="stable")]
        same = self._digests[order[1:]] == self._digests[order[:-1]]
        yield from _as_ints(order[:-1][same], order[1:][same])
        rows = rows[np.sort(np.unique(self._digests[rows], return_index=True)[1])]  # one of each is enough
        for turn in TURNS:
            hashes = self._hashes[rows]
            turned = (hashes << np.uint64(turn)) | (hashes >> np.uint64(64 - turn)) if turn else hashes
            order = rows[np.argsort(turned, kind="stable")]
            for step in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
                one, other = order[:-step], order[step:]
                near = np.bitwise_count(self._hashes[one] ^ self._hashes[other]) <= BITS_APART
                near &= np.abs(self._aspects[one] / self._aspects[other] - 1) <= SAME_SHAPE
                one, other = one[near], other[near]
                alike = self._correlation(one, other) >= ALIKE
                yield from _as_ints(one[alike], other[alike])

    def _correlation(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float32]:
        """Correlation of thumbnails, pair by pair."""
        parts = []
        for start in range(0, len(one), 4096):
            pair = [self._thumbnails[rows[start : start + 4096]].astype(np.float32) for rows in (one, other)]
            a, b = (each - each.mean(1, keepdims=True) for each in pair)
            norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            parts.append((a * b).sum(1) / np.maximum(norm, 1e-6))
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _as_ints(one: Iterable[np.int64], other: Iterable[np.int64]) -> Iterator[tuple[int, int]]:
    for first, second in zip(one, other, strict=True):
        yield int(first), int(second)


def decoded_looks(
    paths: Sequence[Path], workers: int, max_pixels: int, progress: Callable[[int], None] | None
) -> Iterator[tuple[int, Looks | str]]:
    """Each file's row and looks, or the reason why it does not decode, ``workers`` at a time.

    ``progress`` is called with the number of images done since its last call. The decoders work outside Python's lock.
    """
    waiting: dict[Future[Looks | str], int] = {}
    rows = iter(enumerate(paths))
    with ThreadPoolExecutor(workers) as pool:
        while True:
            while len(waiting) < 2 * workers and (following := next(rows, None)) is not None:
                waiting[pool.submit(_look, following[1], max_pixels)] = following[0]
            if not waiting:
                return
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            if progress is not None:
                progress(len(done))
            for future in done:
                yield waiting.pop(future), future.result()


def _look(path: Path, max_pixels: int) -> Looks | str:
    """An image's looks, or why it cannot be decoded; the pixels are dropped at once."""
    try:
        return use_decoded(path, looks, max_pixels=max_pixels)
    except BadImageError as error:
        return error.reason
