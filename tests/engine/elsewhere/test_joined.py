"""Several datasets in one manifest: labels, names, patients and splits of each, and who takes part."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.engine.elsewhere.joined import SET, Joined, joined
from cxrbench.engine.elsewhere.task import InRoles
from cxrbench.engine.folds import kfold
from cxrbench.errors import NotApplicableError
from cxrbench.tasks.classification.linear_probe import TASK
from support.clinics import join


def dataset(name: str, labels: tuple[str, ...] = ("a", "b"), n: int = 20, **facts: object) -> Manifest:
    """Two images a patient, 60/20/20; label k is positive where the image's number has bit k."""
    splits = ["train"] * (n * 6 // 10) + ["val"] * (n * 2 // 10) + ["test"] * (n * 2 // 10)
    images = pd.DataFrame({
        "image_id": [f"{i:03}" for i in range(n)], "patient_id": [str(i // 2) for i in range(n)],
        "study_id": [f"s{i // 2}" if i % 4 else "" for i in range(n)], "view": "PA", "split": splits,
        "path": [f"scans/{i:03}.png" for i in range(n)], "bytes": 1, "group:sex": "F",
        **{label: np.array([(i >> k) & 1 for i in range(n)], np.float32) for k, label in enumerate(labels)},
    })  # fmt: skip
    return Manifest(name, Path("/data") / name, images, labels, **facts)  # type: ignore[arg-type]


def known(*names: str, patients: str) -> dict[str, Dataset]:
    return {name: Dataset(name, "", "", "", read=lambda root: dataset("x"), patients=patients) for name in names}


def roles(of: Joined) -> InRoles:
    return InRoles(name="classification", summary="", task=TASK, training=of.training, testing=of.testing)


def used(manifest: Manifest) -> dict[tuple[str, str], int]:
    """How many images of each set are in each split."""
    images = manifest.images[manifest.images["split"] != "unused"]
    return {key: len(rows) for key, rows in images.groupby([SET, "split"])}  # type: ignore[misc]


def test_labels_are_matched_by_name_in_the_order_of_the_tested_set() -> None:
    there = join([dataset("near", ("a", "b", "c"))], dataset("far", ("d", "c", "A", "b")))
    assert there.manifest.labels == ("c", "b")
    images = there.manifest.images.set_index("image_id")
    own = dataset("near", ("a", "b", "c")).images.set_index("image_id")
    assert images.loc["near:006", ["b", "c"]].tolist() == own.loc["006", ["b", "c"]].tolist() == [1, 1]
    notes = " ".join(there.manifest.notes)
    assert "labels of near that are not shared, so left out: a" in notes
    assert "labels of far that are not shared, so left out: d, A" in notes
    with pytest.raises(NotApplicableError, match="no label means the same in all sets: far has A; near has a, b"):
        join([dataset("near")], dataset("far", ("A",)))


def test_names_splits_and_files_of_each_set() -> None:
    there = join([dataset("near")], dataset("far"))
    images = there.manifest.images.set_index("image_id")
    assert (there.manifest.name, there.training, there.testing) == ("far", ("near",), ("far",))
    assert images.loc["near:003", "study_id"] == "near:s1"
    assert images.loc["003", "study_id"] == "s1"
    assert images.loc["near:004", "study_id"] == ""
    assert images.loc["003", "patient_id"] != images.loc["near:003", "patient_id"]
    paths = dict(zip(there.manifest.images["image_id"], there.manifest.paths(), strict=True))
    assert (paths["003"], paths["near:003"]) == (Path("/data/far/scans/003.png"), Path("/data/near/scans/003.png"))
    cast, notes = roles(there).cast(there.manifest)
    assert used(cast) == {("near", "train"): 12, ("near", "val"): 4, ("far", "test"): 4}
    assert notes == ()


def test_the_test_sets_of_all_training_sets_together() -> None:
    there = join([dataset("b"), dataset("a", ("c", "b"))], None)
    assert (there.manifest.name, there.tested.name, there.training, there.testing) == (
        "all",
        "all",
        ("a", "b"),
        ("a", "b"),
    )
    assert (there.manifest.labels, there.tested.fingerprint) == (("b",), there.manifest.fingerprint)
    assert set(there.tested.images["group:sex"]) == {"F"}
    cast, _ = roles(there).cast(there.manifest)
    assert used(cast) == {(name, split): n for name in "ab" for split, n in (("train", 12), ("val", 4), ("test", 4))}
    assert "ranked together" in " ".join(there.manifest.notes)


def test_a_training_set_may_be_tested_on() -> None:
    near = dataset("near")
    there = join([near, dataset("far")], near)
    cast, _ = roles(there).cast(there.manifest)
    assert used(cast) == {
        ("near", "train"): 12, ("near", "val"): 4, ("near", "test"): 4, ("far", "train"): 12, ("far", "val"): 4
    }  # fmt: skip
    assert {one.name for one in there.sets} == {"near", "far"}
    alone = join([near], near)
    assert len(alone.manifest) == 20


def test_patients_of_the_test_set_are_not_trained_on_and_validating_ones_neither() -> None:
    """Of patients 0-9, 0-5 train, 6-7 validate and 8-9 are tested; the second set shifts them by five."""
    near, far = dataset("near", lineage=("city",)), dataset("far", lineage=("city",))
    shifted = far.images.assign(patient_id=[str((i // 2 + 5) % 10) for i in range(20)])
    of_both = known("near", "far", patients="city")
    there = joined([near], replace(far, images=shifted), of_both)
    assert there.unclear == ()
    cast, notes = roles(there).cast(there.manifest)
    assert used(cast) == {("near", "train"): 8, ("near", "val"): 4, ("far", "test"): 4}  # 3 and 4 are tested in far
    assert notes == ("2 patients of near (4 images) are in the test set: left out of training and validation",)
    merged = joined([near, replace(far, images=shifted)], near, of_both)
    both, notes = roles(merged).cast(merged.manifest)
    images = both.images
    who = {split: set(images.loc[images["split"] == split, "patient_id"]) for split in ("train", "val", "test")}
    assert not who["train"] & who["val"]
    assert not (who["train"] | who["val"]) & who["test"]
    assert (who["test"], who["val"]) == ({"8", "9"}, {"6", "7", "1", "2"})
    assert any("of far (4 images) are in the test set" in note for note in notes)
    assert any("of near (4 images) validate" in note for note in notes)


def test_made_up_identifiers_of_related_sets_say_nothing() -> None:
    near, far = dataset("near", lineage=("city",)), dataset("far", lineage=("far", "city"))
    assert join([near], far).unclear == (("far", "near"),)
    of_both = known("near", "far", patients="city")
    assert joined([near], far, of_both).unclear == ()
    assert joined([near], replace(far, own_patients=True), of_both).unclear == (("far", "near"),)
    assert join([near], dataset("far", lineage=("elsewhere",))).unclear == ()


def test_in_folds_every_test_image_is_tested_once_and_no_patient_is_on_two_sides() -> None:
    far = dataset("far", n=40, lineage=("city",))
    there = joined([dataset("near", n=40)], far, known("near", "far", patients="city"))
    tested: list[str] = []
    for fold in kfold(there.manifest, 4, 0):
        cast, notes = roles(there).cast(fold)
        images = cast.images
        assert set(images.loc[images["split"] == "test", SET]) == {"far"}
        assert set(images.loc[np.isin(images["split"], ["train", "val"]), SET]) == {"near"}
        who = [set(images.loc[images["split"] == split, "patient_id"]) for split in ("train", "val", "test")]
        assert not (who[0] & who[1]) | (who[0] & who[2]) | (who[1] & who[2])
        assert notes == ()
        tested += images.loc[images["split"] == "test", "image_id"].tolist()
    assert sorted(tested) == far.images["image_id"].tolist()


def test_classes_stay_exclusive_only_where_all_sets_have_the_same() -> None:
    def classes(name: str, labels: tuple[str, ...]) -> Manifest:
        images = dataset(name, labels).images
        images[list(labels)] = np.eye(len(labels), dtype=np.float32)[np.arange(20) % len(labels)]
        return replace(dataset(name, labels), images=images, kind="multiclass")

    same = join([classes("near", ("x", "y"))], classes("far", ("y", "x")))
    assert same.manifest.kind == "multiclass"
    fewer = join([classes("near", ("x", "y", "z"))], classes("far", ("y", "x")))
    assert fewer.manifest.kind == "multilabel"
    assert any("near: its classes exclude each other" in note for note in fewer.manifest.notes)


def test_the_headline_is_what_is_left_of_the_tested_sets_own() -> None:
    far = dataset("far", ("a", "b", "c"), groups={"macro": ("b", "c")})
    assert join([dataset("near")], far).manifest.groups == {"macro": ("b",), "all": ("a", "b")}
    assert join([dataset("near", ("a",))], far).manifest.groups == {"macro": ("a",)}


def test_what_one_set_alone_could_not_train_is_said() -> None:
    near = dataset("near")
    images = near.images.assign(a=np.float32(0), b=near.images["b"].where(near.images.index % 3 > 0))
    notes = join([replace(near, images=images), dataset("far")], dataset("far")).manifest.notes
    assert "near: no positive training image of a" in notes
    assert not any("far: no" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"split": "test"}, "the train split of near is empty"),
        ({"split": "train"}, "the val split of near is empty"),
    ],
)
def test_a_set_that_cannot_be_trained_on(change: dict[str, str], reason: str) -> None:
    near = dataset("near")
    with pytest.raises(NotApplicableError, match=reason):
        join([replace(near, images=near.images.assign(**change))], dataset("far"))
    with pytest.raises(NotApplicableError, match="real and synthetic"):
        join([replace(near, synthetic=True)], dataset("far"))


def test_what_is_trained_on_has_a_fingerprint() -> None:
    near, far = dataset("near"), dataset("far")
    before = join([near], far).fingerprint
    flipped = replace(near, images=near.images.assign(a=1 - near.images["a"]))
    assert join([near, far], far).fingerprint != before != join([flipped], far).fingerprint
    assert join([far, near], far).fingerprint == join([near, far], far).fingerprint
    assert join([near], dataset("third")).fingerprint == before


def test_labels_of_one_meaning_are_one_under_the_tested_set_s_name() -> None:
    there = join([dataset("nih", ("Hernia", "Effusion"))], dataset("mimic", ("Pleural Effusion", "Edema")))
    assert there.manifest.labels == ("Pleural Effusion",)
    images = there.manifest.images.set_index("image_id")
    own = dataset("nih", ("Hernia", "Effusion")).images
    assert images.loc["nih:" + own["image_id"], "Pleural Effusion"].tolist() == own["Effusion"].tolist()
    notes = " ".join(there.manifest.notes)
    assert "labels of different names that mean the same: Pleural Effusion is Effusion of nih" in notes
    assert "labels of nih that are not shared, so left out: Hernia" in notes
    plain = join([dataset("nih", ("Hernia", "Effusion"))], dataset("mimic", ("Effusion", "Edema")))
    assert plain.fingerprint != there.fingerprint


def test_test_sets_together_under_the_first_one_s_names() -> None:
    there = join([dataset("mimic", ("Pleural Effusion",)), dataset("nih", ("Effusion",))], None)
    assert there.manifest.labels == ("Pleural Effusion",)
    assert there.manifest.targets().mean() == 0.5
