"""JPEG of 12 bits a sample (DICOM's JPEG Extended), which pydicom's plugins refuse and GDCM can decode."""

from typing import Any

import gdcm
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cxrbench.data.decode.codestream import read_frame

BITS = 12


def decode_12_bit(stream: bytes, header: Dataset) -> NDArray[np.integer[Any]]:
    """Stored values [H, W], uint16, of a gray codestream whose frame header agrees with the DICOM header.

    GDCM is told the precision that the codestream itself states, not BitsAllocated as pydicom tells it: it then takes
    the right one of its decoders at once. Raises ValueError for anything else (GDCM itself writes 16 bits under this
    name) and for damaged streams. The caller has made sure that the stream's segments are ``unbroken``.
    """
    frame = read_frame(stream)
    if frame is None or frame[2:] != (1, BITS) or header.PixelRepresentation:
        raise ValueError("JPEG Extended of more than 8 bits is supported where it is gray, unsigned and of 12 bits")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((frame.width, frame.height, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, BITS, header.BitsStored, header.BitsStored - 1, 0))
    text = image.GetBuffer()  # GDCM hands bytes over as text
    if text is None:
        raise ValueError("its JPEG Extended codestream is damaged")
    values = np.frombuffer(text.encode("utf-8", "surrogateescape"), "<u2")
    return values.reshape(frame.height, frame.width)
