"""CheXpert, CheXpert Plus, PadChest and BRAX on tiny folders in the official layouts, written by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.datasets import brax, chexpert, chexpert_plus, padchest
from cxrbench.data.decode.images import decode
from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from support.chexpert_layouts import CELLS, image, write_chexpert, write_chexpert_plus
from support.layouts import text

PADCHEST_HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,Projection,"
    "PhotometricInterpretation_DICOM,Report,Labels"
)


def labels_of(manifest: Manifest, image_id: str) -> dict[str, float]:
    row = manifest.images.set_index("image_id").loc[image_id]
    return {name: float(row[name]) for name in manifest.labels}


def test_chexpert_names_views_splits_and_uncertain_labels(tmp_path: Path) -> None:
    manifest = chexpert.read(write_chexpert(tmp_path))
    rows = manifest.images.set_index("image_id")
    assert len(rows) == 28
    first = rows.loc["patient00001_study1_view1_frontal"]
    assert (first["patient_id"], first["study_id"], first["view"]) == ("patient00001", "patient00001_study1", "AP")
    views = [rows.loc[f"patient0000{n}_study{2 - n % 2}_view1_frontal", "view"] for n in (1, 2, 3)]
    assert views == ["AP", "PA", ""], "LL is neither"
    assert set(rows.filter(like="lateral", axis=0)["view"]) == {"L"}
    assert set(rows.loc[rows["split"] == "test", "patient_id"]) == {"patient64541", "patient64542"}
    assert set(rows.groupby("patient_id")["split"].nunique()) == {1}
    assert 0 < rows["split"].tolist().count("val") <= 4
    # the four cells in turn, under the policy of the five labels and of the other nine
    said = labels_of(manifest, "patient00001_study1_view1_frontal")
    assert [said[name] for name in ("No Finding", "Enlarged Cardiomediastinum", "Lung Opacity")] == [1, 0, 0]
    assert said["Cardiomegaly"] == 0, "-1 of Cardiomegaly"
    expected = {"Atelectasis": 1, "Edema": 1, "Pleural Effusion": 1, "Cardiomegaly": 0, "Consolidation": 0}
    for label in chexpert.LABELS:
        n = (2 - chexpert.LABELS.index(label)) % 4  # the patient whose cell of this label is -1
        unsure = labels_of(manifest, f"patient{n + 1:05d}_study{1 + n % 2}_view1_frontal")[label]
        assert unsure == expected[label] if label in expected else np.isnan(unsure), label
    assert manifest.groups == {"macro": chexpert.COMPETITION, "all": chexpert.LABELS}
    assert decode(manifest.paths()[2])[0, 0] == pytest.approx(10 / 255, abs=2 / 255)
    again = chexpert.read(tmp_path)
    assert again.fingerprint == manifest.fingerprint


def test_chexpert_in_the_folder_itself_and_with_the_official_test_set(tmp_path: Path) -> None:
    flat = chexpert.read(write_chexpert(tmp_path / "flat", nested=False))
    deep = chexpert.read(write_chexpert(tmp_path / "deep"))
    np.testing.assert_array_equal(flat.targets(), deep.targets())
    assert flat.images["split"].tolist() == deep.images["split"].tolist()
    name = "test/patient64741/study1/view1_frontal.jpg"
    image(tmp_path / "flat" / name)
    text(tmp_path / "flat/test_labels.csv", ",".join(["Path", *chexpert.LABELS]), ",".join([name, *["1.0"] * 14]))
    whole = chexpert.read(tmp_path / "flat")
    assert set(whole.images.loc[whole.images["split"] == "val", "patient_id"]) == {"patient64541", "patient64542"}
    assert whole.images.loc[whole.images["split"] == "test", "patient_id"].tolist() == ["patient64741"]
    assert whole.images["split"].tolist().count("train") == 24


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("train", "Edema", "Oedema", r"train.csv lacks the column\(s\) Edema"),
        ("train", ",-1.0,", ",2.0,", "train.csv has the label value '2.0' for"),
        ("valid", "view1_frontal.jpg", "front.jpg", "valid.csv has the path .*front.jpg"),
        ("train", "patient00001/study1/view2_lateral", "patient00001/study1/view1_frontal", "twice: patient00001"),
        ("train", "patient00003/study1/view1", "patient00003/study1/view9", r"1 image\(s\) of train.csv and valid.csv"),
    ],
)  # fmt: skip
def test_chexpert_tables_that_are_wrong(table: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    path = write_chexpert(tmp_path) / f"CheXpert-v1.0-small/{table}.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message) as caught:
        chexpert.read(tmp_path)
    assert chexpert.SOURCE in str(caught.value)


def test_chexpert_patients_on_both_sides_and_a_second_copy(tmp_path: Path) -> None:
    root = write_chexpert(tmp_path, nested=False)
    name = "valid/patient00001/study9/view1_frontal.jpg"
    image(root / name)
    valid = (root / "valid.csv").read_text()
    (root / "valid.csv").write_text(valid + ",".join([name, "Male", "1", "Frontal", "AP", *["0.0"] * 14]) + "\n")
    with pytest.raises(UserError, match=r"official parts share 1 patient\(s\): patient00001"):
        chexpert.read(root)
    (root / "valid.csv").write_text(valid)
    image(root / "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg")
    with pytest.raises(UserError, match="is there twice"):
        chexpert.read(root)


def test_chexpert_plus_reports_labels_and_splits(tmp_path: Path) -> None:
    manifest = chexpert_plus.read(write_chexpert_plus(tmp_path))
    rows = manifest.images.set_index("image_id")
    assert len(rows) == 20
    assert (
        rows.loc["patient00001_study1_view1_frontal", "path"] == "PNG/PNG/train/patient00001/study1/view1_frontal.png"
    )
    assert rows["view"].tolist() == ["PA", "L"] * 10
    assert rows.iloc[0][["group:sex", "group:age"]].tolist() == ["F", "61"]
    assert manifest.reports is not None
    reports = manifest.reports.set_index("study_id").to_dict("index")
    assert len(reports) == 9
    assert reports["patient00001_study1"] == {"findings": "Image 0 is fine.", "impression": "Nothing."}
    assert reports["patient00003_study1"] == {"findings": "From the text.", "impression": "None."}
    assert set(rows.loc[rows["split"] == "test", "patient_id"]) == {"patient00009", "patient00010"}
    assert "val" in set(rows["split"])
    assert rows.loc["patient00001_study1_view1_frontal", "No Finding"] == 1
    assert rows.loc["patient00001_study1_view1_frontal", "Lung Opacity"] == 0, "null is not mentioned"
    assert np.isnan(rows.loc["patient00003_study1_view1_frontal", "No Finding"]), "uncertain"
    assert rows.loc["patient00010_study1_view1_frontal", list(chexpert.LABELS)].isna().all()
    assert any("2 images have none" in note for note in manifest.notes)


def test_chexpert_plus_label_files(tmp_path: Path) -> None:
    whole = chexpert_plus.read(write_chexpert_plus(tmp_path, labels="findings_fixed.json"))
    assert any("findings_fixed.json" in note for note in whole.notes)
    path = tmp_path / "chexbert_labels/findings_fixed.json"
    path.write_text(path.read_text().replace('"Edema"', '"Oedema"', 1))
    with pytest.raises(UserError, match=r"findings_fixed.json line 1 is no object"):
        chexpert_plus.read(tmp_path)
    path.unlink()
    without = chexpert_plus.read(tmp_path)
    assert np.isnan(without.targets()).all()
    assert any("all labels are unknown" in note for note in without.notes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("section_impression", "impression", r"lacks the column\(s\) section_impression"),
        ('"valid"', '"dev"', "unknown split 'dev'"),
        ('"patient00001","train"', '"patient00002","train"', "is not the patient of the path for patient00001"),
        ("patient00001/study1/view1_frontal.jpg", "patient00001/study7/view1_frontal.jpg", r"1 image\(s\) of df_"),
    ],
)
def test_chexpert_plus_tables_that_are_wrong(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = write_chexpert_plus(tmp_path) / chexpert_plus.TABLE
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        chexpert_plus.read(tmp_path)


def write_padchest(root: Path) -> Path:
    """Eight images of six studies, 16 bits; odd lists of terms, a blank patient, a row whose file is not there."""
    rows = [
        ("a1", 0, "s1", "p1", "PA", "['cardiomegaly', ' pleural effusion ']", "derrame pleural ."),
        ("a2", 0, "s1", "p1", "L", "['cardiomegaly', ' pleural effusion ']", "derrame pleural ."),
        ("b", 1, "s2", "p2", "AP_horizontal", "[' normal']", ""),
        ("c", 1, "s3", "p3", "COSTAL", "['costophrenic angle blunting', '', 'scoliosis']", "texto"),
        ("d", 1, "s4", "p4", "AP", "", "texto"),
        ("e", 2, "s5", "", "PA", "['exclude', 'pneumonia']", "texto"),
        ("f - 1", 2, "s6", "p1", "PA", "[\"central venous catheter via jugular vein\", 'NSG tube', nan]", "texto"),
        ("gone", 2, "s7", "p7", "PA", "['normal']", "texto"),
    ]
    lines = []
    for n, (name, place, study, patient, view, terms, report) in enumerate(rows):
        if name != "gone":
            path = root / str(place) / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.array([[0, 1000], [2000, 4095]], np.uint16) * (n + 1)).save(path)
        kind = "MONOCHROME1" if name == "d" else "MONOCHROME2"
        born = "" if name == "b" else "1950"
        quoted = terms.replace('"', '""')
        lines.append(f'{n},{name}.png,{place},20140915,{study},{patient},{born},{view},{kind},{report},"{quoted}"')
    text(root / padchest.TABLES[0], PADCHEST_HEADER, *lines)
    return root


def test_padchest_terms_views_reports_and_odd_rows(tmp_path: Path) -> None:
    manifest = padchest.read(write_padchest(tmp_path))
    rows = manifest.images.set_index("image_id")
    assert rows.index.tolist() == ["a1", "a2", "b", "c", "d", "e", "f - 1"]
    assert rows["view"].tolist() == ["PA", "L", "AP", "", "AP", "PA", "PA"]
    assert rows["group:age"].tolist() == ["64", "64", "", "64", "64", "64", "64"]
    assert rows.loc[["a1", "a2"], "study_id"].tolist() == ["s1", "s1"]
    assert rows.loc["e", "patient_id"] == "s5", "a blank patient counts as one of its own"
    assert rows.loc["a1", "split"] == rows.loc["f - 1", "split"], "one patient"
    positive = {name: {n for n in manifest.labels if rows.loc[name, n] == 1} for name in rows.index}
    assert positive["a1"] == {"Cardiomegaly", "Pleural Effusion"}
    assert positive["b"] == {"No Finding"}
    assert positive["c"] == set(), "terms of other things make no label positive, and none unknown"
    assert not rows.loc["c", list(manifest.labels)].isna().any()
    assert positive["f - 1"] == {"Support Devices"}
    assert rows.loc[["d", "e"], list(manifest.labels)].isna().to_numpy().all()
    assert manifest.reports is not None
    assert manifest.reports["study_id"].tolist() == ["s1", "s3", "s4", "s5", "s6"]
    assert manifest.reports["findings"].tolist()[0] == "derrame pleural ."
    notes = " ".join(manifest.notes)
    for said in ("2 images have no terms", "1 rows without an image file", "1 images were MONOCHROME1", "160,868"):
        assert said in notes
    np.testing.assert_allclose(decode(tmp_path / "0/a1.png"), [[0, 1000 / 4095], [2000 / 4095, 1]], atol=1e-6)


def test_every_padchest_term_is_lower_case_and_stripped() -> None:
    for terms in padchest.TERMS.values():
        assert all(term == term.strip().lower() for term in terms)
        assert len(set(terms)) == len(terms)
    assert set(padchest.LABELS) == set(chexpert.LABELS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Projection", "View", r"lacks the column\(s\) Projection"),
        ("\"[' normal']\"", "normal", "has the Labels 'normal'"),
        ("a2.png", "a1.png", "has an image twice"),
    ],
)
def test_padchest_tables_that_are_wrong(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = write_padchest(tmp_path) / padchest.TABLES[0]
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        padchest.read(tmp_path)


def write_brax(root: Path, column: str = "PngPath") -> Path:
    """Twelve images of six patients."""
    rows = []
    for n in range(12):
        place = f"id_{n // 2}/Study_{n // 2}.1/Series_{n}/image-{n}"
        image(root / f"images/{place}.png")
        cells = [CELLS[(n // 2 + c) % 4] for c in range(14)]
        view = ("PA", "L", "AP LLD", "RL", "", "LT-DECUB")[n % 6]
        who = [f"id_{n // 2}", "FM"[n // 2 % 2], str(40 + n // 2), f"acc{n // 2}"]
        rows.append(",".join([f"images/{place}.png", *who, *cells, view, "ACME"]))
    header = [column, "PatientID", "PatientSex", "PatientAge", "AccessionNumber", *brax.LABELS, "ViewPosition"]
    text(root / brax.TABLES[1], ",".join([*header, "Manufacturer"]), *rows)
    return root


def test_brax(tmp_path: Path) -> None:
    manifest = brax.read(write_brax(tmp_path))
    rows = manifest.images.set_index("image_id")
    assert len(rows) == 12
    assert [rows.loc[f"image-{n}", "view"] for n in range(6)] == ["PA", "L", "AP", "L", "", ""]
    assert rows.loc["image-1", ["patient_id", "study_id"]].tolist() == ["id_0", "acc0"]
    assert set(rows.groupby("patient_id")["split"].nunique()) == {1}
    assert rows.loc["image-0", "Cardiomegaly"] == 0, "uncertain, as CheXpert's policy has it"
    assert rows.loc["image-3", ["group:sex", "group:age", "group:scanner"]].tolist() == ["M", "41", "ACME"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: write_brax(root, "Path"), "lacks the column PngPath or DicomPath"),
        (lambda root: (root / "images/id_0/Study_0.1/Series_0/image-0.png").unlink(), r"have no file \(image-0\)"),
        (lambda root: (root / brax.TABLES[1]).unlink(), "file master_spreadsheet_update.csv or .* is missing"),
    ],
)
def test_brax_folders_that_are_wrong(spoil: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    spoil(write_brax(tmp_path))
    with pytest.raises(UserError, match=message):
        brax.read(tmp_path)


@pytest.mark.parametrize("adapter", [chexpert, chexpert_plus, padchest, brax])
def test_an_empty_folder_says_where_the_data_comes_from(adapter: object, tmp_path: Path) -> None:
    dataset = adapter.DATASET  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="is missing") as caught:
        dataset.read(tmp_path)
    assert dataset.source in str(caught.value)
    assert dataset.licence in str(caught.value)
