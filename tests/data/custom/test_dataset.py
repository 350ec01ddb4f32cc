"""A user's own CSV: column names, label kinds, splits, the sidecar, and mistakes with one clear line each."""

from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.manifest import Manifest
from cxrbench.data.splits import shared_patients
from cxrbench.errors import UserError
from support.layouts import text


def dataset(root: Path, header: str, rows: list[str], sidecar: str = "") -> Path:
    """A CSV whose rows begin with the name of an image in ``img/``, which is made."""
    for row in rows:
        path = root / row.split(",")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(row))
    text(root / "own.csv", header, *rows)
    if sidecar:
        (root / "own.toml").write_text(sidecar)
    return root / "own.csv"


def splits(manifest: Manifest) -> dict[str, str]:
    return dict(zip(manifest.images["image_id"], manifest.images["split"], strict=True))


def test_image_patient_split_and_labels(tmp_path: Path) -> None:
    rows = [
        "img/a.png,p1,train,1,0,3",
        "img/b.png,p1,Train,,1,3",
        "img/c.png,p2,valid,0,-1,3",
        "img/d.png,p3,test,1,0,3",
    ]
    manifest = read_csv(dataset(tmp_path, "image,patient,split,Edema,Nodule,weight", rows))
    assert manifest.name == "own"
    assert (manifest.labels, manifest.kind) == (("Edema", "Nodule"), "multilabel")
    np.testing.assert_array_equal(manifest.targets(), [[1, 0], [np.nan, 1], [0, np.nan], [1, 0]])
    assert list(splits(manifest).values()) == ["train", "train", "val", "test"]
    assert manifest.images["patient_id"].tolist() == ["p1", "p1", "p2", "p3"]
    assert [path.stat().st_size for path in manifest.paths()] == manifest.images["bytes"].tolist()
    assert "-1 is taken as unknown in Nodule." in manifest.notes
    assert "Columns not used: weight." in manifest.notes


def test_names_of_columns_are_found_by_alias(tmp_path: Path) -> None:
    rows = [f"x{n}.png,s{n},v{n % 2},lateral,{n % 2}" for n in range(10)]
    manifest = read_csv(dataset(tmp_path, "File-Name,Subject ID,Study,View Position,Effusion", rows))
    assert manifest.images["patient_id"].tolist() == [f"s{n}" for n in range(10)]
    assert manifest.images["study_id"].tolist()[:2] == ["v0", "v1"]
    assert set(manifest.images["view"]) == {"L"}
    assert manifest.labels == ("Effusion",)


def test_class_names_become_multiclass(tmp_path: Path) -> None:
    rows = [f"{n:02d}.png,{('tb', 'normal', 'covid')[n % 3]},{n}" for n in range(30)]
    manifest = read_csv(dataset(tmp_path, "file,label,width", rows))
    assert (manifest.labels, manifest.kind) == (("covid", "normal", "tb"), "multiclass")
    assert (manifest.targets().sum(1) == 1).all()
    assert manifest.images["tb"].tolist() == [float(n % 3 == 0) for n in range(30)]
    assert [len(manifest.rows_of(name)) for name in ("train", "val", "test")] == [21, 3, 6]
    assert any("each image counts as a patient" in note for note in manifest.notes)


def test_joined_names_become_multilabel(tmp_path: Path) -> None:
    rows = [f"{n}.png,{('Mass|Edema', 'Edema', '')[n % 3]}" for n in range(9)]
    manifest = read_csv(dataset(tmp_path, "file,findings", rows))
    assert (manifest.labels, manifest.kind) == (("Edema", "Mass"), "multilabel")
    assert manifest.targets()[:3].tolist() == [[1, 1], [1, 0], [0, 0]]


def test_constant_columns_are_no_labels_unless_named(tmp_path: Path) -> None:
    rows = [f"{n}.png,0,{n % 2}" for n in range(10)]
    path = dataset(tmp_path, "file,ignore_px,Mass", rows)
    assert read_csv(path).labels == ("Mass",)
    assert "Columns not used: ignore_px." in read_csv(path).notes
    (tmp_path / "own.toml").write_text('labels = ["ignore_px", "Mass"]')
    assert read_csv(path).labels == ("ignore_px", "Mass")


def test_the_sidecar_names_what_cannot_be_guessed(tmp_path: Path) -> None:
    rows = [f"{n}.png,{n // 2},{n % 2},{1 - n % 2},{n % 3 % 2},m{n}.png" for n in range(10)]
    for n in range(10):
        (tmp_path / f"m{n}.png").touch()
    sidecar = """
    name = "mine"
    image = "where"
    patient = "who"
    mask = "outline"
    labels = ["ill", "well"]
    kind = "multiclass"
    mask_label = "lung"
    licence = "CC BY 4.0"
    lineage = ["nih"]
    [groups]
    macro = ["ill"]
    """
    manifest = read_csv(dataset(tmp_path, "where,who,ill,well,sex,outline", rows, sidecar))
    assert (manifest.name, manifest.labels, manifest.kind) == ("mine", ("ill", "well"), "multiclass")
    assert (manifest.licence, manifest.lineage, manifest.groups["macro"]) == ("CC BY 4.0", ("nih",), ("ill",))
    assert manifest.masks is not None
    assert manifest.masks.iloc[3, :3].tolist() == ["3.png", "lung", "m3.png"]
    assert len(set(manifest.images["patient_id"])) == 5


def test_splits_are_by_patient_when_none_are_given(tmp_path: Path) -> None:
    rows = [f"{n:03d}.png,p{n // 4},{n % 2}" for n in range(100)]
    manifest = read_csv(dataset(tmp_path, "file,patient,Mass", rows))
    assert shared_patients(manifest.images["patient_id"].tolist(), manifest.images["split"].tolist()) == []
    assert set(splits(manifest).values()) == {"train", "val", "test"}
    shuffled = read_csv(dataset(tmp_path / "again", "file,patient,Mass", rows[::-1]))
    assert splits(shuffled) == splits(manifest)


def test_validation_rows_are_made_from_training_rows(tmp_path: Path) -> None:
    rows = [f"{n:03d}.png,{'test' if n < 20 else 'train'},{n % 2}" for n in range(100)]
    manifest = read_csv(dataset(tmp_path, "file,split,Mass", rows))
    assert [len(manifest.rows_of(name)) for name in ("train", "val", "test")] == [70, 10, 20]
    assert all(splits(manifest)[f"{n:03d}.png"] == "test" for n in range(20))


def test_absolute_paths_and_byte_order_mark(tmp_path: Path) -> None:
    rows = [f"{tmp_path}/far/{n}.png,{n % 2}" for n in range(10)]
    path = dataset(tmp_path, "\ufefffile,Mass", rows)
    assert all(image.is_file() for image in read_csv(path).paths())


def test_the_name_of_labels_csv_is_its_folder(tmp_path: Path) -> None:
    path = dataset(tmp_path / "clinic", "file,Mass", ["a.png,1", "b.png,0"])
    assert read_csv(path.rename(path.with_name("labels.csv"))).name == "clinic"


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("image,patient,split,Mass", ["a,p1,train,1", "b,p1,test,0"], r"1 patient\(s\) in more than one split \(p1\)"),
        ("image,split,Mass", ["a,train,1", "b,held-out,0"], "row 3 has split 'held-out'; use train, val or test"),
        ("image,split,Mass", ["a,train,1", "b,val,0"], "has no test rows"),
        ("image,patient,Mass", ["a,p1,1", "b,,0"], "row 3 has no patient"),
        ("image,Mass", ["a,1", "a,0"], "image a in more than one row"),
        ("picture,Mass", ["a,1", "b,0"], "has no column of image files: call it 'image'.*picture, Mass"),
        ("image,label", ["a,x", "b,"], "only 1 class"),
        ("image,label", ["a,x", "b,y", "c,"], "row 4 has no class in column label"),
        ("image,label", [f"i{n},{n}x" for n in range(80)], "80 different values, too many"),
        ("image,Mass,Mass", ["a,1,1"], "has the column 'Mass' twice"),
        ("image,Mass", ["a,1", "b"], "line 3 has 1 cells, its header 2"),
        ("image,Mass", [], "has a header but no rows"),
    ],
)
def test_mistakes_are_named(header: str, rows: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_csv(dataset(tmp_path, header, rows))
    assert "own.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("sidecar", "message"),
    [
        ("colour = 1", "unknown key 'colour'"),
        ("image = 3", "image must be text"),
        ('labels = "Mass"', "labels must be a list of names"),
        ('labels = ["Masses"]', "'Masses', which own.csv has no column for"),
        ('labels = ["file"]', "label column file holds 'a.png'"),
        ('patient = "nobody"', "names column 'nobody' for patient"),
        ('kind = "binary"', "kind must be multilabel or multiclass"),
        ('kind = "multiclass"', "row 2: a multiclass image has exactly one 1"),
        ('[groups]\nmacro = ["x"]', "group macro has 'x', which is not a label"),
        ("image = ", "cannot be read as TOML"),
    ],
)
def test_mistakes_in_the_sidecar_are_named(sidecar: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_csv(dataset(tmp_path, "file,Mass,Edema", ["a.png,1,1", "b.png,0,1", "c.png,0,0"], sidecar))


def test_missing_files(tmp_path: Path) -> None:
    text(tmp_path / "own.csv", "file,Mass", *(f"gone/{n}.png,{n % 2}" for n in range(9)))
    with pytest.raises(
        UserError, match=r"names 9 file\(s\) that are not there \(gone/0.png, gone/1.png, gone/2.png, ...\)"
    ):
        read_csv(tmp_path / "own.csv")
    with pytest.raises(UserError, match="does not exist"):
        read_csv(tmp_path / "nothing.csv")
