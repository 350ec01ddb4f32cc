"""The phantom's data sets of labelled images: read by the readers of the real ones, and good enough to be probed."""

from pathlib import Path

import pytest

import cxrbench
from cxrbench.data.check import check
from cxrbench.data.manifest import Manifest
from cxrbench.engine.registry import load_dataset
from cxrbench.phantom import write as phantom
from cxrbench.phantom.cases import case
from support.same_rows import assert_same_rows

SMALL = {"shenzhen": 20, "montgomery": 20, "covidx": 20, "chexchonet": 20, "chestx6": 18, "medmod": 33, "iu-xray": 12,
         "ranzcr-clip": 20, "cxr-lt": 14, "nih": 20}  # fmt: skip
PROBED = ("shenzhen:classification", "covidx:classification", "chexchonet:classification", "chexchonet:regression")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom")
    phantom.write(out, images=SMALL, workers=1)
    return out


def load(name: str, folder: Path) -> Manifest:
    return load_dataset(name, folder, lambda: folder)


@pytest.mark.parametrize("name", SMALL)
def test_readers_of_the_real_downloads_read_it(name: str, written: Path) -> None:
    manifest = load(name, written)
    assert manifest.synthetic
    assert set(manifest.images["split"]) == {"train", "val", "test"}
    assert (manifest.images.loc[manifest.images["split"] == "train", list(manifest.groups["macro"])].sum() > 0).any()
    report = check(manifest, workers=1)
    assert report.ok, report


def test_its_blank_counterpart_has_the_same_rows(written: Path, tmp_path: Path) -> None:
    phantom.write(tmp_path, images=SMALL, workers=1, blank=True)
    for name in SMALL:
        assert_same_rows(load(name, tmp_path), load(name, written))


def test_some_of_each_kind_are_probed(written: Path, tmp_path: Path) -> None:
    rows = cxrbench.run(
        "pixels", list(PROBED), data=written, results=tmp_path / "results", cache=tmp_path / "cache"
    ).rows
    assert {row["task"]: row["value"] is not None for row in rows} == dict.fromkeys(PROBED, True), rows


def test_a_patient_of_a_part_is_drawn_whatever_other_parts_there_are() -> None:
    """Parts are seeded by their name: numbers of the first release, which no new part may change."""
    assert case("siim", 0, 0).key.hex[:8] == "9fd3fb80"
    assert case("shenzhen", 0, 0).key.hex[:8] == "bf165ffe"
