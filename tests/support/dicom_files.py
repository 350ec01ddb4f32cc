"""Writes small DICOM files in every transfer syntax that pydicom or GDCM can encode."""

from pathlib import Path
from typing import Any

import gdcm
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
GDCM_SYNTAXES = {
    "jpeg_baseline": gdcm.TransferSyntax.JPEGBaselineProcess1,
    "jpeg_extended": gdcm.TransferSyntax.JPEGExtendedProcess2_4,
    "jpeg_lossless": gdcm.TransferSyntax.JPEGLosslessProcess14,
    "jpeg_lossless_sv1": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "jpeg_ls": gdcm.TransferSyntax.JPEGLSLossless,
    "jpeg2000_lossless": gdcm.TransferSyntax.JPEG2000Lossless,
    "jpeg2000": gdcm.TransferSyntax.JPEG2000,
}


def write_dicom(
    path: Path,
    pixels: NDArray[Any],
    *,
    bits_stored: int,
    photometric: str = "MONOCHROME2",
    syntax: UID = ExplicitVRLittleEndian,
    **tags: Any,
) -> Path:
    """Write pixels [H, W] or [H, W, 3] with the given header elements; RLE is encoded by pydicom."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 1 if pixels.ndim == 2 else pixels.shape[2]
    if data.SamplesPerPixel > 1:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = 8 * pixels.dtype.itemsize
    data.BitsStored, data.HighBit = bits_stored, bits_stored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PatientID = "p"
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    data["PixelData"].VR = "OB" if data.BitsAllocated == 8 else "OW"
    for name, value in tags.items():
        setattr(data, name, value)
    if syntax == RLELossless:
        data.compress(RLELossless, generate_instance_uid=False)
    dcmwrite(path, data, enforce_file_format=True)
    return path


def transcode(source: Path, target: Path, syntax: int) -> Path:
    """Rewrite a file in one of ``GDCM_SYNTAXES``."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target
