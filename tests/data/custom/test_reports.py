"""Reports in a user's CSV: whole ones, sections of their own, and what cannot be one."""

from pathlib import Path

import pytest

from cxrbench.data.custom.dataset import read_csv
from cxrbench.errors import UserError
from support.own_table import csv


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


def test_texts_in_a_column_called_findings_are_no_classes(tmp_path: Path) -> None:
    """Of a column `findings` alone nobody can tell; where no two rows say the same, it is text."""
    cells = [f"The lungs are clear in film {n}." for n in range(12)]
    with pytest.raises(
        UserError, match=r"12 different values, too many for classes; text: findings = 'findings' in own"
    ):
        read_csv(csv(tmp_path, "findings", cells))
    (tmp_path / "own.toml").write_text('findings = "findings"')
    reports = read_csv(tmp_path / "own.csv").reports
    assert reports is not None
    assert len(reports) == 12
    (tmp_path / "own.toml").unlink()
    assert read_csv(csv(tmp_path, "findings", [f"a{n % 3}|b{n % 4}" for n in range(12)])).labels[0] == "a0"
