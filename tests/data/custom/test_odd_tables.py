"""A user's table as tables are: slips among labels, odd encodings, boxes of other conventions, one file twice."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.tables import read_table
from cxrbench.engine.registry import load_dataset
from cxrbench.errors import UserError

SPLITS = ("train", "train", "train", "val", "test", "test")


def never() -> Path:
    raise AssertionError("the phantom is not needed here")


def written(folder: Path, header: str, cells: list[str], sidecar: str = "") -> Path:
    """A CSV with a row of cells for each image ``img/00.png``, ..., 40 x 30 pixels, which are made."""
    (folder / "img").mkdir(exist_ok=True)
    for number in range(len(cells)):
        Image.fromarray(np.full((40, 30), number, np.uint8)).save(folder / f"img/{number:02d}.png")
    rows = [f"img/{number:02d}.png,{cell}" for number, cell in enumerate(cells)]
    (folder / "own.csv").write_text("\n".join([f"image,{header}", *rows]) + "\n")
    if sidecar:
        (folder / "own.toml").write_text(sidecar)
    return folder / "own.csv"


@pytest.mark.parametrize("slip", ["O", "2", "True", "yes", "0,5", "1e400"])
def test_one_bad_cell_among_labels_is_named(slip: str, tmp_path: Path) -> None:
    cells = [f"{n % 2},{n // 2 % 2}" for n in range(12)]
    cells[7] = f'"{slip}",0'
    with pytest.raises(UserError, match=rf"own.csv row 9: column effusion holds '{slip}' among 0 and 1"):
        read_csv(written(tmp_path, "effusion,nodule", cells))


@pytest.mark.parametrize("blank", ["nan", "NaN", "NA", "N/A", "None", "null", "<NA>", ""])
def test_what_programs_write_for_no_value_is_unknown(blank: str, tmp_path: Path) -> None:
    cells = ["0.0", "1.0", blank, "1", "0", blank]
    manifest = read_csv(written(tmp_path, "effusion", cells))
    np.testing.assert_array_equal(manifest.targets()[:, 0], [0, 1, np.nan, 1, 0, np.nan])


def test_nan_is_no_class(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"row 4 has no class in column label \('nan'\)"):
        read_csv(written(tmp_path, "label", ["normal", "pneumonia", "nan", "normal"]))
    manifest = read_csv(written(tmp_path, "label", ["Mass|Edema", "nan", "Edema", "None"]))
    assert (manifest.labels, manifest.targets().sum(1).tolist()) == (("Edema", "Mass"), [2, 0, 1, 0])


def test_a_column_of_true_and_false_is_a_label_and_says_so(tmp_path: Path) -> None:
    manifest = read_csv(written(tmp_path, "effusion,nodule", ["True,0", "False,1", "True,1", ",0"]))
    assert manifest.labels == ("effusion", "nodule")
    np.testing.assert_array_equal(manifest.targets()[:, 0], [1, 0, 1, np.nan])
    assert "True and False are taken as 1 and 0 in effusion." in manifest.notes


def test_grades_are_classes_when_the_sidecar_says_so(tmp_path: Path) -> None:
    cells = ["0", "1", "0", "1", "2", "0", "1", "0"]
    with pytest.raises(UserError, match=r"row 6: column label holds '2' .*label = \.\.\."):
        read_csv(written(tmp_path, "label", cells))
    manifest = read_csv(written(tmp_path, "label", cells, 'label = "label"'))
    assert (manifest.labels, manifest.kind) == (("0", "1", "2"), "multiclass")


def test_without_labels_the_columns_and_the_reasons_are_named(tmp_path: Path) -> None:
    cells = [f"{40 + n},0,,{n % 2}" for n in range(6)]
    manifest = read_csv(written(tmp_path, "dose,seen,note,view", cells))
    assert (manifest.labels, set(manifest.images["split"])) == ((), {"train"})
    said = "No labels (column dose holds '40' in row 2; column seen is always 0; column note is empty); to have some, "
    assert any(note.startswith(said) for note in manifest.notes)


def test_columns_that_name_something_else_are_no_labels(tmp_path: Path) -> None:
    manifest = read_csv(written(tmp_path, "image_id,effusion", [f"{n // 3},{n % 2}" for n in range(6)]))
    assert manifest.labels == ("effusion",)
    assert "Columns not used: image_id." in manifest.notes


@pytest.mark.parametrize(
    ("header", "cells", "name"),
    [("bytes,effusion", [f"{n // 3},{n % 2}" for n in range(6)], "bytes"), ("label", ["path", "other"] * 3, "path")],
)
def test_a_label_cannot_have_the_name_of_a_column(header: str, cells: list[str], name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"a label cannot be called '{name}'"):
        read_csv(written(tmp_path, header, cells))


@pytest.mark.parametrize("patient", ["nan", "NA", "None"])
def test_nan_is_no_patient(patient: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"row 4 has no patient in column patient \('{patient}' is none\)"):
        read_csv(written(tmp_path, "patient,effusion", ["1,0", "2,1", f"{patient},0", "4,1"]))


def test_patients_with_all_but_the_same_identifier_are_noted(tmp_path: Path) -> None:
    patients = ("3", "4", "5", "6", "3.0", "7")
    cells = [f"{p},{s},{n % 2}" for n, (p, s) in enumerate(zip(patients, SPLITS, strict=True))]
    manifest = load_dataset(str(written(tmp_path, "patient,split,effusion", cells)), None, never)
    assert "1 pair(s) of patients in different splits have all but the same identifier: 3 and 3.0." in manifest.notes


@pytest.mark.parametrize("again", ["./img/00.png", "img//00.png", "img\\00.png", "./img/.//00.png"])
def test_one_image_under_two_spellings_is_refused(again: str, tmp_path: Path) -> None:
    path = written(tmp_path, "split,effusion", [f"{split},{n % 2}" for n, split in enumerate(SPLITS)])
    path.write_text(path.read_text() + f"{again},test,0\n")
    with pytest.raises(UserError, match=r"image img/00.png in more than one row \(2 and 8\)"):
        read_csv(path)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_one_image_behind_a_link_is_refused(link: Callable[[Path, Path], None], tmp_path: Path) -> None:
    path = written(tmp_path, "split,effusion", [f"{split},{n % 2}" for n, split in enumerate(SPLITS)])
    link(tmp_path / "img/00.png", tmp_path / "img/copy.png")
    path.write_text(path.read_text() + "img/copy.png,test,0\n")
    with pytest.raises(UserError, match=r"img/00\.png and img/copy\.png are one file"):
        read_csv(path)


@pytest.mark.parametrize(
    "header", ["xmin,ymin,xmax,ymax", "x1,y1,x2,y2", "X Min,Y Min,X Max,Y Max", "left,top,right,bottom", "x,y,w,h"]
)
def test_boxes_are_known_by_the_usual_names(header: str, tmp_path: Path) -> None:
    cells = ["opacity,10,10,20,24", "nodule,1,2,3,4", ",,,,", "opacity,10,10,20,24"]
    boxes = read_csv(written(tmp_path, f"label,{header}", cells)).boxes
    assert boxes is not None
    sizes = [20, 24, 3, 4] if header == "x,y,w,h" else [10, 14, 2, 2]
    assert boxes[["width", "height"]].to_numpy().ravel()[:4].tolist() == sizes


@pytest.mark.parametrize(
    ("header", "cell", "message"),
    [
        ("label,xmin,ymin,xmax", "a,1,2,3", "has the column xmin, but not ymax"),
        ("label,x,y", "a,1,2", "has the columns x and y, but not width and height"),
        ("label,bbox", 'a,"[1, 2, 3, 4]"', "column bbox holds whole boxes"),
        ("label,x,y,width,height", "a,0.1,0.2,0.3,0.4", r"all 3 boxes lie within 0\.\.1"),
        ("label,x,y,width,height", "a,100,200,30,40", "ends outside of the image, which has 30 x 40 pixels"),
    ],
)
def test_boxes_that_are_not_understood_are_said(header: str, cell: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_csv(written(tmp_path, header, [cell] * 3))


def test_a_label_without_a_box_is_refused_and_no_finding_is_none(tmp_path: Path) -> None:
    header = "label,x_min,y_min,x_max,y_max"
    with pytest.raises(UserError, match=r"row 3 has the label 'Pneumonia', but no box \(2 such row\(s\)\)"):
        read_csv(written(tmp_path, header, ["opacity,1,1,9,9", "Pneumonia,,,,", "Pneumonia,,,,"]))
    manifest = read_csv(written(tmp_path, header, ["opacity,1,1,9,9", "No finding,,,,", "opacity,1,1,9,9"]))
    assert manifest.targets().ravel().tolist() == [1, 0, 1]
    assert "1 row(s) without a box say No finding: taken as images without a box." in manifest.notes


def test_repeated_box_rows_count_once_and_are_said(tmp_path: Path) -> None:
    path = written(tmp_path, "label,x,y,width,height", ["a,1,2,3,4", "b,5,6,7,8", ",,,,"])
    path.write_text(path.read_text() + "img//00.png,a,1,2,3,4\nimg/00.png,a,1,2,3,5\n")
    manifest = read_csv(path)
    assert manifest.boxes is not None
    assert len(manifest.boxes) == 3
    assert "1 repeated box row(s) of own.csv count once." in manifest.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,a\nx,1\n".encode("utf-16"), "is text in UTF-16"),
        ("image,Ödem\nx,1\n".encode("latin-1"), "line 1 is not UTF-8"),
        (b"image,a\nx,1\ny\0,0\n", "line 3 has a NUL character"),
        (b'image,a\nx,"1\ny,0\nz,1\n', "cannot be read as a CSV .*look for quotes"),
        (b'image,a\nx,"1"2\n', "cannot be read as a CSV"),
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n", "is an image, where a table is wanted"),
        (b"\0" * 128 + b"DICM", "is an image, where a table is wanted"),
        (b"image,a\nx,1,2\n", "line 2 has 3 cells, its header 2"),
    ],
)
def test_odd_bytes_have_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_table(tmp_path / "own.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["image,a\r\nx,1\r\n", "\ufeffimage,a\nx,1", 'image,a\n"x", 1 \n\n', "image,a\rx,1"]
)
def test_line_ends_marks_and_blanks_do_not_matter(content: str, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(content.encode())
    assert read_table(tmp_path / "own.csv") == {"image": ["x"], "a": ["1"]}


@pytest.mark.parametrize(
    ("sidecar", "message"),
    [
        ('name = "../../x"', "must do as a folder's name"),
        ('name = ".hidden"', "must do as a folder's name"),
        ('name = "a\\nb"', "control characters"),
        ('labels = ["effusion", "effusion"]', "labels has a name twice"),
        ('patient = "image"', "names column 'image' twice"),
        ("[groups]\nmacro = []", "none of them empty"),
        (f"mask_ignore = {10**400}", "values of pixels, from 0 on"),
        ("labels = " + "[" * 5000 + "]" * 5000, "cannot be read as TOML"),
        ("licence = [1]", "licence must be text"),
    ],
)
def test_sidecars_that_would_lead_astray(sidecar: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_csv(written(tmp_path, "effusion", ["0", "1"], sidecar))
    assert "\n" not in str(caught.value)


def test_a_duplicate_at_the_end_is_found_at_once(tmp_path: Path) -> None:
    """Quadratic reading needed half a minute for as many rows; what is counted here are looks at a cell."""

    class Counted(str):
        __slots__ = ()
        looks = 0

        def __eq__(self, other: object) -> bool:
            Counted.looks += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    from cxrbench.data.tables import first_repeated

    names = [Counted(f"img/{number}.png") for number in range(3000)]
    assert first_repeated([*names, Counted("img/2999.png")]) == ("img/2999.png", 2999, 3000)
    assert Counted.looks < 20_000


def test_a_label_is_not_called_as_the_mean_over_labels_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"own\.csv: a label cannot be called 'macro', which is the mean over labels"):
        read_csv(written(tmp_path, "macro,nodule", [f"{n % 2},{n // 2 % 2}" for n in range(12)]))
