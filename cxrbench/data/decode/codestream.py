"""What a compressed image says of its own size, so that no decoder is run on one that does not fit its header."""

from typing import NamedTuple

J2K_START = b"\xff\x4f\xff\x51"
NO_LENGTH = {0x01, *range(0xD0, 0xDA)}
NOT_FRAMES = {0xC4, 0xC8, 0xCC}
JPEG_LS_FRAME = 0xF7
START_OF_SCAN = 0xDA
IMAGE_STARTS = (b"\xff\xd8\xff", J2K_START, b"\0\0\0\x0cjP")
"""How a JPEG, JPEG-LS, JPEG 2000 codestream or JP2 file begins."""


class Frame(NamedTuple):
    """The frame header of a JPEG, JPEG-LS or JPEG 2000 codestream; ``bits`` is the precision of a sample."""

    height: int
    width: int
    samples: int
    bits: int


def read_frame(stream: bytes) -> Frame | None:
    """The frame header, or None where there is none (ITU-T T.81 B.2.2, T.87 C.2.2, T.800 A.5.1)."""
    start = stream.find(J2K_START, 0, 1 << 16)  # a JP2 file puts boxes before its codestream
    if start >= 0:
        return _jpeg_2000(stream[start + 4 :])
    at = 2
    while stream[:2] == b"\xff\xd8" and at + 9 < len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF or marker in NO_LENGTH:  # fill bytes, or markers that stand alone
            at += 1 if marker == 0xFF else 2
        elif (0xC0 <= marker <= 0xCF and marker not in NOT_FRAMES) or marker == JPEG_LS_FRAME:
            height, width = _number(stream, at + 5, 2), _number(stream, at + 7, 2)
            return Frame(height, width, samples=stream[at + 9], bits=stream[at + 4])
        else:
            at += 2 + _number(stream, at + 2, 2)
    return None


def unbroken(stream: bytes) -> bool:
    """Whether the segments of a JPEG stream follow one another up to the first scan (ITU-T T.81 B.1.1).

    A gap between them sends GDCM's decoder to the end of the data, where an assertion ends the whole process. Damage
    inside the scan only makes it give up.
    """
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], _number(stream, at + 2, 2)
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in NO_LENGTH or length < 2:
            return False
        elif marker == START_OF_SCAN:
            return at + 2 + length <= len(stream)
        else:
            at += 2 + length
    return False


def _jpeg_2000(siz: bytes) -> Frame | None:
    """The SIZ segment after its marker: length, capabilities, image and tile geometry, components."""
    if len(siz) < 40:
        return None
    right, bottom, left, top = (_number(siz, at, 4) for at in (4, 8, 12, 16))
    return Frame(bottom - top, right - left, samples=_number(siz, 36, 2), bits=(siz[38] & 0x7F) + 1)


def _number(stream: bytes, at: int, size: int) -> int:
    return int.from_bytes(stream[at : at + size], "big")
