"""The phantom on disk: deterministic, whole or absent, and read by the adapters of the real datasets."""

import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pydicom
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from cxrbench.data.datasets import rsna, siim, vindr
from cxrbench.data.decode.images import decode
from cxrbench.errors import UserError
from cxrbench.phantom import write as phantom
from cxrbench.phantom.cases import case
from cxrbench.phantom.findings import FINDINGS, OPACITY, PNEUMOTHORAX
from support.phantom_digest import digest, file_digests
from support.same_rows import assert_same_rows

SMALL = {"vindr_train": 30, "vindr_test": 24, "rsna": 40, "siim": 40}
SEED = 3


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom")
    phantom.write(out, seed=SEED, images=SMALL, workers=1)
    return out


def test_same_bytes_from_one_worker_and_from_two(written: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    phantom.write(tmp_path, seed=SEED, images=SMALL, workers=2, progress=lambda d, n: done.append((d, n)))
    assert file_digests(tmp_path) == file_digests(written)
    assert done == [(i + 1, sum(SMALL.values())) for i in range(sum(SMALL.values()))]


# Of version 5 as it was first drawn, before it was drawn faster. Another phantom has another VERSION.
FROZEN = {"vindr": "3bcfb55f59fac1b5", "rsna": "81deed9eb452564f", "siim": "25b53db22a9b15a8"}


@pytest.mark.parametrize("name", list(FROZEN))
def test_tables_and_pixels_are_those_of_the_version(written: Path, name: str) -> None:
    assert phantom.VERSION == 5
    assert digest(written / name) == FROZEN[name]


def test_a_blank_phantom_has_the_rows_of_the_drawn_one(written: Path, tmp_path: Path) -> None:
    phantom.write(tmp_path, seed=SEED, images=SMALL, workers=1, blank=True)
    for name, adapter in (("vindr", vindr), ("rsna", rsna), ("siim", siim)):
        manifest = adapter.DATASET.read(tmp_path / name)
        assert_same_rows(manifest, adapter.DATASET.read(written / name))
        assert "PixelData" not in pydicom.dcmread(manifest.paths()[0])


def test_a_blank_phantom_is_never_taken_for_the_drawn_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom, "IMAGES", {"siim": 2})
    folder = tmp_path / f"phantom-v{phantom.VERSION}"
    phantom.write_blank(folder, ["siim", "nobody"], workers=1)
    assert json.loads((folder / "siim" / phantom.MARKER).read_text())["synthetic"]
    phantom.ensure(tmp_path)
    assert np.asarray(decode(siim.DATASET.read(folder / "siim").paths()[0])).max() > 0.5


class Killed:
    """A function that ends the process that receives it."""

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return os._exit, (1,)


def test_a_killed_process_is_one_line_and_leaves_what_was_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom.write(tmp_path, images={"rsna": 2}, workers=1)
    before = file_digests(tmp_path)
    monkeypatch.setattr(phantom, "WRITERS", {**phantom.WRITERS, "siim": (Killed(), phantom.WRITERS["siim"][1])})
    with pytest.raises(UserError, match=r"was killed.*run the command again") as caught:
        phantom.write(tmp_path, images={"rsna": 2, "siim": 16}, workers=2)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "siim").exists()
    assert file_digests(tmp_path) == before


def test_a_process_that_draws_does_not_run_the_script_that_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``if __name__ == "__main__"`` the script would ask again, and wait for itself."""
    script, main = tmp_path / "script.py", ModuleType("__main__")
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    main.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    with ProcessPoolExecutor(1, phantom.Context()) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
    assert not (tmp_path / "ran").exists()
    assert sys.modules["__main__"] is main


def test_a_dicom_file_says_what_pydicom_writes(written: Path, tmp_path: Path) -> None:
    for path in [*(written / "vindr" / "train").iterdir(), *(written / "rsna" / "stage_2_train_images").iterdir()][::9]:
        ours = pydicom.dcmread(path)
        ours.save_as(tmp_path / "again.dcm")
        assert (tmp_path / "again.dcm").read_bytes() == path.read_bytes()


def test_another_seed_gives_other_images(written: Path, tmp_path: Path) -> None:
    phantom.write(tmp_path, seed=SEED + 1, images={"rsna": 4}, workers=1)
    names = {path.name for path in (tmp_path / "rsna" / "stage_2_train_images").iterdir()}
    assert len(names) == 4
    assert not names & {path.name for path in (written / "rsna" / "stage_2_train_images").iterdir()}


def test_adapters_of_the_real_datasets_read_it(written: Path) -> None:
    labels = {
        "vindr": (vindr, [case(p, SEED, i) for p in ("vindr_train", "vindr_test") for i in range(SMALL[p])]),
        "rsna": (rsna, [case("rsna", SEED, i) for i in range(SMALL["rsna"])]),
        "siim": (siim, [case("siim", SEED, i) for i in range(SMALL["siim"])]),
    }
    for name, (adapter, cases) in labels.items():
        manifest = adapter.DATASET.read(written / name)
        assert len(manifest) == len(cases)
        rows = manifest.images.set_index("image_id")
        for c in cases:
            if name == "vindr":
                row = rows.loc[c.key.hex]
                assert {k for k in FINDINGS if row[k] == 1} == set(c.grades), "majority of the readers is the truth"
                assert row["No finding"] == (not c.grades)
            elif name == "rsna":
                assert rows.loc[str(c.key)][list(manifest.labels)].max() == (OPACITY in c.grades)
            else:
                assert rows.loc[c.uid("instance"), "Pneumothorax"] == (PNEUMOTHORAX in c.grades)
        images = [decode(path) for path in manifest.paths()[:12]]
        assert all(0.1 < np.asarray(image).mean() < 0.9 for image in images)


def test_monochrome1_and_windows_decode_to_the_image(written: Path) -> None:
    kinds = Counter()
    for i in range(SMALL["vindr_train"]):
        c = case("vindr_train", SEED, i)
        path = written / "vindr" / "train" / f"{c.key.hex}.dicom"
        header = pydicom.dcmread(path, stop_before_pixels=True)
        kinds[header.PhotometricInterpretation] += 1
        kinds[header.file_meta.TransferSyntaxUID.name] += 1
        kinds["window" if "WindowCenter" in header else "no window"] += 1
        if i < 8:
            shown, image = np.asarray(decode(path)), c.image().image
            assert np.corrcoef(shown.ravel(), image.ravel())[0, 1] > 0.999
    assert {"MONOCHROME1", "MONOCHROME2", "RLE Lossless", "Explicit VR Little Endian", "window", "no window"} <= set(
        kinds
    )


def test_tables_have_the_traps_of_the_originals(written: Path) -> None:
    annotations = written / "vindr" / "annotations"
    with open(annotations / "image_labels_train.csv", encoding="utf-8") as handle:
        train = list(csv.DictReader(handle))
    with open(annotations / "image_labels_test.csv", encoding="utf-8") as handle:
        test = list(csv.DictReader(handle))
    assert "Other diseases" in train[0]
    assert "Other disease" in test[0]
    assert len(train[0]) == 2 + 28
    assert len(test[0]) == 1 + 28
    assert set(Counter(row["image_id"] for row in train).values()) == {3}
    votes: dict[str, set[tuple[str, ...]]] = {}
    for row in train:
        votes.setdefault(row["image_id"], set()).add(tuple(v for k, v in row.items() if k != "rad_id"))
    assert 0 < sum(len(v) > 1 for v in votes.values()) < len(votes), "readers sometimes disagree"
    lines = (written / "siim" / "train-rle.csv").read_text().splitlines()
    assert lines[0] == "ImageId, EncodedPixels"
    assert any(line.endswith(", -1") for line in lines)
    assert max(Counter(line.split(",")[0] for line in lines[1:]).values()) > 1
    with open(written / "rsna" / "stage_2_train_labels.csv", encoding="utf-8") as handle:
        boxes = Counter(row["patientId"] for row in csv.DictReader(handle))
    assert max(boxes.values()) > 1
    classes = (written / "rsna" / "stage_2_detailed_class_info.csv").read_text()
    assert all(name in classes for name in ("Lung Opacity", "No Lung Opacity / Not Normal", ",Normal"))


def official_rle2mask(rle: str, width: int, height: int) -> np.ndarray:
    """What the challenge's mask_functions.py computes, from its description: relative starts, down the columns."""
    mask, position = np.zeros(width * height, bool), 0
    numbers = [int(v) for v in rle.split()]
    for start, length in zip(numbers[0::2], numbers[1::2], strict=True):
        position += start
        mask[position : position + length] = True
        position += length
    return mask.reshape(width, height).T


def test_siim_masks_decode_to_the_geometry_of_the_image(written: Path) -> None:
    rows: dict[str, list[str]] = {}
    for line in (written / "siim" / "train-rle.csv").read_text().splitlines()[1:]:
        name, rle = line.split(", ")
        rows.setdefault(name, []).append(rle)
    positives = [c for i in range(SMALL["siim"]) if PNEUMOTHORAX in (c := case("siim", SEED, i)).grades]
    assert positives
    for c in positives:
        masks = [official_rle2mask(rle, *c.shape[::-1]) for rle in rows[c.uid("instance")]]
        truth = np.any([f.mask for f in c.image().findings if f.name == PNEUMOTHORAX], axis=0)
        assert np.sum(masks, 0).max() == 1, "regions do not overlap"
        assert (np.any(masks, axis=0) != truth).mean() < 1e-3  # specks of a few pixels are dropped


def test_an_interrupted_write_is_invisible_and_redone(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 6:
            assert not list(tmp_path.rglob(phantom.MARKER)), "the marker comes last"
            raise StopError

    counts = {"rsna": 8}
    with pytest.raises(StopError):
        phantom.write(tmp_path, seed=SEED, images=counts, workers=1, progress=stop)
    assert not (tmp_path / "rsna").exists()
    phantom.write(tmp_path, seed=SEED, images=counts, workers=1)
    marker = json.loads((tmp_path / "rsna" / phantom.MARKER).read_text())
    assert (marker["version"], marker["seed"], marker["images"]) == (phantom.VERSION, SEED, counts)
    before = file_digests(tmp_path)
    phantom.write(tmp_path, seed=SEED, images=counts, workers=1, progress=lambda d, n: pytest.fail("written twice"))
    phantom.write(tmp_path, seed=SEED + 1, images=counts, workers=1)
    assert file_digests(tmp_path) != before
    assert not list(tmp_path.glob(".*partial"))


def test_a_folder_that_is_not_a_phantom_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "siim").mkdir()
    (tmp_path / "siim" / "train-rle.csv").write_text("mine")
    with pytest.raises(UserError, match="choose another folder"):
        phantom.write(tmp_path, images={"siim": 2}, workers=1)
    assert (tmp_path / "siim" / "train-rle.csv").read_text() == "mine"


def test_ensure_writes_once_into_a_versioned_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom, "IMAGES", {"siim": 2})
    folder = phantom.ensure(tmp_path)
    assert folder == tmp_path / f"phantom-v{phantom.VERSION}"
    before = {path: path.stat().st_mtime_ns for path in (folder / "siim").rglob("*")}
    assert phantom.ensure(tmp_path) == folder
    assert {path: path.stat().st_mtime_ns for path in (folder / "siim").rglob("*")} == before


def test_nuisances_do_not_tell_the_label() -> None:
    """View, sex, age and size of 3,000 cases predict no label beyond chance, neither alone nor in a regression."""
    cases = [case(part, 0, i) for part in ("vindr_train", "rsna", "siim") for i in range(1000)]
    for part in ("vindr_train", "rsna", "siim"):
        mine = [c for c in cases if c.part == part]
        X = np.array([[c.age, c.sex == "F", *c.shape, c.rng(2).random()] for c in mine], float)
        X = (X - X.mean(0)) / (X.std(0) + 1e-9)
        for name in FINDINGS:
            y = np.array([name in c.grades for c in mine])
            if y.sum() < 30:
                continue
            scores = LogisticRegression().fit(X[:600], y[:600]).decision_function(X[600:])
            error = np.sqrt(1 / (12 * y[600:].sum()) + 1 / (12 * (~y[600:]).sum()))
            assert abs(roc_auc_score(y[600:], scores) - 0.5) < 4 * error, (part, name)
