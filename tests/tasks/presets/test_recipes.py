"""Papers' recipes: what the files say, against a table transcribed from the papers and their code."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrbench.data.manifest import Manifest
from cxrbench.engine.registry import load_task
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.task import TaskOptions
from cxrbench.tasks.classification import finetune, knn, linear_sgd
from cxrbench.tasks.classification import linear_probe as classification
from cxrbench.tasks.classification.recipe import recipe_of
from cxrbench.tasks.dense.recipe import DetectionRecipe, SegmentationRecipe
from cxrbench.tasks.presets.data import adapted
from cxrbench.tasks.presets.recipes import (
    KEYS,
    checked,
    data_settings,
    honour,
    names,
    parse,
    preset_for,
    read,
    run_settings,
)
from cxrbench.tasks.training.recipe import TrainingRecipe

# (preset, protocol, dataset, fraction): what the paper, or its code, does.
SOURCES: dict[tuple[str, str, str, float], dict[str, object]] = {
    # Medical-MAE FINETUNE.md: --epochs 75 --blr 2.5e-4 --layer_decay 0.55 --weight_decay 0.05 --warmup_epochs 5
    # --drop_path 0.2 --min_lr 1e-5 --batch_size 128 on 8 GPUs --aa rand-m6-mstd0.5-inc1
    ("spcl", "finetune", "nih", 1.0): {
        "optimizer": "adamw", "learning_rate": 2.5e-4, "learning_rate_images": 256, "batch_size": 1024, "epochs": 75,
        "weight_decay": 0.05, "layer_decay": 0.55, "warmup_epochs": 5, "drop_path": 0.2, "min_learning_rate": 1e-5,
    },
    ("mvmae", "finetune", "", 1.0): {
        "optimizer": "adamw", "learning_rate": 1e-4, "learning_rate_images": 256, "weight_decay": 0.05, "epochs": 100,
        "fusion": "logits", "views": "all", "max_views": 3,
    },
    ("mvmae:paper", "finetune", "", 1.0): {"fusion": "scores", "learning_rate": 1e-4},
    ("mvmae:paper", "linear", "", 1.0): {"fusion": "scores"},
    ("pacx", "linear", "nih", 1.0): {
        "optimizer": "adam", "learning_rate": 3e-3, "batch_size": 512, "epochs": 40, "schedule": "cosine",
        "weight_decay": 0.0, "augmentation": [{"flip": 0.5}], "select": "val_auroc",
    },
    ("pacx:official", "linear", "nih", 1.0): {"optimizer": "adamw", "weight_decay": 0.01, "learning_rate": 3e-3},
    ("pacx", "segmentation", "", 1.0): {
        "epochs": 50, "learning_rate": 1e-4, "weight_decay": 1e-4, "warmup_epochs": 5, "batch_size": 256,
    },
    ("radjepa", "linear", "vindr", 1.0): {
        "optimizer": "adamw", "learning_rate": 5e-5, "schedule": "cosine", "epochs": 100, "batch_size": 96,
    },
    ("radjepa", "segmentation", "", 1.0): {
        "decoder": "upernet-wide", "optimizer": "adam", "learning_rate": 5e-4, "epochs": 100, "batch_size": 80,
        "loss": "cross_entropy", "select": "val_loss",
    },
    ("fane", "linear", "rsna", 0.1): {
        "optimizer": "adamw", "learning_rate": 5e-4, "weight_decay": 1e-6, "epochs": 50, "patience": 10,
        "select": "val_loss", "batch_size": 48, "schedule": "constant",
    },
    ("fane", "linear", "rsna", 1.0): {"batch_size": 96},
    ("fane", "segmentation", "siim", 0.1): {"decoder": "unet-wide", "batch_size": 8, "weight_decay": 1e-6},
    ("fane:official", "segmentation", "siim", 1.0): {"batch_size": 8, "weight_decay": 0.05},
    # run_seg_finetune.sh --batch_size 16 of RSNA; segmentation_dataset.py ShiftScaleRotate(0, 0.1, 10, p=0.5)
    ("fane", "segmentation", "rsna", 0.01): {
        "batch_size": 16, "augmentation": [{"affine": 10.0, "scale": 0.1, "p": 0.5}],
    },
    ("fane", "detection", "object-cxr", 0.01): {"learning_rate": 2.5e-4, "batch_size": 8},
    ("fane", "detection", "object-cxr", 0.1): {"learning_rate": 5e-4, "batch_size": 16},
    ("pacx:paper", "linear", "nih", 0.1): {"fraction_draw": "images-stratified"},
    ("pacx:official", "linear", "nih", 0.1): {"fraction_draw": "images-with-positives", "fraction_seed": 42},
    ("fane", "detection", "rsna", 0.01): {
        "learning_rate": 2e-4, "batch_size": 8, "select": "val_map", "confidence": 0.5, "nms": 0.5,
    },
    ("fane", "detection", "rsna", 0.1): {"learning_rate": 5e-4},
    ("fane:paper", "detection", "rsna", 0.1): {"select": "val_loss"},
}  # fmt: skip
SHARES = {
    ("spcl", "nih"): {"train": 0.8704, "val": 0.1296},
    ("spcl:paper", "nih"): {"train": 0.7, "val": 0.1, "test": 0.2},
    ("spcl", "rsna"): {"train": 0.7, "val": 0.1, "test": 0.2},
    ("pacx", "nih"): {"train": 0.85, "val": 0.15},
    ("pacx", "vindr"): {"train": 0.9, "val": 0.1},
    ("radjepa", "rsna"): {"train": 0.6, "val": 0.2, "test": 0.2},
    ("fane", "rsna"): {"train": 0.6, "val": 0.2, "test": 0.2},
    ("spcl:paper", "chexpert"): {"train": 0.7, "val": 0.1, "test": 0.2},
    ("mvmae", "padchest"): {"train": 97.0, "val": 1.5, "test": 1.5},
    ("mvmae", "nih"): {"train": 98.0, "val": 2.0},
    ("fane", "chexpert"): {"train": 186_027, "val": 5_000},
    ("fane", "siim"): {"train": 0.7, "val": 0.15, "test": 0.15},
}

RECIPES: Mapping[str, Callable[[Mapping[str, Any]], TrainingRecipe]] = {
    "linear": lambda settings: recipe_of(settings, "linear"),
    "finetune": lambda settings: recipe_of(settings, "finetune"),
    "segmentation": lambda settings: SegmentationRecipe.of(settings, "segmentation"),
    "detection": lambda settings: DetectionRecipe.of(settings, "detection"),
}
OTHERS: Mapping[str, tuple[object, ...]] = {
    "optimizer": ("sgd",), "learning_rate": (0.125,), "learning_rate_images": (7,), "momentum": (0.125,),
    "batch_size": (7,), "batch_of": ("studies", "images"), "drop_last": (True, False), "weight_decay": (0.125,),
    "decay_all": (True, False), "epochs": (7,), "warmup_epochs": (3,), "warmup_start": (0.125,),
    "schedule": ("constant", "cosine"), "step_per": ("epoch", "batch"), "min_learning_rate": (1e-9,), "patience": (7,),
    "select": ("last", "val_loss"), "select_every": (7,), "augmentation": ([{"flip": 0.125}],),
    "fraction_draw": ("images", "patients"), "fraction_seed": (7,), "frame": ({"resize": "pad", "size": 9, "crop": 8},),
    "head_init_std": (0.125,), "max_views": (7,), "views": ("2",), "fusion": ("scores", "logits"),
    "layer_decay": (0.125,), "drop_path": (0.125,), "sampling": ("balanced",), "clip": (7.0,), "decoder": ("unet",),
    "loss": ("cross_entropy", "dice_bce"), "detector": ("yolo",), "anchors": ("learnt",), "confidence": (0.125,),
    "nms": (0.125,),
}  # fmt: skip
"""Values of each key of a recipe: the first that a preset does not have is another one."""


def attributes(*folders: str) -> set[str]:
    """Names of attributes that the sources in folders of the protocols read, without those of the recipes."""
    found: set[str] = set()
    for folder in folders:
        root = Path(str(files("cxrbench.tasks"))) / folder
        for path in (path for path in root.rglob("*.py") if path.name != "recipe.py" or folder == "training"):
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            found |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return found


def cohort(name: str = "nih", images: int = 400, per_patient: int = 4) -> Manifest:
    """Images of patients with several each; a fifth is the official test set; label b is often unknown."""
    rng = np.random.default_rng(0)
    ids = [f"{i:04}" for i in range(images)]
    patient = [f"p{i // per_patient:03}" for i in range(images)]
    frame = pd.DataFrame(
        {"image_id": ids, "patient_id": patient, "study_id": ids, "view": "PA", "path": ids, "bytes": 1}
    )
    train, val = images * 7 // 10, images // 10
    split = np.repeat(["train", "val", "test"], [train, val, images - train - val])
    a, b = (rng.random((2, images)) < [[0.1], [0.5]]).astype(np.float32)
    b[rng.random(images) < 0.3] = np.nan
    return Manifest(name, Path(), frame.assign(split=split, a=a, b=b), ("a", "b"))


def test_there_is_a_preset_for_each_of_the_five_papers() -> None:
    assert names() == ["fane", "mvmae", "pacx", "radjepa", "spcl"]


@pytest.mark.parametrize(("which", "expected"), list(SOURCES.items()), ids=str)
def test_presets_say_what_papers_and_their_code_say(
    which: tuple[str, str, str, float], expected: dict[str, object]
) -> None:
    settings = preset_for(*which)
    assert {key: settings[key] for key in expected} == expected


@pytest.mark.parametrize(("which", "shares"), list(SHARES.items()), ids=str)
def test_splits_have_the_papers_shares(which: tuple[str, str], shares: dict[str, float]) -> None:
    assert data_settings(which[0], "linear", which[1])["split"] == shares


def test_every_recipe_of_every_variant_can_be_trained_as_it_stands() -> None:
    seen = 0
    for name in names():
        for variant in read(name)["variants"]:
            for section, recipe in RECIPES.items():
                if section in read(name):
                    assert recipe(preset_for(f"{name}:{variant}", section, "rsna", 1.0)).epochs >= 40
                    seen += 1
            task = classification.TASK.configured(TaskOptions(preset=f"{name}:{variant}"))
            suffix = "" if variant == "fixed" else f"-{variant}"
            assert task.protocol == f"classification+preset-{name}{suffix}"
    assert seen >= 26


def test_medical_mae_splits_86524_images_as_its_lists_do() -> None:
    assert round(86_524 * SHARES["spcl", "nih"]["train"]) == pytest.approx(75_312, abs=3)


def test_fractions_and_seeds_of_the_papers() -> None:
    assert run_settings("spcl") == ((0.01, 0.1, 1.0), None)
    assert run_settings("radjepa") == (None, 5)


@pytest.mark.parametrize("text", ["spc", "", "spcl:offical", "radjepa:official"])
def test_unknown_presets_and_variants_are_named(text: str) -> None:
    with pytest.raises(UserError, match="choose one of"):
        parse(text)


def test_a_protocol_that_a_paper_has_not_is_said() -> None:
    with pytest.raises(NotApplicableError, match="no recipe for detection"):
        preset_for("pacx", "detection")
    with pytest.raises(NotApplicableError, match="no recipe for finetune"):
        finetune.TASK.configured(TaskOptions(preset="fane"))
    with pytest.raises(NotApplicableError, match="no recipe for knn"):
        knn.TASK.configured(TaskOptions(preset="fane"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"linear": {"lerning_rate": 1.0}}, "unknown key 'lerning_rate'"),
        ({"linear": {"epochs": "many"}}, "wrong type"),
        ({"linear": {"epochs": True}}, "wrong type"),
        ({"linear": {"when": [{"variant": "final", "epochs": 3}]}}, "variant 'final'"),
        ({"data": [{"shares": {}}]}, "unknown key 'shares'"),
        ({"variants": ["paper"]}, "lack 'fixed'"),
        ({"regression": {}}, "unknown key 'regression'"),
    ],
)
def test_a_wrong_file_is_an_error(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked({"title": "x", "variants": ["fixed"], **change}, "preset x")


def test_a_setting_that_a_task_does_not_know_is_an_error_not_dropped() -> None:
    with pytest.raises(UserError, match="cannot honour decoder"):
        honour({"decoder": "transposed", "epochs": 3}, ["epochs"], "segmentation")
    with pytest.raises(UserError, match="cannot honour"):
        recipe_of({"learning_rate": 1.0, "mixup": 0.8}, "linear")
    assert "decoder" in KEYS["segmentation"]


def test_a_split_by_image_shares_patients_and_says_so() -> None:
    manifest = cohort()
    by_image, by_patient = adapted(manifest, "pacx:official", "linear"), adapted(manifest, "pacx", "linear")
    for found, shared in ((by_image, True), (by_patient, False)):
        splits = found.images.groupby("patient_id")["split"].agg(set)
        assert any({"train", "val"} <= s for s in splits) == shared
        assert any("patients are in more than one split" in note for note in found.notes) == shared
        assert (found.rows_of("test") == manifest.rows_of("test")).all()
        assert len(found.rows_of("val")) == pytest.approx(0.15 * 320, abs=2)
    assert by_image.fingerprint != manifest.fingerprint
    assert by_image.image_set == manifest.image_set


def test_a_split_of_everything_has_the_papers_sizes() -> None:
    found = adapted(cohort("rsna", 26_684, 1), "fane", "linear")
    assert [len(found.rows_of(split)) for split in ("train", "val", "test")] == [16_010, 5_337, 5_337]
    found = adapted(cohort("siim", 12_047, 1), "fane", "linear")
    assert [len(found.rows_of(s)) for s in ("train", "val", "test")] == pytest.approx([8_433, 1_807, 1_807], abs=1)


def test_fane_trains_segmentation_on_as_many_images_without_as_with() -> None:
    found = adapted(cohort("siim", 2000, 1), "fane", "segmentation")
    positive = (found.targets()[found.rows_of("train")] == 1).any(1)
    assert abs(2 * positive.sum() - len(positive)) <= 1
    assert len(found) == 2000


def test_unknown_labels_are_negative_for_mvmae_and_untouched_for_others() -> None:
    manifest = cohort("mimic")
    assert adapted(manifest, "fane", "linear") is manifest
    found = adapted(manifest, "mvmae", "finetune")
    assert not found.images[["a", "b"]].isna().to_numpy().any()
    assert found.images["b"].tolist().count(1) == manifest.images["b"].tolist().count(1)


def test_labels_are_those_of_the_paper() -> None:
    manifest = cohort("vindr")
    rare = manifest.images.assign(b=(np.arange(400) < 20).astype(np.float32), a=(np.arange(400) % 3 == 0) * 1.0)
    found = adapted(replace(manifest, images=rare), "pacx", "linear")
    assert found.labels == ("a",)
    assert found.groups == {"macro": ("a",)}
    with pytest.raises(NotApplicableError, match="50 positives"):
        adapted(replace(manifest, images=rare.assign(a=0.0)), "pacx", "linear")
    with pytest.raises(UserError, match="Lung Opacity"):
        adapted(manifest, "radjepa", "linear")


def test_a_presets_file_is_part_of_the_version() -> None:
    versions = {linear_sgd.TASK.configured(TaskOptions(preset=p)).version for p in (None, "fane", "pacx")}
    assert len(versions) == 3


@pytest.mark.parametrize("section", list(RECIPES))
def test_no_option_of_a_preset_is_ignored_by_the_task_that_it_names(section: str) -> None:
    """Every key that a file may have changes the recipe that is trained; the code that trains reads every setting."""
    for name in (name for name in names() if section in read(name)):
        base = preset_for(name, section)
        recipe = RECIPES[section](base)
        for key in KEYS[section].keys() - {"note"}:
            mutated = {**base, key: next(value for value in OTHERS[key] if value != base.get(key))}
            assert RECIPES[section](mutated) != recipe, f"{name} [{section}] {key} is ignored"
        with pytest.raises(UserError, match="cannot honour warmup"):
            RECIPES[section]({**base, "warmup": 3})
    classifier = section in ("linear", "finetune")
    read_by = attributes("training", "classification" if classifier else "dense")
    assert {"learning_rates" if key == "learning_rate" and classifier else key for key in KEYS[section]} - {
        "note"
    } <= read_by


@pytest.mark.parametrize("name", ["segmentation", "detection"])
def test_a_preset_of_a_dense_protocol_decides_its_recipe(name: str) -> None:
    task: Any = load_task(name).configured(TaskOptions(preset="fane"))
    assert task.recipe("rsna", 0.01) == RECIPES[name](preset_for("fane", name, "rsna", 0.01))
    assert task.recipe("rsna", 0.01) != task.recipe("rsna", 1.0) or name == "segmentation"
    spcl: Any = load_task(name).configured(TaskOptions(preset="spcl"))
    assert spcl.told("rsna", 1.0) == (preset_for("spcl", name)["note"],)


def test_settings_that_cannot_be_together_are_refused() -> None:
    base = preset_for("fane", "detection")
    with pytest.raises(UserError, match="anchors = 'yolov3' are of YOLO heads; fcos has its own"):
        DetectionRecipe.of({**base, "detector": "fcos"}, "detection")
    with pytest.raises(UserError, match="moves no boxes"):
        DetectionRecipe.of({**base, "augmentation": [{"elastic": 0.1}]}, "detection")
    with pytest.raises(UserError, match="loss 'dice': choose from"):
        SegmentationRecipe.of({**preset_for("fane", "segmentation"), "loss": "dice"}, "segmentation")
