"""A user's CSV beyond labels: reports, numbers, overlapping masks, array rows, no labels, separators, splits."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.check import check
from cxrbench.data.custom.dataset import read_csv, read_frame
from cxrbench.data.custom.sidecar import Sidecar
from cxrbench.data.decode.images import decode, image_size
from cxrbench.data.kept import Origin, read_kept
from cxrbench.data.manifest import SPLITS, Manifest
from cxrbench.errors import BadImageError, UserError
from support.layouts import text


def csv(root: Path, header: str, cells: list[str], sidecar: str = "") -> Path:
    """A CSV ``image,HEADER``, an image of 6 x 4 pixels for each of its rows."""
    rows = []
    for n, cell in enumerate(cells):
        Image.new("L", (6, 4), n).save(root / f"{n}.png")
        rows.append(f"{n}.png,{cell}")
    if sidecar:
        (root / "own.toml").write_text(sidecar)
    text(root / "own.csv", f"image,{header}", *rows)
    return root / "own.csv"


def test_without_labels_every_image_is_to_be_trained_on(tmp_path: Path) -> None:
    manifest = read_csv(csv(tmp_path, "patient,sex,age", [f"p{n // 2},F,{n + 20}" for n in range(6)]))
    assert (manifest.labels, manifest.quantities, manifest.masks) == ((), (), None)
    assert set(manifest.images["split"]) == {"train"}
    assert manifest.images["group:age"].tolist() == [str(n + 20) for n in range(6)]
    assert "Nothing to test by, so every image is one to train on (pretraining)." in manifest.notes


def test_without_labels_a_split_column_counts(tmp_path: Path) -> None:
    cells = ["train"] * 4 + ["val", "test"]
    assert read_csv(csv(tmp_path, "split", cells)).images["split"].tolist() == cells
    assert set(read_csv(csv(tmp_path, "split", ["train"] * 6)).images["split"]) == {"train"}


def test_reports_are_of_studies_and_sections_are_found(tmp_path: Path) -> None:
    whole = '"FINDINGS: Clear lungs.\nIMPRESSION: Normal, really."'
    path = csv(tmp_path, "patient,study,report", [f"p1,s1,{whole}", "p1,s1,", "p2,s2,A nodule.", "p3,s3,NaN"])
    manifest = read_csv(path)
    assert manifest.reports is not None
    assert manifest.reports.to_numpy().tolist() == [
        ["s1", "Clear lungs.", "Normal, really."], ["s2", "A nodule.", ""],
    ]  # fmt: skip
    assert "Reports: column report; 1 of 3 studies have none." in manifest.notes
    assert len(set(manifest.images["split"])) > 1


def test_findings_beside_an_impression_are_a_section_and_no_list_of_labels(tmp_path: Path) -> None:
    manifest = read_csv(csv(tmp_path, "findings,impression,effusion", ["Large heart.,Failure.,1", "Clear.,Normal.,0"]))
    assert manifest.labels == ("effusion",)
    assert manifest.reports is not None
    assert manifest.reports[["findings", "impression"]].to_numpy().tolist()[0] == ["Large heart.", "Failure."]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["p1,s1,Clear.", "p1,s1,Not clear."], "rows 2 and 3: study s1 has two reports"),
        (["p1,s1,Clear.", "p2,s1,Clear."], "rows 2 and 3: study s1 is of patients p1 and p2"),
        (["p1,s1,Clear.", "p2,s2,1"], "row 3: column report holds '1', which is no report"),
    ],
)
def test_reports_that_cannot_be(cells: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_csv(csv(tmp_path, "patient,study,report", cells))


def test_numbers_to_be_predicted(tmp_path: Path) -> None:
    cells = [f"{n % 2},{n / 4},{60 + n},,{n}" for n in range(8)]
    path = csv(tmp_path, "effusion,severity,age,note,regression:extent", cells)
    assert read_csv(path).quantities == ("extent",)
    (tmp_path / "own.toml").write_text('regression = ["severity", "age"]')
    manifest = read_csv(path)
    assert (manifest.labels, manifest.quantities) == (("effusion",), ("extent", "severity", "age"))
    np.testing.assert_array_equal(manifest.measured()[:, 1], np.arange(8) / 4)
    assert manifest.images["group:age"].tolist() == [str(60 + n) for n in range(8)]
    manifest.save(tmp_path / "kept.parquet")
    assert Manifest.load(tmp_path / "kept.parquet").quantities == manifest.quantities


def test_severity_is_known_by_name_where_it_is_a_number(tmp_path: Path) -> None:
    assert read_csv(csv(tmp_path, "severity", ["0", "1.5", "", "3"])).quantities == ("severity",)
    assert read_csv(csv(tmp_path, "severity", ["0", "1", "", "1"])).labels == ("severity",)


def test_quantities_change_a_fingerprint_and_other_datasets_keep_theirs(tmp_path: Path) -> None:
    path = csv(tmp_path, "effusion,dose", [f"{n % 2},{n}" for n in range(8)])
    before = read_csv(path).fingerprint
    (tmp_path / "own.toml").write_text('regression = ["dose"]')
    after = read_csv(path)
    assert after.fingerprint != before
    path.write_text(path.read_text().replace("7.png,1,7", "7.png,1,6"))
    assert read_csv(path).fingerprint != after.fingerprint


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1", "2", "high"], "row 4: column dose holds 'high', where a number is to be predicted"),
        (["1", "2", "inf"], "row 4: column dose holds 'inf'"),
        (["2", "2", ""], "column dose is always 2: there is nothing to predict"),
        (["", "", ""], "column dose is empty"),
    ],
)
def test_numbers_that_are_none(cells: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_csv(csv(tmp_path, "dose", cells, 'regression = ["dose"]'))


def test_a_column_of_many_numbers_called_label_is_told_what_it_may_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"numbers to be predicted: regression = \['label'\] in own.toml"):
        read_csv(csv(tmp_path, "label", [f"{n}.5" for n in range(60)]))
    (tmp_path / "own.toml").write_text('regression = ["label"]')
    assert read_csv(tmp_path / "own.csv").quantities == ("label",)


def test_masks_of_several_labels_overlap(tmp_path: Path) -> None:
    drawn = {
        "heart": (slice(1, 4), slice(0, 4)),
        "lung": (slice(0, 3), slice(2, 6)),
        "left": (slice(0, 1), slice(0, 1)),
    }
    for name, where in drawn.items():
        mask = np.zeros((4, 6), np.uint8)
        mask[where] = 255
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    manifest = read_csv(csv(tmp_path, "mask:heart,mask:lung", ["heart.png,lung.png|left.png", "heart.png,", ","]))
    truth = TrueMasks.of(manifest)
    assert (truth.labels, truth.exclusive) == (("heart", "lung"), False)
    heart, lung = truth.native("0.png", 4, 6) == 1
    assert (heart & lung).sum() == 4
    assert (heart.sum(), lung.sum()) == (12, 13)
    assert truth.known("1.png").tolist() == [True, False]
    assert manifest.labels == ()


@pytest.mark.parametrize(
    ("header", "sidecar", "message"),
    [
        ("mask,mask:lung", "", "give one mask per image, or a column mask:LABEL"),
        ("mask:heart,mask:lung", 'mask_label = "lung"', "which say it themselves"),
    ],
)
def test_masks_said_in_two_ways(header: str, sidecar: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_csv(csv(tmp_path, header, ["0.png,0.png", ","], sidecar))


def arrays(root: Path, values: np.ndarray, labels: str = "01") -> Path:
    np.save(root / "all.npy", values)
    rows = [f"all.npy#{n},{labels[n % len(labels)]}" for n in range(len(values))]
    text(root / "own.csv", "image,effusion", *rows)
    return root / "own.csv"


def test_rows_of_arrays_are_images(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 5, 7), np.uint8)
    manifest = read_csv(arrays(tmp_path, values))
    assert manifest.labels == ("effusion",)
    for path, image in zip(manifest.paths(), values, strict=True):
        assert image_size(path) == (5, 7)
        np.testing.assert_array_equal(decode(path), image.astype(np.float32) / np.float32(255))
    assert 35 <= manifest.images["bytes"].iloc[0] < 35 + 128  # a row, and its part of the header


def test_a_changed_row_changes_the_dataset(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 5, 7), np.uint8)
    path = arrays(tmp_path, values)
    origin = Origin(tmp_path, lambda: read_csv(path), table=path)
    before = read_kept(origin, tmp_path / "kept")
    assert before.fingerprint == read_kept(origin, tmp_path / "kept").fingerprint
    values[2] = 255 - values[2]
    np.save(tmp_path / "all.npy", values)
    after = read_kept(origin, tmp_path / "kept")
    assert [a == b for a, b in zip(before.images["stamp"], after.images["stamp"], strict=True)] == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (np.array([[0, 1000], [4000, 4095]], np.uint16), 4095),
        (np.array([[0, 1000], [4000, 65535]], np.uint16)[None], 65535),
        (np.array([[0, 0.25], [0.5, 1]], np.float64)[..., None], 1),
        (np.array([[0, 1], [1, 0]], bool), 1),
    ],
)
def test_every_kind_of_number_has_its_white(values: np.ndarray, scale: float, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", values[None])
    found = decode(tmp_path / "x.npy#0")
    np.testing.assert_allclose(found, values.reshape(2, 2).astype(np.float64) / scale, rtol=1e-6)


def test_gray_in_three_channels_is_gray_and_not_normalised(tmp_path: Path) -> None:
    gray = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    normalised = (gray - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array([0.229, 0.224, 0.225])[
        :, None, None
    ]
    for name, values in (("a", np.stack([gray] * 3)), ("b", normalised.astype(np.float32))):
        np.save(tmp_path / f"{name}.npy", values[None])
        np.testing.assert_allclose(decode(tmp_path / f"{name}.npy#0"), gray, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 300.0]]), "values go from 0 to 300: scale floats"),
        (np.array([[0, 300]]), "a row is of int64"),
        (np.array([[[0.0, 1.0]], [[0.0, 0.5]], [[1.0, 0.2]]]), "its 3 channels differ in more than ImageNet's"),
        (np.array([[[0.0, 1.0]], [[0.0, np.nan]], [[0.0, 1.0]]]), "its 3 channels differ in more than ImageNet's"),
        (np.array([0.0, 1.0]), "not an image"),
        (np.zeros((4, 5, 6)), "not an image"),
    ],
)
def test_rows_that_are_no_images(values: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", values[None])
    with pytest.raises(BadImageError, match=message):
        decode(tmp_path / "x.npy#0")
    with pytest.raises(BadImageError, match=r"name a row of it, as in x\.npy#0"):
        decode(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("row", "message"),
    [("9", "all.npy has 4 rows, called all.npy#0 to #3"), ("01", "has 4 rows"), ("last", "has 4 rows")],
)
def test_rows_that_are_not_there(row: str, message: str, tmp_path: Path) -> None:
    path = arrays(tmp_path, np.zeros((4, 5, 7), np.uint8))
    path.write_text(path.read_text().replace("#3", f"#{row}"))
    with pytest.raises(UserError, match=message):
        read_csv(path)


def test_a_mask_may_be_a_row_of_an_array(tmp_path: Path) -> None:
    mask = np.zeros((1, 4, 6), np.int64)
    mask[0, 1:3, 2:4] = 7
    np.save(tmp_path / "masks.npy", mask)
    manifest = read_csv(csv(tmp_path, "mask", ["masks.npy#0", ""]))
    assert (TrueMasks.of(manifest).native("0.png", 4, 6) == 1).sum() == 4


@pytest.mark.parametrize(("mark", "said"), [(";", "semicolons"), ("\t", "tabs")])
def test_semicolons_and_tabs_are_read_and_said(mark: str, said: str, tmp_path: Path) -> None:
    cells = [f"p{n},{n % 2},{n}.25" for n in range(4)]
    expected = read_csv(csv(tmp_path, "patient,effusion,regression:dose", cells))
    path = tmp_path / "own.csv"
    path.write_text(path.read_text().replace(",", mark).replace(".25", ",25" if mark == ";" else ".25"))
    found = read_csv(path)
    pd.testing.assert_frame_equal(found.images, expected.images)
    assert any(said in note for note in found.notes)


@pytest.mark.parametrize(("words", "said"), [(("no", "Yes"), "yes and no"), (("False", "TRUE"), "True and False")])
def test_words_for_one_and_zero_are_read_and_said(words: tuple[str, str], said: str, tmp_path: Path) -> None:
    manifest = read_csv(csv(tmp_path, "effusion", [words[0], words[1], "", words[1]]))
    np.testing.assert_array_equal(manifest.targets()[:, 0], [0, 1, np.nan, 1])
    assert f"{said} are taken as 1 and 0 in effusion." in manifest.notes


def test_words_and_numbers_in_one_column_are_a_slip(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="row 4: column effusion holds 'yes' among 0 and 1"):
        read_csv(csv(tmp_path, "effusion", ["1", "0", "yes", "0"]))


def test_views_ages_and_sexes_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    cells = ["1,PA,F,058Y", "0,oblique,x,58 years", "1,Postero-Anterior,M,", "0,Lateral,,7"]
    manifest = read_csv(csv(tmp_path, "effusion,view,sex,age", cells))
    assert manifest.images["view"].tolist() == ["PA", "", "PA", "L"]
    assert manifest.images["group:age"].tolist() == ["58", "", "", "7"]
    notes = " ".join(manifest.notes)
    assert "1 cells are no view (PA, AP, lateral), and so unknown: oblique." in notes
    assert "1 cells of column age are no age, and so unknown: 58 years." in notes
    assert "1 cells of column sex are no sex, and so unknown: x." in notes


def test_a_data_frame_is_read_as_its_csv(tmp_path: Path) -> None:
    cells = [f"p{n},{n % 2},{n}.5" for n in range(4)]
    expected = read_csv(csv(tmp_path, "patient,effusion,severity", cells))
    frame = pd.read_csv(tmp_path / "own.csv")
    frame["effusion"] = frame["effusion"].astype(float)
    found = read_frame(frame, tmp_path, Sidecar(name="own"))
    assert found.fingerprint == expected.fingerprint
    with pytest.raises(UserError, match=r"own\.csv row 5: column effusion holds '7'"):
        read_frame(frame.assign(effusion=[0, 1, 0, 7]), tmp_path, Sidecar(name="own"))
    with pytest.raises(UserError, match="0 rows"):
        read_frame(frame.head(0), tmp_path, Sidecar())


def test_a_seed_in_the_sidecar_stratifies_the_splits(tmp_path: Path) -> None:
    cells = [f"p{n},{n % 10 == 0:d},{n % 7}" for n in range(100)]
    path = csv(tmp_path, "patient,effusion,regression:dose", cells, "split_seed = 5")
    manifest = read_csv(path)
    assert "No split column: 70/10/20 by patient, stratified, seed 5." in manifest.notes
    assert [int(manifest.targets()[manifest.rows_of(s), 0].sum()) for s in ("train", "val", "test")] == [7, 1, 2]
    (tmp_path / "own.toml").write_text("split_seed = 6")
    assert read_csv(path).images["split"].tolist() != manifest.images["split"].tolist()
    (tmp_path / "own.toml").write_text("")
    assert any("seed 42 (stratified: split_seed = NUMBER in own.toml)" in note for note in read_csv(path).notes)
    (tmp_path / "own.toml").write_text('split_seed = "5"')
    with pytest.raises(UserError, match="split_seed is a whole number"):
        read_csv(path)


def test_a_seed_without_need_is_said(tmp_path: Path) -> None:
    cells = [f"{n % 2},{('train', 'val', 'test')[n % 3]}" for n in range(6)]
    manifest = read_csv(csv(tmp_path, "effusion,split", cells, "split_seed = 5"))
    assert any("split_seed in own.toml is not used" in note for note in manifest.notes)


def test_without_patients_a_study_stays_in_one_split(tmp_path: Path) -> None:
    manifest = read_csv(csv(tmp_path, "study,effusion", [f"s{n // 3},{n % 2}" for n in range(60)]))
    assert len(set(zip(manifest.images["study_id"], manifest.images["split"], strict=True))) == 20
    assert "No patient column: each study counts as a patient." in manifest.notes


def test_a_check_shows_numbers_by_split(tmp_path: Path) -> None:
    cells = ["train,1", "train,3", "train,", "val,", "test,5"]
    report = check(read_csv(csv(tmp_path, "split,regression:dose", cells)), decode_all=False)
    assert [report.splits[split].numbers["dose"] for split in SPLITS] == [(2, 2.0, 1.0), (0, None, None), (1, 5.0, 0.0)]
    line = next(line for line in str(report).splitlines() if line.startswith("dose"))
    assert line.split() == [
        "dose",
        "(mean",
        "±",
        "SD)",
        "2",
        "±",
        "1",
        "(1",
        "unknown)",
        "-",
        "(1",
        "unknown)",
        "5",
        "±",
        "0",
    ]
