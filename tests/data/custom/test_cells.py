"""What cells of a user's table mean, however it was written or handed over, and that it is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrbench.data.custom.dataset import read_csv, read_frame
from cxrbench.data.custom.sidecar import Sidecar
from cxrbench.errors import UserError
from support.own_table import csv


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
    with pytest.raises(UserError, match=r"own\.csv has the column 'effusion' twice"):
        read_frame(frame.assign(**{"effusion ": 1}), tmp_path, Sidecar(name="own"))
    with pytest.raises(UserError, match="0 rows"):
        read_frame(frame.head(0), tmp_path, Sidecar())
