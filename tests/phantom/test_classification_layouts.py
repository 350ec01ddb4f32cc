"""The phantom's data sets of labelled images: read by the readers of the real ones, and good enough to be probed."""

from pathlib import Path

import pytest

import cxrbench
from cxrbench.data.check import check
from cxrbench.data.manifest import Manifest
from cxrbench.engine.registry import load_dataset
from cxrbench.phantom import write as phantom
from support.phantom_digest import file_digests
from support.same_rows import assert_same_rows

SMALL = {"shenzhen": 20, "montgomery": 20, "nih": 20}


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


def test_its_blank_counterpart_has_the_same_rows_and_other_processes_the_same_bytes(
    written: Path, tmp_path: Path
) -> None:
    phantom.write(tmp_path / "blank", images=SMALL, workers=1, blank=True)
    for name in SMALL:
        assert_same_rows(load(name, tmp_path / "blank"), load(name, written))
    few = dict.fromkeys(SMALL, 2)
    for workers in (1, 2):
        phantom.write(tmp_path / f"{workers}", seed=1, images=few, workers=workers)
    assert file_digests(tmp_path / "1") == file_digests(tmp_path / "2")


def test_every_one_can_be_probed(written: Path, tmp_path: Path) -> None:
    tasks = [f"{name}:classification" for name in SMALL]
    rows = cxrbench.run("pixels", tasks, data=written, results=tmp_path / "results", cache=tmp_path / "cache").rows
    assert {row["task"]: row["value"] is not None for row in rows} == dict.fromkeys(tasks, True), rows
