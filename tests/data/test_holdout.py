"""Who is kept out of pretraining because another dataset of the same source holds him out."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cxrbench.data.datasets import chexpert, chexpert_plus, mimic, nih, rsna, siim, symile, vindr
from cxrbench.data.holdout import Exclusions, exclusions, held_out_patients, present
from cxrbench.data.manifest import Manifest
from cxrbench.data.prepared.copy import prepare
from cxrbench.engine.registry import dataset_adapters, load_dataset
from cxrbench.errors import UserError
from support.chexpert_layouts import write_chexpert, write_chexpert_plus

KNOWN = {m.DATASET.name: m.DATASET for m in (chexpert, chexpert_plus, mimic, nih, rsna, siim, symile, vindr)}


def manifest(name: str, lineage: Sequence[str], **splits: str) -> Manifest:
    """Patients a, b, ... of the given splits."""
    rows = [{"image_id": p, "patient_id": p, "study_id": p, "view": "", "split": s, "path": p, "bytes": 1}
            for p, s in splits.items()]  # fmt: skip
    return Manifest(name, Path(name), pd.DataFrame(rows), (), lineage=tuple(lineage))


MIMIC = manifest("mimic", ("mimic",), a="train", b="train", c="train", d="val", e="test")
SYMILE = manifest("symile", ("symile", "mimic"), a="test", b="val", d="train", e="train", f="train", g="test")


def no_loading(name: str) -> Manifest:
    raise AssertionError(f"{name} should not be read")


def test_validation_and_test_of_the_others_that_one_would_train_on() -> None:
    assert held_out_patients(MIMIC, [SYMILE]) == {"a", "b"}
    assert held_out_patients(SYMILE, [MIMIC]) == {"d", "e"}
    assert held_out_patients(MIMIC, [SYMILE, manifest("x", (), c="test", b="train")]) == {"a", "b", "c"}
    assert held_out_patients(MIMIC, []) == set()


def test_datasets_trained_on_together_leave_out_each_others_patients() -> None:
    found = exclusions([MIMIC, SYMILE], ["mimic", "symile", "vindr"], KNOWN, no_loading)
    assert found.patients == {"mimic": frozenset("ab"), "symile": frozenset("de")}
    assert found.notes == (
        "2 training patients of mimic are held out in symile: excluded.",
        "2 training patients of symile are held out in mimic: excluded.",
    )


def test_only_related_datasets_of_the_folder_are_read() -> None:
    asked: list[str] = []

    def load(name: str) -> Manifest:
        asked.append(name)
        return SYMILE

    found = exclusions([MIMIC], ["symile", "vindr", "rsna", "mimic", "labels"], KNOWN, load)
    assert asked == ["symile"]
    assert found.patients == {"mimic": frozenset("ab")}
    assert exclusions([MIMIC], ["vindr"], KNOWN, no_loading) == Exclusions({"mimic": frozenset()}, ())


def test_renamed_patients_and_unreadable_datasets_are_said() -> None:
    chest14 = manifest("nih", ("nih",), a="train", b="test")
    found = exclusions([chest14], ["rsna", "siim", "nih"], KNOWN, no_loading)
    assert found.patients == {"nih": frozenset()}
    assert [note[:60] for note in found.notes] == ["nih shares its source with rsna, siim, but not the identifie"]
    mine = manifest("clinic", ("mimic",), a="train")
    assert "clinic shares its source with mimic" in exclusions([mine], ["mimic"], KNOWN, no_loading).notes[0]

    def broken(name: str) -> Manifest:
        raise UserError(f"{name} is half there")

    found = exclusions([MIMIC], ["symile"], KNOWN, broken)
    assert found.patients == {"mimic": frozenset()}
    assert found.notes == (
        "symile cannot be read, so its held-out patients stay in mimic: symile is half there",
    )  # fmt: skip


def test_registered_datasets_say_whose_identifiers_they_have() -> None:
    known = dataset_adapters()
    whose = {name: known[name].patients for name in ("mimic", "symile", "chexpert", "chexpert-plus", "nih", "rsna")}
    assert whose["mimic"] == whose["symile"] != ""
    assert whose["chexpert"] == whose["chexpert-plus"] != ""
    assert whose["nih"] == whose["rsna"] == ""
    for dataset in known.values():
        assert dataset.name in dataset.lineage


def test_by_folders_on_disk(tmp_path: Path) -> None:
    write_chexpert(tmp_path / "chexpert")
    write_chexpert_plus(tmp_path / "chexpert-plus")
    (tmp_path / "mine").mkdir()
    assert present(tmp_path, dataset_adapters()) == ("chexpert", "chexpert-plus")

    def found_in(data: Path) -> Exclusions:
        known = dataset_adapters()
        return exclusions([plain], present(data, known), known, lambda name: load_dataset(name, data, lambda: data))

    plain, plus = (load_dataset(name, tmp_path, lambda: tmp_path) for name in ("chexpert", "chexpert-plus"))
    found = found_in(tmp_path)
    held_out = set(plus.images.loc[plus.images["split"] != "train", "patient_id"])
    train = set(plain.images.loc[plain.images["split"] == "train", "patient_id"])
    assert held_out >= {"patient00009", "patient00010"}
    assert found.patients == {"chexpert": frozenset(held_out & train)}
    assert len(found.patients["chexpert"]) >= 1
    prepare(plus, tmp_path / "fast", 16)
    shutil.copytree(tmp_path / "chexpert", tmp_path / "fast/chexpert")
    assert found_in(tmp_path / "fast") == found, "a prepared copy counts as well"
