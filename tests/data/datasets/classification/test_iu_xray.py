"""IU X-ray as Kaggle and as NLM have it: the same images, labels and reports."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.datasets.classification import iu_xray
from cxrbench.data.datasets.layout import Layout
from cxrbench.errors import UserError
from support import classification_layouts as layouts
from support.looked_up import cells, column

OPENI = Path(__file__).resolve().parents[4].parent / "shared/data/openi/NLMCXR_reports.tgz"


def test_both_layouts_say_the_same_but_for_the_views(tmp_path: Path) -> None:
    kaggle = iu_xray.read(layouts.iu_xray_on_kaggle(tmp_path / "kaggle"))
    nlm = iu_xray.read(layouts.iu_xray_of_nlm(tmp_path / "nlm"))
    for name in ("image_id", "patient_id", "study_id", "split"):
        assert kaggle.images[name].tolist() == nlm.images[name].tolist()
    np.testing.assert_array_equal(kaggle.targets(), nlm.targets())
    assert kaggle.reports is not None
    assert nlm.reports is not None
    assert kaggle.reports.to_dict("list") == nlm.reports.to_dict("list")
    assert set(nlm.images["view"]) == {""}
    assert (column(kaggle, "view")["3_IM-0003-1001"], column(kaggle, "view")["3_IM-0003-0001"]) == ("L", "")


def test_reports_labels_and_what_is_left_out(tmp_path: Path) -> None:
    manifest = iu_xray.read(layouts.iu_xray_on_kaggle(tmp_path))
    assert len(manifest) == 20
    assert cells(manifest, "5_IM-0005-0001", "Cardiomegaly", "Opacity", "Normal") == [1, 1, 0]
    assert cells(manifest, "4_IM-0004-0001", "Normal", "Opacity") == [1, 0]
    assert cells(manifest, "3_IM-0003-0001", "Indwelling Catheter") == [1]
    assert np.isnan(cells(manifest, "2_IM-0002-0001", *manifest.labels)).all(), "No Indexing"
    assert manifest.reports is not None
    texts = {row["study_id"]: (row["findings"], row["impression"]) for row in manifest.reports.to_dict("records")}
    assert texts["5"] == ("The heart, of XXXX 5.", "Fine.")
    assert set(texts) == {str(uid) for uid in range(1, 11) if uid != 4}
    notes = "\n".join(manifest.notes)
    assert "1 reports have neither findings nor impression." in notes
    assert "1 image files that no table names were left out." in notes
    assert "20 images; the published set has 7,470." in notes
    nlm = "\n".join(iu_xray.read(layouts.iu_xray_of_nlm(tmp_path / "nlm")).notes)
    assert "1 reports without an image were left out." in nlm


def test_names_of_both_downloads_are_one() -> None:
    names = {"CXR1_1_IM-0001-3001": "1_IM-0001-3001", "CXR1000_IM-0003-1001": "1000_IM-0003-1001",
             "1000_IM-0003-1001.dcm": "1000_IM-0003-1001", "1_IM-0001-3001": "1_IM-0001-3001"}  # fmt: skip
    assert {name: iu_xray.short_name(name) for name in names} == names


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("indiana_reports.csv", "findings", "finding", r"indiana_reports.csv lacks the column\(s\) findings"),
        ("indiana_reports.csv", "\n2,", "\n1,", "indiana_reports.csv has report 1 twice"),
        (
            "indiana_projections.csv",
            "Lateral",
            "Oblique",
            "has the projection 'Oblique'; known are Frontal and Lateral",
        ),
        (
            "indiana_projections.csv",
            "3_IM-0003-0001",
            "3_IM-0003-9",
            r"1 image\(s\) of indiana_projections.csv have no",
        ),
    ],
)
def test_tables_that_are_wrong(table: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    path = layouts.iu_xray_on_kaggle(tmp_path) / table
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        iu_xray.read(tmp_path)


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"file indiana_reports.csv \(Kaggle\) or folder ecgen-radiology"):
        iu_xray.read(tmp_path / "empty")
    root = layouts.iu_xray_on_kaggle(tmp_path / "kaggle")
    (root / "indiana_projections.csv").unlink()
    with pytest.raises(UserError, match=r"file indiana_projections.csv is missing"):
        iu_xray.read(root)
    reports = layouts.iu_xray_of_nlm(tmp_path / "nlm") / "ecgen-radiology"
    (reports / "3.xml").write_text("<eCitation><uId")
    with pytest.raises(UserError, match=r"3.xml cannot be read as XML"):
        iu_xray.read(tmp_path / "nlm")
    (reports / "3.xml").write_text((reports / "1.xml").read_text())
    with pytest.raises(UserError, match=r"3.xml is report 1, which another file is, too"):
        iu_xray.read(tmp_path / "nlm")
    (reports / "3.xml").write_text('<?xml version="1.0" encoding="ebcdic-xyz"?><eCitation/>')
    with pytest.raises(UserError, match=r"3.xml cannot be read as XML"):
        iu_xray.read(tmp_path / "nlm")
    (reports / "3.xml").write_text("<eCitation></eCitation>")
    with pytest.raises(UserError, match=r"3.xml is no report of Open-i"):
        iu_xray.read(tmp_path / "nlm")


@pytest.mark.skipif(not OPENI.is_file(), reason=f"{OPENI} is not there")
def test_all_real_reports_are_read(tmp_path: Path) -> None:
    with tarfile.open(OPENI) as archive:
        archive.extractall(tmp_path, filter="data")
    reports, shots = iu_xray.read_xml(Layout("t", tmp_path, "s", "l"), tmp_path / "ecgen-radiology")
    assert (len(reports), len(shots), len({shot.uid for shot in shots})) == (3955, 7470, 3851)
    assert len({shot.name for shot in shots}) == 7470
    assert sum(not (report.findings or report.impression) for report in reports.values()) == 28
    assert reports["1"].impression == "Normal chest x-XXXX."
    assert reports["1"].terms == {"normal"}
