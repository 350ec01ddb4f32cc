"""The adapters and the decoder on real chest X-rays, where they are present beside the repository."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels.processing import apply_voi_lut

from cxrbench.data.check import check
from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.datasets import nih, rsna
from cxrbench.data.decode.images import decode
from cxrbench.data.splits import shared_patients

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def folder(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"no real data in {DATA / name}")
    return DATA / name


def test_nih() -> None:
    manifest = nih.read(folder("nih"))
    assert len(manifest) == 1000
    assert len(set(manifest.images["patient_id"])) == 682
    assert manifest.images["view"].value_counts().to_dict() == {"AP": 567, "PA": 433}
    positives = dict(zip(manifest.labels, manifest.targets().sum(0).tolist(), strict=True))
    assert (positives["Pneumonia"], positives["Hernia"], positives["Fibrosis"], positives["Pneumothorax"]) == (
        500,
        3,
        8,
        12,
    )
    assert shared_patients(manifest.images["patient_id"].tolist(), manifest.images["split"].tolist()) == []


def test_rsna() -> None:
    manifest = rsna.read(folder("rsna"))
    assert len(manifest) == 339
    assert sum(manifest.images["Pneumonia"].tolist()) == 129
    assert manifest.boxes is not None
    assert len(manifest.boxes) == 205
    assert check(manifest.without(manifest.images["image_id"].tolist()[40:])).ok


def test_rsna_pixels_are_the_nih_pixels() -> None:
    """RSNA's DICOM and NIH's JPEG of one radiograph, decoded by different paths, show the same image."""
    root = folder("rsna")
    files = {path.stem: path for path in (folder("nih") / "images").glob("*.jpg")}
    small = {name: decode(path)[::32, ::32].ravel() for name, path in files.items()}
    names, thumbnails = list(small), [image for image in small.values() if image.size == 256]
    names = [name for name in names if small[name].size == 256]
    one = decode(min((root / "stage_2_train_images").glob("*.dcm")))
    distance = np.abs(np.stack(thumbnails) - one[::32, ::32].ravel()).mean(1)
    twin = decode(files[names[int(distance.argmin())]])
    assert np.abs(twin - one).mean() < 0.02


def test_kermany_needs_no_sidecar() -> None:
    manifest = read_csv(folder("kermany") / "labels.csv")
    assert (manifest.name, manifest.kind, len(manifest)) == ("kermany", "multiclass", 724)
    assert len(set(manifest.images["patient_id"])) == 616
    positives = dict(zip(manifest.labels, manifest.targets().sum(0).tolist(), strict=True))
    assert positives == {"normal": 311, "bacterial_pneumonia": 216, "viral_pneumonia": 197}
    assert shared_patients(manifest.images["patient_id"].tolist(), manifest.images["split"].tolist()) == []
    assert manifest.masks is not None
    assert len(manifest.masks) == 724
    assert any("repo_split" in note for note in manifest.notes)


def test_the_true_and_the_false_monochrome1_are_complements() -> None:
    root = folder("dicom")
    two = decode(root / "RSNA_16d7f894_mono2_jpegbaseline.dcm")
    one = decode(root / "RSNA_16d7f894_fake_mono1.dcm")
    np.testing.assert_allclose(one + two, 1, atol=1e-7)
    assert two.shape == (1024, 1024)


def test_a_jpeg_2000_monochrome1_of_15_bits() -> None:
    path = folder("dicom") / "RG1_J2KI.dcm"
    data = pydicom.dcmread(path)
    expected = 1 - apply_voi_lut(data.pixel_array, data) / (2**15 - 1)
    image = decode(path)
    np.testing.assert_allclose(image, expected, atol=1e-4)
    assert image[:, 900:950].mean() > image[600:900, 450:600].mean()  # the spine is brighter than the lung
