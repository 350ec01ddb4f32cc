"""SIIM-FISABIO-RSNA's reader on a tiny copy of its layout."""

from pathlib import Path

import pytest

from cxrbench.data.datasets.detection import siim_fisabio
from cxrbench.data.datasets.detection.siim_fisabio import LABELS, OPACITY
from cxrbench.data.splits import shared_patients
from cxrbench.errors import UserError
from support import detection_layouts as layouts


def changed(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))


def test_images_have_their_study_s_class_and_their_own_boxes(tmp_path: Path) -> None:
    manifest = siim_fisabio.DATASET.read(layouts.siim_fisabio(tmp_path))
    images = manifest.images.set_index("image_id")
    assert (len(images), manifest.kind) == (21, "multiclass")
    assert (manifest.targets().sum(1) == 1).all()
    first, second = f"{3:012x}", f"{1003:012x}"
    for name in (first, second):
        assert images.loc[name, ["study_id", "patient_id", "view"]].tolist() == [first, "p1", "AP"]
        assert images.loc[name, LABELS[3]] == 1
    assert layouts.boxes_of(manifest, first) == [(OPACITY, 1.5, 2, 5, 6), (OPACITY, 9, 2, 4, 6.25)]
    assert layouts.boxes_of(manifest, second) == []
    assert shared_patients(images["patient_id"].tolist(), images["split"].tolist()) == []
    assert "1 image(s) have no box, though another of their study has one." in manifest.notes
    assert "21 images; the published set has 6,334." in manifest.notes
    assert {"bimcv-covid19", "ricord"} <= set(manifest.lineage)


def test_a_study_is_one_patient_s_and_tables_may_lie_in_train(tmp_path: Path) -> None:
    before = siim_fisabio.read(layouts.siim_fisabio(tmp_path))
    for path in list(tmp_path.glob("*.csv")):
        path.rename(tmp_path / "train" / path.name)
    assert siim_fisabio.read(tmp_path).fingerprint == before.fingerprint


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("train_study_level.csv", "Typical Appearance", "Typical", r"lacks the column\(s\) Typical Appearance"),
        (
            "train_study_level.csv",
            "_study,1,0,0,0",
            "_study,1,1,0,0",
            "without one of the four classes, or with several",
        ),
        ("train_study_level.csv", f"{1:012x}_study", f"{0:012x}_study", "has an image twice"),
        ("train_study_level.csv", f"{1:012x}_study", f"{99:012x}_study", r"lacks 1 study\(ies\)"),
        ("train_image_level.csv", "opacity 1", "none 1", r"its label is 'none 1 .*' and it has 1 box\(es\)"),
        ("train_image_level.csv", "'width': 5", "'w': 5", "are no list of x, y, width and height"),
        ("train_image_level.csv", "[{'x'", "[__import__('os')]+[{'x'", "are no list of x, y, width and height"),
        ("train_image_level.csv", "'x': 1.5", "'x': 150", "box .* lies outside of the image"),
        ("train_image_level.csv", f"{1:012x}_image", f"{99:012x}_image", r"1 image\(s\) of .* have no file"),
    ],
)
def test_what_cannot_be_read_is_one_line(file: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    changed(layouts.siim_fisabio(tmp_path) / file, old, new)
    with pytest.raises(UserError, match=message) as caught:
        siim_fisabio.read(tmp_path)
    assert "\n" not in str(caught.value)
    assert siim_fisabio.SOURCE in str(caught.value)
