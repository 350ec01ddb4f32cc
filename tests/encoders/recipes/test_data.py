"""Which images a paper trains on: in its recipe, as in its evaluation, and in what training then reads."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrbench.api.pretraining import chosen_images
from cxrbench.data.holdout import held_out_patients
from cxrbench.data.manifest import Manifest
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig
from cxrbench.encoders.pretraining.engine.prepared import training_rows
from cxrbench.encoders.pretraining.engine.recipe_lines import recipe_lines
from cxrbench.encoders.recipes import mvmae, radjepa
from cxrbench.tasks.presets.data import adapted


def films(name: str, patients: int, views: tuple[str, ...]) -> Manifest:
    """A study of each of these views per patient; every tenth patient is tested, the one before validates."""
    n = patients * len(views)
    of = np.repeat(np.arange(patients), len(views))
    ids = [f"{name}-{i:06}" for i in range(n)]
    split = np.select([of % 10 == 9, of % 10 == 8], ["test", "val"], "train")
    frame = pd.DataFrame({
        "image_id": ids, "patient_id": np.char.mod("p%d", of), "study_id": np.char.mod("s%d", of),
        "view": list(views) * patients, "split": split, "path": ids, "bytes": 1,
    })  # fmt: skip
    return Manifest(name, Path(), frame, ())


@pytest.mark.parametrize("dataset", ["padchest", "nih"])
def test_mvmae_is_pretrained_on_the_split_that_it_is_evaluated_on(dataset: str) -> None:
    manifest = films(dataset, 400, ("PA", "L"))
    (found,), (line,) = chosen_images([manifest], mvmae.PAPER)
    evaluated = adapted(manifest, "mvmae:paper", "finetune")
    assert found.images["split"].tolist() == evaluated.images["split"].tolist()
    assert line.startswith(f"{dataset} as in MVMAE §3")
    assert chosen_images([manifest], mvmae.FIXED) == ([manifest], ())


def test_radjepa_is_pretrained_on_90000_laterals_of_mimic_and_all_frontals_of_training() -> None:
    manifest = films("mimic", 12_000, ("AP", *["L"] * 10, ""))
    (found,), (line,) = chosen_images([manifest], radjepa.PAPER)
    rows = training_rows([found])
    assert rows["view"].value_counts().to_dict() == {"AP": 9_600, "L": 90_000}
    assert line.startswith("mimic as in RadJEPA Table 1, §4: 90,000 laterals: ")
    assert "99,600 train" in line
    held_out = held_out_patients(films("symile", 12_000, ("AP",)), [found])
    assert not held_out, "who has an image that is not used is not held out"


def test_a_dry_run_names_the_images_and_their_source() -> None:
    lines, _ = recipe_lines(PretrainConfig(method="mvmae", recipe="paper"))
    told = {line.name: (line.value, line.source) for line in lines if line.name.startswith("images of")}
    assert told["images of nih"] == ("split train 98/val 2, seed 100", "MVMAE §3: 98/2 of training and validation")
    assert "shares_of studies" in told["images of padchest"][0]
    lines, _ = recipe_lines(PretrainConfig(method="radjepa", recipe="official"))
    assert next(line.value for line in lines if line.name == "images of mimic") == "views PA,AP,L, laterals 90000"
