"""The adapters of MIMIC-CXR-JPG and Symile-MIMIC on tiny folders in the official layouts, written by hand."""

import gzip
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrbench.data.datasets import mimic, symile
from cxrbench.data.decode.arrays import read_ecg
from cxrbench.data.decode.images import decode
from cxrbench.data.manifest import Manifest
from cxrbench.data.report_text import sections
from cxrbench.errors import BadImageError, UserError
from cxrbench.tasks.classification.linear_probe import TASK as CLASSIFICATION
from support.layouts import text, write_symile

TABLE = "mimic-cxr-2.0.0-{}.csv"
VIEWS = ("PA", "LATERAL", "AP", "LL", "")


def write_mimic(root: Path) -> Path:
    """Ten studies of five patients, an even one with two images; labels cycle through 1, 0, -1 and blank."""
    metadata, split, labels = [], [], []
    for n in range(10):
        patient, study = 10_000_032 + n // 2, 50_414_267 + n
        for k in range(2 - n % 2):
            name = f"{n:02d}{k}aaaa-bbbbbbbb"
            path = root / f"files/p10/p{patient}/s{study}/{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), 10 * n, np.uint8)).save(path)
            metadata.append(f"{name},{patient},{study},{VIEWS[(n + k) % 5]},8,8")
            split.append(f"{name},{study},{patient},{('train', 'train', 'train', 'validate', 'test')[n // 2]}")
        cells = [("1.0", "0.0", "-1.0", "")[(n + c) % 4] for c in range(14)]
        if n < 9:
            labels.append(",".join([str(patient), str(study), *cells]))
            report = f" FINDINGS: Image {n}\n is fine.\n\n IMPRESSION: \n\n Nothing."
            text(root / f"files/p10/p{patient}/s{study}.txt", report)
    split.append("absent,50999999,10999999,test")  # the official table has more than a subset
    text(root / TABLE.format("metadata"), "dicom_id,subject_id,study_id,ViewPosition,Rows,Columns", *metadata)
    text(root / TABLE.format("split"), "dicom_id,study_id,subject_id,split", *split)
    text(root / TABLE.format("chexpert"), ",".join(["subject_id", "study_id", *mimic.LABELS]), *labels)
    return root


def test_mimic_views_splits_labels_and_reports(tmp_path: Path) -> None:
    manifest = mimic.read(write_mimic(tmp_path))
    rows = manifest.images.set_index("image_id")
    assert len(rows) == 15
    assert len(set(rows["study_id"])) == 10
    facts: dict[str, dict[str, str]] = rows.filter(["patient_id", "study_id", "view", "split"]).T.to_dict()
    assert list(facts["000aaaa-bbbbbbbb"].values()) == ["10000032", "50414267", "PA", "train"]
    assert [facts[f"0{n}0aaaa-bbbbbbbb"]["view"] for n in range(5)] == ["PA", "L", "AP", "L", ""]
    assert facts["001aaaa-bbbbbbbb"]["view"] == "L"
    assert set(rows["split"]) == {"train", "val", "test"}
    first = rows.loc["000aaaa-bbbbbbbb", list(manifest.labels)].to_numpy(float)
    np.testing.assert_array_equal(first[:4], [1, 0, np.nan, 0])  # positive, negative, uncertain, not mentioned
    assert np.isnan(rows.loc["090aaaa-bbbbbbbb", list(manifest.labels)].to_numpy(float)).all(), "no labels"
    assert manifest.reports is not None
    reports = manifest.reports.set_index("study_id").to_dict("index")
    assert reports["50414270"] == {"findings": "Image 3 is fine.", "impression": "Nothing."}
    assert len(manifest.reports) == 9
    notes = " ".join(manifest.notes)
    for said in ("-1 (uncertain) is unknown", "1 studies are not in the CheXpert", "9 of 10 studies", "377,110"):
        assert said in notes
    manifest.save(tmp_path / "m.parquet")
    assert Manifest.load(tmp_path / "m.parquet").fingerprint == manifest.fingerprint


def test_mimic_gzipped_tables_and_reports_apart(tmp_path: Path) -> None:
    plain = mimic.read(write_mimic(tmp_path))
    for name in ("metadata", "split", "chexpert"):
        path = tmp_path / TABLE.format(name)
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for report in sorted(tmp_path.glob("files/**/*.txt")):
        moved = tmp_path / "reports" / report.relative_to(tmp_path)
        moved.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(report, moved)
    assert mimic.read(tmp_path).fingerprint == plain.fingerprint
    shutil.rmtree(tmp_path / "reports")
    without = mimic.read(tmp_path)
    assert without.reports is None
    assert any("No reports" in note for note in without.notes)
    path = tmp_path / f"{TABLE.format('split')}.gz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"csv\.gz cannot be read"):
        mimic.read(tmp_path)


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("metadata", "ViewPosition", "View", r"metadata.csv lacks the column\(s\) ViewPosition"),
        ("metadata", "010aaaa", "000aaaa", "metadata.csv has an image twice"),
        ("split", "020aaaa-bbbbbbbb", "else", r"split.csv lacks 1 image\(s\): 020aaaa-bbbbbbbb"),
        ("split", "validate", "dev", "unknown split 'dev'"),
        ("split", "50414276,10000036,test", "50414276,10000036,train", r"1 patient\(s\) in two splits: 10000036"),
        ("chexpert", ",-1.0,", ",2.0,", "label value '2.0'"),
        ("chexpert", "Edema", "Oedema", r"lacks the column\(s\) Edema"),
    ],
)
def test_mimic_tables_that_contradict_themselves(
    table: str, old: str, new: str, message: str, tmp_path: Path
) -> None:  # fmt: skip
    path = write_mimic(tmp_path) / TABLE.format(table)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        mimic.read(tmp_path)


def test_mimic_numbers_that_a_spreadsheet_has_written(tmp_path: Path) -> None:
    plain = mimic.read(write_mimic(tmp_path))
    for name in ("metadata", "chexpert"):
        path = tmp_path / TABLE.format(name)
        path.write_text(re.sub(r"\b(1000003\d|504142\d\d)\b", r"\1.0", path.read_text()))
        assert "50414267.0" in path.read_text()
    assert mimic.read(tmp_path).fingerprint == plain.fingerprint


def test_mimic_numbers_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    path = write_mimic(tmp_path) / TABLE.format("metadata")
    path.write_text(path.read_text().replace("50414267", "../../../../x"))
    with pytest.raises(UserError, match=r"has the study_id '\.\./\.\./\.\./\.\./x', which is no number"):
        mimic.read(tmp_path)


@pytest.mark.parametrize("name", ["metadata", "split", "chexpert"])
def test_mimic_says_which_file_is_missing_and_where_it_comes_from(name: str, tmp_path: Path) -> None:
    (write_mimic(tmp_path) / TABLE.format(name)).unlink()
    with pytest.raises(UserError, match=rf"file .*-{name}\.csv.* is missing.*physionet\.org.*Credentialed"):
        mimic.read(tmp_path)


def test_mimic_image_without_a_file(tmp_path: Path) -> None:
    next((write_mimic(tmp_path) / "files").rglob("040aaaa*")).unlink()
    with pytest.raises(UserError, match=r"1 image\(s\) of mimic-cxr-2.0.0-metadata.csv have no file \(040aaaa"):
        mimic.read(tmp_path)


@pytest.mark.parametrize(
    ("report", "findings", "impression"),
    [
        (" FINDINGS:  All\n clear.\n \n IMPRESSION: \n \n 1. Normal.\n 2. Old.", "All clear.", "1. Normal. 2. Old."),
        ("FINAL REPORT\n EXAMINATION: CHEST (PA)\n\nImpression: Fine.", "", "Fine."),
        ("INDICATION: Cough.\n\nFINDINGS AND IMPRESSION: Clear.", "Clear.", ""),
        ("Findings/Impression: Clear.\n", "Clear.", ""),
        ("HISTORY: Cough.\n\nTwo views.\n\nThe heart is normal:\nno change.", "The heart is normal: no change.", ""),
        ("FINDINGS: Clear.\nIMPRESSION: Normal.\nADDENDUM: x\nIMPRESSION: Tube out.", "Clear.", "Normal. Tube out."),
        ("WET READ: ok\n\nFINDINGS:\n\nIMPRESSION:\n", "", ""),
        ("CONCLUSION: Normal.\nNOTIFICATION: Called at 3:40.", "", "Normal."),
        ("", "", ""),
    ],
)  # fmt: skip
def test_sections_of_reports(report: str, findings: str, impression: str) -> None:
    assert sections(report) == (findings, impression)


def test_symile_rows_are_images_and_signals(tmp_path: Path) -> None:
    root, images = write_symile(tmp_path)
    manifest = symile.read(root)
    assert {s: len(manifest.rows_of(s)) for s in ("train", "val", "test")} == {"train": 12, "val": 4, "test": 6}
    assert len(set(manifest.images["patient_id"])) == 11
    for row in (0, 13, 21):
        assert manifest.images["image_id"].tolist()[row] == str(20_000_000 + row)
        np.testing.assert_allclose(decode(manifest.paths()[row]), images[row], atol=2e-7)
    assert manifest.signals is not None
    signals = manifest.signals.set_index("study_id")
    assert list(signals.columns[1:]) == [f"lab:{name}" for name in symile.LABS.values()]
    assert list(symile.LABS) == sorted(symile.LABS), "the original sorts the item numbers"
    missing = signals.filter(like="lab:").isna()
    assert [name for name in missing.columns if missing.loc["20000012", name]] == ["lab:pCO2"]
    ecg = read_ecg(root / str(signals.loc["20000013", "ecg"]))
    np.testing.assert_allclose(ecg, np.repeat(13 + np.arange(12)[:, None] / 100, 50, 1), atol=1e-5)
    reason = CLASSIFICATION.not_applicable(manifest)
    assert reason, "no labels: classification says so, the rest of a run goes on"


def test_symile_test_rows_without_labels_and_patients_without_tables(tmp_path: Path) -> None:
    root, _ = write_symile(tmp_path, tables=False)
    (root / "data_npy/test/label_test.npy").unlink()
    manifest = symile.read(root)
    assert manifest.images["image_id"].is_unique
    assert len(manifest.rows_of("test")) == 6
    assert manifest.images["patient_id"].tolist() == manifest.images["image_id"].tolist()
    assert any("each admission counts as a patient" in note for note in manifest.notes)


def test_symile_says_what_is_wrong(tmp_path: Path) -> None:
    root, _ = write_symile(tmp_path)
    place = root / "data_npy"
    ids = np.load(place / "val/hadm_id_val.npy")

    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            symile.read(root)
        assert symile.SOURCE in str(caught.value)

    text(root / "val.csv", "hadm_id,subject_id", f"{ids[0]},1.0")
    refused(r"lack 3 admission\(s\): 20000013")
    text(root / "val.csv", "hadm_id,subject_id", *(f"{i},10000000" for i in ids))
    refused(r"1 patient\(s\) in two splits: 10000000")
    np.save(place / "val/hadm_id_val.npy", ids - 12)
    refused(r"admission\(s\) 20000000, .* are in two splits")
    np.save(place / "val/hadm_id_val.npy", ids)
    np.save(place / "val/ecg_val.npy", np.zeros((4, 1, 12, 50), np.float32))
    refused(r"ecg_val.npy has shape \[4, 1, 12, 50\], not \[4, 1, \*, 12\]")
    (place / "val/ecg_val.npy").write_bytes(b"\x93NUMPY")
    refused("ecg_val.npy is not a whole NumPy array")
    (place / "val/ecg_val.npy").unlink()
    refused("file data_npy/val/ecg_val.npy is missing")


def test_rows_that_cannot_be_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4, 4), np.float32))
    np.save(tmp_path / "c.npy", np.full((1, 3, 4, 4), np.nan, np.float16))
    for name, message in (
        ("a.npy#2", "no such row"), ("c.npy#0", "no numbers"), ("d.npy#0", "no such file"),
    ):  # fmt: skip
        with pytest.raises(BadImageError, match=message):
            decode(tmp_path / name)
    with pytest.raises(BadImageError, match="more than the limit of 15"):
        decode(tmp_path / "a.npy#0", max_pixels=15)
    with pytest.raises(BadImageError, match="neither"):
        read_ecg(tmp_path / "a.npy#0")
    np.save(tmp_path / "e.npy", np.ones((12, 30)))
    assert read_ecg(tmp_path / "e.npy").shape == (12, 30)


def test_tables_read_as_pandas_does(tmp_path: Path) -> None:
    root = write_mimic(tmp_path)
    labels = pd.read_csv(root / TABLE.format("chexpert")).set_index("study_id")[list(mimic.LABELS)]
    rows = mimic.read(root).images.drop_duplicates("study_id").set_index("study_id")
    expected = labels.fillna(0.0).mask(labels == -1)
    got = rows.loc[[str(study) for study in labels.index], list(mimic.LABELS)]
    np.testing.assert_array_equal(got.to_numpy(float), expected.to_numpy(float))
