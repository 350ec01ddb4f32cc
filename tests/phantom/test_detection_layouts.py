"""The phantom's datasets with boxes are read by the adapters of the real ones, blank or drawn."""

from pathlib import Path

import pytest

from cxrbench.data.datasets import mimic
from cxrbench.data.datasets.detection import ms_cxr, object_cxr, siim_fisabio, vindr_pcxr
from cxrbench.data.manifest import Dataset
from cxrbench.files.digests import file_sha256
from cxrbench.phantom.write import write
from cxrbench.tasks.dense.detection import TASK
from support.same_rows import assert_same_rows

COUNTS = {
    "object-cxr_train": 12, "object-cxr_dev": 6, "ms-cxr": 20, "mimic": 20, "vindr-pcxr_train": 12,
    "vindr-pcxr_test": 6, "siim-fisabio": 20,
}  # fmt: skip
ADAPTERS = [one.DATASET for one in (object_cxr, ms_cxr, siim_fisabio, vindr_pcxr)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom")
    write(out / "drawn", seed=2, images=COUNTS, workers=1)
    write(out / "blank", seed=2, images=COUNTS, workers=1, blank=True)
    return out


@pytest.mark.parametrize("dataset", ADAPTERS, ids=lambda one: one.name)
def test_detection_can_be_asked_of_it_and_a_blank_one_has_the_same_rows(dataset: Dataset, written: Path) -> None:
    manifest = dataset.read(written / "drawn" / dataset.name)
    assert_same_rows(manifest, dataset.read(written / "blank" / dataset.name))
    assert TASK.not_applicable(manifest) is None
    assert manifest.boxes is not None
    assert len(manifest.boxes) > 5
    assert not any("cut at" in note or "left out" in note for note in manifest.notes)


def test_ms_cxr_is_of_mimic_s_patients_and_pictures(written: Path) -> None:
    phrases = ms_cxr.read(written / "drawn" / "ms-cxr").images.set_index("image_id")
    whole = mimic.read(written / "drawn" / "mimic").images.set_index("image_id")
    assert len(phrases) > 5
    assert set(phrases.index) <= set(whole.index)
    assert (phrases["patient_id"] == whole.loc[phrases.index, "patient_id"]).all()
    for path, other in zip(phrases["path"], whole.loc[phrases.index, "path"], strict=True):
        assert file_sha256(written / "drawn" / "ms-cxr" / path) == file_sha256(written / "drawn" / "mimic" / other)


def test_the_traps_of_the_originals_are_there(written: Path) -> None:
    studies = siim_fisabio.read(written / "drawn" / "siim-fisabio").images["study_id"]
    assert studies.duplicated().any(), "some studies have two images"
    labels = (written / "drawn" / "vindr-pcxr" / "image_labels_train.csv").read_text().splitlines()[0]
    assert labels.startswith("image_id,rad_ID,No finding,Bronchitis,Brocho-pneumonia,")
    shapes = (written / "drawn" / "object-cxr" / "train.csv").read_text()
    assert all(f"{kind} " in shapes for kind in (0, 1, 2))
