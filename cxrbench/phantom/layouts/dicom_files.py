"""Phantom images as DICOM files: as challenges publish them, and as hospitals send them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)
from pydicom.uid import SecondaryCaptureImageStorage as SecondaryCapture

from cxrbench.phantom.cases import Case
from cxrbench.phantom.image import Radiograph


def dicom(case: Case, sop_class: UID, syntax: UID, shape: tuple[int, int], bits: int, stored: int) -> FileDataset:
    """A DICOM file of a case without its pixels; every UID derives from the case, and there is no date."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, UID(case.uid("instance"))
    meta.TransferSyntaxUID, meta.ImplementationClassUID = syntax, UID(case.uid("implementation"))
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, case.uid("instance")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = case.uid("study"), case.uid("series")
    ds.Modality = "DX" if stored > 8 else "CR"
    ds.PatientID = ds.PatientName = str(case.key)
    ds.PatientSex = case.sex
    ds.Rows, ds.Columns = shape
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, stored, stored - 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    return ds


def write_jpeg(case: Case, image: Radiograph, path: Path) -> None:
    """The image as RSNA and SIIM store it: 8 bit, JPEG baseline, MONOCHROME2, secondary capture."""
    ds = dicom(case, SecondaryCapture, JPEGBaseline8Bit, image.shape, 8, 8)
    ds.add(DataElement("PatientAge", "AS", str(case.age), validation_mode=IGNORE))
    ds.BodyPartExamined, ds.ViewPosition = "CHEST", image.view
    ds.PixelSpacing = [0.143 * 1024 / image.shape[0]] * 2
    ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
    frame = io.BytesIO()
    Image.fromarray(np.rint(image.image * 255).astype(np.uint8)).save(frame, "JPEG", quality=90)
    ds.PixelData = encapsulate([frame.getvalue()])
    ds["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path)


def write_raw(case: Case, image: Radiograph, path: Path) -> None:
    """The image as hospitals send it: 12 or 14 bit, some inverted, some without window, some run-length compressed."""
    rng = case.rng(2)
    stored = int(rng.choice([12, 14], p=[0.8, 0.2]))
    top = 2**stored - 1
    low, span = rng.uniform(0, 0.1) * top, rng.uniform(0.75, 0.9) * top
    values, centre = np.rint(low + span * image.image), low + span / 2
    ds = dicom(case, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, image.shape, 16, stored)
    if rng.random() < 0.2:
        ds.PhotometricInterpretation = "MONOCHROME1"
        values, centre = top - values, top - centre
    if rng.random() < 0.5:
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, 0, "US"
    window = rng.random()
    if window < 0.7:
        twice = window < 0.1
        ds.WindowCenter = [round(centre)] * 2 if twice else round(centre)
        ds.WindowWidth = [round(span), round(span * 1.4)] if twice else round(span)
    if rng.random() < 0.6:
        ds.PatientAge = f"{case.age:03d}Y"
    ds.PixelSpacing = [0.139 * 2500 / image.shape[0]] * 2
    ds.PixelData = values.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    if rng.random() < 0.4:
        ds.compress(RLELossless, generate_instance_uid=False, encoding_plugin="gdcm")
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path)
