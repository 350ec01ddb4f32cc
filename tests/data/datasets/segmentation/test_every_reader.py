"""What holds of every reader of a download with masks, on tiny folders in the official layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.datasets.segmentation import (
    candid_ptx,
    chexlocalize,
    covid_qu_ex,
    cxlseg,
    mimic_lungs,
    qata,
    vindr_ribcxr,
)
from cxrbench.data.decode.images import image_size
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import shared_patients
from cxrbench.errors import UserError
from support import mask_layouts

READERS: dict[str, tuple[Dataset, Callable[[Path], Path]]] = {
    "vindr-ribcxr": (vindr_ribcxr.DATASET, mask_layouts.vindr_ribcxr),
    "qata": (qata.DATASET, mask_layouts.qata),
    "candid-ptx": (candid_ptx.DATASET, mask_layouts.candid_ptx),
    "chexlocalize": (chexlocalize.DATASET, mask_layouts.chexlocalize),
    "covid-qu-ex": (covid_qu_ex.DATASET, mask_layouts.covid_qu_ex),
    "cxlseg": (cxlseg.DATASET, mask_layouts.cxlseg),
    "mimic-lungs": (mimic_lungs.DATASET, mask_layouts.mimic_lungs),
}


@pytest.mark.parametrize("name", READERS)
def test_the_manifest_is_sound_and_every_mask_fits_its_image(name: str, tmp_path: Path) -> None:
    dataset, write = READERS[name]
    root = write(tmp_path / "here")
    manifest = dataset.read(root)
    assert (dataset.name, manifest.name) == (name, name)
    assert [path.stat().st_size for path in manifest.paths()] == manifest.images["bytes"].tolist()
    assert shared_patients(manifest.images["patient_id"].tolist(), manifest.images["split"].tolist()) == []
    assert set(manifest.images["split"]) == {"train", "val", "test"}
    assert set(manifest.split_notes) <= set(manifest.notes)
    assert (manifest.source, manifest.licence, manifest.lineage) == (dataset.source, dataset.licence, dataset.lineage)
    assert name in dataset.lineage
    assert any("the published set has" in note for note in manifest.notes)
    truth = TrueMasks.of(manifest)
    for image_id, path in zip(manifest.images["image_id"], manifest.paths(), strict=True):
        masks = truth.native(image_id, *image_size(path))
        np.testing.assert_array_equal((masks == 1).any((1, 2)), truth.present(image_id) == 1)
    manifest.save(tmp_path / "manifest.parquet")
    for again in (Manifest.load(tmp_path / "manifest.parquet"), dataset.read(root)):
        assert again.fingerprint == manifest.fingerprint


@pytest.mark.parametrize("name", READERS)
def test_what_is_missing_is_one_line_that_says_where_it_comes_from(name: str, tmp_path: Path) -> None:
    dataset, write = READERS[name]
    (tmp_path / "empty").mkdir()
    for folder, message in (("nowhere", "there is no such folder"), ("empty", "(is|are) missing")):
        with pytest.raises(UserError, match=message) as caught:
            dataset.read(tmp_path / folder)
        assert dataset.source in str(caught.value)
        assert dataset.licence in str(caught.value)
        assert "\n" not in str(caught.value)
    root = write(tmp_path / "here")
    lost = dataset.read(root).paths()[3]
    lost.unlink()
    try:
        said = " ".join(dataset.read(root).notes)
    except UserError as error:
        said = str(error)
    assert lost.stem in said
    assert "\n" not in said
