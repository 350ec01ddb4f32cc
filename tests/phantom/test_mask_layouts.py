"""The phantom's datasets with masks: read by the adapters of the real ones, masks on what is drawn."""

from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.decode.images import decode
from cxrbench.engine.registry import load_dataset
from cxrbench.phantom import write as phantom
from cxrbench.phantom.cases import case
from cxrbench.phantom.drawing import ribs
from cxrbench.phantom.layouts.segmentation.ribs import rib_outline
from cxrbench.tasks.dense.segmentation import TASK
from support.same_rows import assert_same_rows

IMAGES = {
    "vindr-ribcxr": 10,
    "qata": 10,
    "candid-ptx": 16,
    "chexlocalize": 18,
    "covid-qu-ex": 20,
    "cxlseg": 12,
    "mimic-lungs": 10,
}
"""How many images of each."""
SHOWN = {"candid-ptx": 3, "chexlocalize": 4, "covid-qu-ex": 2, "mimic-lungs": 8, "vindr-ribcxr": 20}
"""How many labels are seen, at least; 1 of the others."""
SEED = 5


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("masks")
    phantom.write(out, seed=SEED, images=IMAGES, workers=1)
    return out


@pytest.mark.parametrize("name", IMAGES)
def test_it_reads_as_the_real_one(written: Path, name: str) -> None:
    manifest = load_dataset(name, written, Path)
    assert manifest.synthetic
    assert set(manifest.images["split"]) == {"train", "val", "test"}
    assert TASK.not_applicable(manifest) is None
    truth = TrueMasks.of(manifest)
    covered = np.zeros(len(truth.labels))
    for image_id, path in zip(manifest.images["image_id"], manifest.paths(), strict=True):
        image = np.asarray(decode(path))
        covered += (truth.native(image_id, *image.shape) == 1).mean((1, 2)) / len(manifest)
    assert (covered > 0.001).sum() >= SHOWN.get(name, 1)
    assert (covered < 0.6).all()


def test_a_blank_one_has_the_rows_of_the_drawn_one(written: Path, tmp_path: Path) -> None:
    phantom.write(tmp_path, seed=SEED, images=IMAGES, workers=1, blank=True)
    for name in IMAGES:
        blank = load_dataset(name, tmp_path, Path)
        assert_same_rows(blank, load_dataset(name, written, Path))
        if blank.paths()[0].suffix in (".png", ".jpg"):  # a DICOM file ends where its pixels would begin
            assert np.ptp(np.asarray(decode(blank.paths()[0]))) == 0


def test_rib_masks_lie_on_the_ribs_that_are_drawn(written: Path) -> None:
    """Of what ``drawing.ribs`` paints brightest nearly all is in a mask, and masks are brighter than the gaps."""
    manifest = load_dataset("vindr-ribcxr", written, Path)
    truth = TrueMasks.of(manifest)
    name = next(n for n in manifest.images["image_id"] if n.endswith("_000"))
    drawn = ribs(case("vindr-ribcxr", SEED, 0).image().thorax)
    outlined = (truth.native(name, *drawn.shape) == 1).any(0)
    assert outlined[drawn > 0.1].mean() > 0.8  # the eleventh rib and the first front part are outlined by nobody
    assert drawn[outlined].mean() > 4 * drawn[~outlined].mean()


def test_ribs_are_mirrored_and_overlap_where_a_front_part_crosses_a_back_part() -> None:
    thorax = case("vindr-ribcxr", SEED, 0).image().thorax
    left, right = (rib_outline(thorax, side, 4) for side in "LR")
    assert left[:, 0].mean() > thorax.pose.width / 2 > right[:, 0].mean()  # the patient's left is image right
    assert len(rib_outline(thorax, "L", 9)) < len(left)  # the lower ribs have no front part
