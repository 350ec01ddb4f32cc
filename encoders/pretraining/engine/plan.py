"""What to train and how: settings, and all that follows from them before training begins."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

import torch

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.pretraining.method import Blueprint, Method, PretrainingRecipe
from cxrbench.errors import OnBadImage, UserError, chosen


@dataclass(frozen=True)
class PretrainConfig:
    """What to train and how. What is None is the method's own.

    ``batch_size``: units (images, studies) that are compared with each other, over all processes. ``accumulate``:
    batches per optimizer step (more negatives do not come of it). ``lr``: peak learning rate. ``warmup``: share of the
    steps. ``clip``: the largest gradient norm. ``options``: the method's own, by name. ``decode``: ``once``, into one
    file of images at the size that is trained on, or ``always``, by ``workers`` processes while training.
    ``gradient_checkpointing``: less memory, more time. ``limit``: number of images, to try things. ``half``: write
    float16. ``last.ckpt`` is replaced every ``checkpoint_every`` optimizer steps; every ``keep_every`` epochs one is
    kept, every ``picture_every`` epochs a picture of training is drawn (0: none). Every ``watch_every`` steps
    embeddings of a fixed set of images are looked at (0: never; None: as often as costs about 2% of training).
    """

    method: str = "spcl"
    arch: str = "small"
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    weight_decay: float | None = None
    warmup: float | None = None
    clip: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    precision: Literal["auto", "32", "bf16"] = "auto"
    accumulate: int = 1
    seed: int = 0
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    workers: int = 0
    decode: Literal["once", "always"] = "once"
    gradient_checkpointing: bool = False
    limit: int | None = None
    half: bool = False
    checkpoint_every: int = 100
    keep_every: int = 0
    picture_every: int = 0
    watch_every: int | None = None
    on_bad_image: OnBadImage = "error"


def chosen_recipe(config: PretrainConfig, recipe: PretrainingRecipe) -> PretrainingRecipe:
    """The method's recipe with what the user said instead. Raises UserError for impossible values."""
    named = {f.name for f in fields(PretrainingRecipe)} & {f.name for f in fields(config)}
    given = {name: getattr(config, name) for name in named}
    recipe = replace(recipe, **{name: value for name, value in given.items() if value is not None})
    for name in ("epochs", "batch_size"):
        if getattr(recipe, name) < 1:
            raise UserError(f"{name} is {getattr(recipe, name)}: it must be at least 1")
    finite = 0 < recipe.lr < math.inf and 0 <= recipe.weight_decay < math.inf
    if not finite or not 0 <= recipe.warmup < 1 or not recipe.clip > 0:
        raise UserError("pretraining needs lr > 0, weight_decay >= 0, 0 <= warmup < 1 and clip > 0")
    if given["weight_decay"] is not None:
        recipe = replace(recipe, final_weight_decay=None)
    return recipe


def check_settings(config: PretrainConfig, recipe: PretrainingRecipe) -> None:
    """What can be known to be wrong before any data is read. Raises UserError."""
    for name, kind in get_type_hints(PretrainConfig).items():
        if get_origin(kind) is Literal:
            chosen(name, kind, getattr(config, name))
    if config.decode == "always" and config.on_bad_image == "skip":
        raise UserError(
            "unreadable images can be left out only where images are decoded once: leave out one of the two"
        )
    for name in ("accumulate", "devices", "checkpoint_every"):
        if getattr(config, name) < 1:
            raise UserError(f"{name} is {getattr(config, name)}: it must be at least 1")
    for name in ("seed", "watch_every"):
        if (getattr(config, name) or 0) < 0:
            raise UserError(f"{name} is {getattr(config, name)}: it must be at least 0")
    if recipe.batch_size % config.devices:
        raise UserError(
            f"batch size {recipe.batch_size} cannot be shared by {config.devices} devices: choose a multiple"
        )
    gpus = torch.cuda.device_count()
    if config.accelerator == "gpu" and not gpus:
        raise UserError("accelerator gpu is not here: choose auto or cpu")
    if gpus and config.accelerator != "cpu" and config.devices > gpus:
        raise UserError(f"--devices {config.devices}, but there are {gpus} GPUs: lower it")


def check_names(manifests: Sequence[Manifest]) -> None:
    """Datasets are told apart by their names. Raises UserError."""
    names = [manifest.name for manifest in manifests]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"several of the datasets are called {', '.join(repeated)}: give each once, and a CSV a name of its own "
            '(name = "..." in the TOML file beside it)'
        )


def check_is_read(config: PretrainConfig, method: Method, blueprint: Blueprint) -> None:
    """Every setting that is given is one that the method reads. Raises UserError."""
    if config.picture_every and not method.pictures:
        raise UserError(f"{method.name} draws no pictures of its training: leave out picture_every (--picture-every)")
    if config.gradient_checkpointing and not blueprint.recomputes:
        raise UserError(
            f"{method.name} {config.arch} has nothing that gradient checkpointing could spare: leave it out"
        )


@dataclass(frozen=True)
class TrainingPlan:
    """The settings of the loop, with everything derived that it needs.

    ``batch_size``: units of one batch, over all processes; ``accumulate``: batches of one optimizer step; ``steps``:
    optimizer steps of the whole run; ``loaders``: processes that decode images while training.
    """

    batch_size: int
    accumulate: int
    seed: int
    loaders: int
    precision: Literal["32", "bf16"]
    batches_per_epoch: int
    steps: int
    out: Path

    @property
    def batches(self) -> int:
        """Of the whole run."""
        return self.steps * self.accumulate

    @property
    def last(self) -> Path:
        """The checkpoint that a run is resumed from."""
        return self.out / "last.ckpt"


def make_plan(config: PretrainConfig, recipe: PretrainingRecipe, units: int, out: Path) -> TrainingPlan:
    """The plan of a run over ``units`` units. Raises UserError for impossible settings."""
    if units < max(2, recipe.batch_size):
        raise UserError(f"{units} training units are fewer than one batch of {recipe.batch_size}: lower the batch size")
    batches_per_epoch = units // recipe.batch_size
    steps = recipe.epochs * batches_per_epoch // config.accumulate
    if steps == 0:
        raise UserError(f"{recipe.epochs} epochs give no step of {config.accumulate} batches: raise the epochs")
    return TrainingPlan(
        batch_size=recipe.batch_size,
        accumulate=config.accumulate,
        seed=config.seed,
        loaders=config.workers if config.decode == "always" else 0,
        precision=chosen_precision(config.precision),
        batches_per_epoch=batches_per_epoch,
        steps=steps,
        out=out,
    )


def chosen_precision(wanted: Literal["auto", "32", "bf16"]) -> Literal["32", "bf16"]:
    """``auto`` is bf16 where the GPU or the CPU multiplies it natively, else 32."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "32"
