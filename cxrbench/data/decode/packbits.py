"""RLE frames of DICOM (PS3.5 Annex G) by Pillow's PackBits decoder: the same code, outside Python.

A decoding plugin of pydicom: what the header promises is checked there, and the frame is put into shape there.
"""

from struct import unpack

import numpy as np
from PIL import Image
from pydicom.pixels.decoders.base import DecodeRunner, RLELosslessDecoder
from pydicom.uid import RLELossless

PLUGIN = "pillow-packbits"
DECODER_DEPENDENCIES = {RLELossless: ()}
HEADER_BYTES = 64


def is_available(uid: str) -> bool:
    """Whether this plugin decodes a transfer syntax; pydicom asks."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """One frame in pydicom's order: sample after sample, each value little-endian.

    Raises ValueError for whatever is not a whole frame as the header promises it; what lies behind one is left out.
    Some of that pydicom's own decoder reads, as a segment that ends within its last run.
    """
    count, size = runner.rows * runner.columns, runner.bits_allocated // 8
    segments = unpack("<L", src[:4])[0] if len(src) >= HEADER_BYTES else 0
    if segments != runner.samples_per_pixel * size or segments > HEADER_BYTES // 4 - 1 or runner.bits_allocated % 8:
        raise ValueError(f"its {segments} RLE segments are not those of its header")
    starts = [*unpack(f"<{segments}L", src[4 : 4 * (segments + 1)]), len(src)]
    decoded = bytearray(count * segments)
    planes = np.frombuffer(decoded, np.uint8).reshape(runner.samples_per_pixel, count, size)
    for number in range(segments):
        segment = src[starts[number] : starts[number + 1]]
        values = Image.frombytes("L", (count, 1), segment, "packbits", "L")  # one line: runs may cross the image's rows
        planes[number // size, :, size - 1 - number % size] = np.asarray(values)[0]  # the highest byte comes first
    runner.set_option("planar_configuration", 1)
    return decoded


RLELosslessDecoder.add_plugin(PLUGIN, (__name__, decode_frame.__name__))
