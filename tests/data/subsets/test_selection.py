"""Which images a paper uses: by view, by official part, in shares of images or studies, some laterals."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrbench.data.manifest import PART, Manifest
from cxrbench.data.subsets.selection import UNUSED, Selection, selected
from cxrbench.errors import UserError


def table(patients: list[str], views: list[str], splits: list[str], per_study: int = 1) -> Manifest:
    ids = [f"i{n:06}" for n in range(len(patients))]
    studies = [f"{patient}-{n // per_study}" for n, patient in enumerate(patients)]
    frame = pd.DataFrame({
        "image_id": ids, "patient_id": patients, "study_id": studies, "view": views, "split": splits, "path": ids,
        "bytes": 1, "a": 0.0,
    })  # fmt: skip
    return Manifest("one", Path(), frame, ("a",))


def counts(manifest: Manifest) -> dict[str, int]:
    return {str(name): int(count) for name, count in manifest.images["split"].value_counts().items()}


def test_nothing_asked_is_nothing_done() -> None:
    manifest = table(["p"] * 4, ["PA"] * 4, ["train"] * 4)
    assert selected(manifest, Selection()) is manifest


def test_views_and_the_official_part_choose_before_anything_is_dealt() -> None:
    manifest = table([f"p{n // 2}" for n in range(80)], ["PA", "L"] * 40, ["train"] * 60 + ["val"] * 10 + ["test"] * 10)
    parts = ["train"] * 60 + ["valid"] * 10 + ["test"] * 10
    manifest = replace(manifest, images=manifest.images.assign(**{PART: parts}))
    found = selected(manifest, Selection(("PA", ""), test_part="valid", split={"train": 9, "val": 1}, unit="image"))
    frontal = (found.images["view"] == "PA").to_numpy()
    part = found.images[PART].to_numpy()
    assert (found.images["split"].to_numpy()[~frontal | (part == "test")] == UNUSED).all()
    assert (found.images["split"].to_numpy()[frontal & (part == "valid")] == "test").all()
    assert counts(found) == {UNUSED: 45, "train": 27, "val": 3, "test": 5}
    assert found.image_set == manifest.image_set, "features stay in the cache"
    with pytest.raises(UserError, match="no official part 'validate': it has"):
        selected(manifest, Selection(test_part="validate"))
    with pytest.raises(UserError, match="prepare it again"):
        selected(table(["p"], ["PA"], ["train"]), Selection(test_part="valid"))


def test_shares_of_studies_are_met_as_nearly_as_whole_patients_allow() -> None:
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(3000), rng.integers(1, 4, 3000))  # a patient of each image; a study has up to two images
    manifest = table([f"p{n}" for n in of], ["PA"] * len(of), ["train"] * len(of), per_study=2)
    shares = {"train": 97.0, "val": 1.5, "test": 1.5}
    found = selected(manifest, Selection(split=shares, shares_of="studies", seed=100)).images
    assert set(found.groupby("patient_id")["split"].nunique()) == {1}
    studies = Counter(dict(zip(found["study_id"], found["split"], strict=True)).values())
    for name, share in shares.items():
        assert abs(studies[name] - share / 100 * studies.total()) <= 2, "a patient has up to three images, two studies"
    by_images = selected(manifest, Selection(split=shares, seed=100)).images["split"]
    assert by_images.tolist() != found["split"].tolist()


def test_laterals_are_drawn_image_by_image_nested_and_only_from_training() -> None:
    views, splits = ["PA", "L", "L", ""] * 50, ["train"] * 120 + ["val"] * 40 + ["test"] * 40
    manifest = table([f"p{n // 4}" for n in range(200)], views, splits)
    drawn = []
    for count in (0, 7, 30):
        found = selected(manifest, Selection(laterals=count, seed=3)).images
        lateral = ((found["view"] == "L") & (found["split"] == "train")).to_numpy(bool)
        assert lateral.sum() == count
        changed = (found["split"] != manifest.images["split"]).to_numpy()
        assert set(manifest.images["view"][changed]) <= {"L"}
        assert set(manifest.images["split"][changed]) <= {"train"}
        drawn.append(set(found["image_id"][lateral]))
    assert drawn[0] < drawn[1] < drawn[2]
    whole = selected(manifest, Selection(laterals=90_000, seed=3))
    assert counts(whole) == counts(manifest)
    assert "All 60 lateral training images are used" in whole.notes[-1]


def test_what_the_reader_said_of_splits_that_are_dealt_anew_is_left_out() -> None:
    said = {"Official test list.": ("test",), "Validation is an eighth.": ("train", "val")}
    manifest = table([f"p{n}" for n in range(40)], ["PA"] * 40, ["train"] * 20 + ["val"] * 10 + ["test"] * 10)
    manifest = replace(manifest, notes=(*said, "40 images."), split_notes=said)
    anew = selected(manifest, Selection(split={"train": 7, "val": 1, "test": 2}))
    assert anew.notes == ("40 images.", "Split anew as the paper did: 70/10/20 (train, val, test) by patient.")
    rest = selected(manifest, Selection(split={"train": 9, "val": 1}))
    dealt = "Split anew as the paper did: 90/10 (train, val) by patient, of what is not test."
    assert rest.notes == ("Official test list.", "40 images.", dealt)
    assert selected(manifest, Selection(views=("PA",))).notes[:3] == manifest.notes
    parts = ["train"] * 30 + ["valid"] * 10
    manifest = replace(manifest, images=manifest.images.assign(**{PART: parts}))
    official = selected(manifest, Selection(test_part="valid"))
    assert official.notes == ("40 images.", "Test is the official valid.")


def test_notes_on_splits_are_kept_with_the_manifest(tmp_path: Path) -> None:
    said = {"Official test list.": ("test",)}
    manifest = replace(table(["p"], ["PA"], ["test"]), notes=tuple(said), split_notes=said)
    manifest.save(tmp_path / "m.parquet")
    assert Manifest.load(tmp_path / "m.parquet").split_notes == said


def test_a_unit_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="patient, study, image"):
        Selection(unit="hospital")  # type: ignore[arg-type]
