"""What to train and how: settings, and all that follows from them before training begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

import torch

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.pretraining.method import Blueprint, Method
from cxrbench.encoders.pretraining.options import Declared, typed
from cxrbench.encoders.pretraining.recipe import Decayed, LearningRateRule, Precision, PretrainingRecipe
from cxrbench.errors import OnBadImage, UserError, chosen
from cxrbench.plugins.entry_points import METHODS, load_plugin

MOST_DECODED = 8
"""Sides of what is trained on: no crop has more detail to lose, and no memory holds a side of millions of pixels."""
MOST_COUNTED, MOST = 2**63 - 1, 10**9
"""The largest seed that torch takes; and more epochs than a run will ever have."""
BOUNDS = {
    **dict.fromkeys(("epochs", "batch_size", "accumulate", "horizon"), Declared("", least=1, most=MOST)),
    **dict.fromkeys(("start_lr", "final_lr"), Declared("", least=0, most=1)),
    **dict.fromkeys(("weight_decay", "final_weight_decay", "clip"), Declared("", least=0)),
    "lr": Declared("", above=0),
    "warmup": Declared("", least=0, below=1),
}


@dataclass(frozen=True)
class PretrainConfig:
    """What to train and how. What is None is the recipe's: ``recipe`` is its name, ``PretrainingRecipe`` its numbers.

    ``options``: the method's own, by name. ``init``: the weights to begin from (a file, ``timm:NAME``, ``random``; "":
    those that the method's source begins from, if any). ``decode``: ``once``, into one file, or ``always``, by
    ``workers`` processes while training. ``decode_size``: pixels of a side at which they are decoded, where random
    crops are cut from them; else it is the size that is trained on.
    ``gradient_checkpointing``: less memory, more time. ``limit``: number of images, to try things. ``half``: write
    float16. ``last.ckpt`` is replaced every ``checkpoint_every`` optimizer steps; every ``keep_every`` epochs one is
    kept, every ``picture_every`` epochs a picture of training is drawn (0: none). Every ``watch_every`` steps
    embeddings of a fixed set of images are looked at (0: never; None: as often as costs about 2% of training);
    every ``probe_every`` a linear probe is asked for the labels of validation images (0: never).
    """

    method: str = "spcl"
    arch: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    recipe: str = "fixed"
    accumulate: int | None = None
    lr: float | None = None
    lr_rule: LearningRateRule | None = None
    start_lr: float | None = None
    final_lr: float | None = None
    warmup: float | None = None
    horizon: float | None = None
    betas: tuple[float, float] | None = None
    weight_decay: float | None = None
    final_weight_decay: float | None = None
    decayed: Decayed | None = None
    clip: float | None = None
    precision: Precision | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    init: str = ""
    seed: int = 0
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    workers: int = 0
    decode: Literal["once", "always"] = "once"
    decode_size: int | None = None
    gradient_checkpointing: bool = False
    limit: int | None = None
    half: bool = False
    checkpoint_every: int = 100
    keep_every: int = 0
    picture_every: int = 0
    watch_every: int | None = None
    probe_every: int = 0
    on_bad_image: OnBadImage = "error"


def read_method(config: PretrainConfig) -> Method:
    """The method by name. Raises UserError."""
    method = load_plugin(METHODS, config.method, "method")
    if not isinstance(method, Method):
        raise UserError(
            f"method plugin {config.method} is a {type(method).__name__}, not a Method "
            "(cxrbench.encoders.pretraining.method)"
        )
    return method


def given_numbers(config: PretrainConfig) -> dict[str, Any]:
    """The numbers of the recipe that the user says otherwise, by name."""
    named = {f.name for f in fields(PretrainingRecipe)} & {f.name for f in fields(config)}
    return {f.name: value for f in fields(config) if f.name in named and (value := getattr(config, f.name)) is not None}


def chosen_recipe(config: PretrainConfig, method: Method) -> PretrainingRecipe:
    """The method's recipe, with what the user said instead. Raises UserError for impossible values."""
    if config.recipe not in method.recipes:
        raise UserError(f"{method.name} has no recipe {config.recipe!r}: choose one of {', '.join(method.recipes)}")
    given = given_numbers(config)
    kinds = get_type_hints(PretrainingRecipe)
    for name, value in given.items():
        if get_origin(kinds[name]) is Literal:
            chosen(name, kinds[name], str(value))
    recipe = replace(method.recipes[config.recipe], **given)
    for name, bounds in BOUNDS.items():
        if (value := getattr(recipe, name)) is not None and not bounds.allows(value):
            raise UserError(f"{name} is {typed(value)}: it must be {bounds.bounds}")
    if len(recipe.betas) != 2 or not all(0 <= beta < 1 for beta in recipe.betas):
        raise UserError(f"betas are {recipe.betas}: give two numbers in [0, 1), e.g. 0.9,0.95")
    return recipe


def notes_on(config: PretrainConfig, recipe: PretrainingRecipe) -> list[str]:
    """What a user might not expect of the numbers that they gave, a line each."""
    notes, ramp = [], recipe.final_weight_decay
    if config.weight_decay is not None and config.final_weight_decay is None and ramp is not None:
        notes.append(
            f"weight decay goes from {recipe.weight_decay:g} to {ramp:g}, as the recipe's does: pass "
            f"--final-weight-decay {recipe.weight_decay:g} to keep it"
        )
    if config.lr is not None and config.lr_rule is None and recipe.lr_rule == "per-256":
        notes.append(
            f"lr {recipe.lr:g} is taken for 256 units of an optimizer step, as the recipe's is: the peak is "
            f"{recipe.peak:g}; pass --lr-rule absolute to train at {recipe.lr:g}"
        )
    if config.lr is None and config.lr_rule is not None:
        notes.append(
            f"lr {recipe.lr:g} is the recipe's, of which --lr-rule {config.lr_rule} makes a peak of {recipe.peak:g}: "
            "pass --lr for another"
        )
    if config.warmup is not None and config.horizon is None and recipe.horizon != 1:
        notes.append(
            f"warmup {recipe.warmup:g} is a share of the recipe's schedule, which is {recipe.horizon:g} times as long "
            f"as the run: {recipe.warmup * recipe.horizon:.0%} of the run"
        )
    for name, what in (("keep_every", "checkpoint is kept"), ("picture_every", "picture is drawn")):
        if getattr(config, name) > recipe.epochs:
            notes.append(f"{name} is {getattr(config, name)}, and the run has {recipe.epochs} epochs: no {what}")
    return notes


def note_on_processes(config: PretrainConfig, recipe: PretrainingRecipe, blueprint: Blueprint) -> list[str]:
    """That a process has another share of the batch than in the recipe's source, where the method goes by the share."""
    share, here = recipe.batch_size // recipe.processes, recipe.batch_size // config.devices
    if not blueprint.within_process or config.batch_size is not None or share == here:
        return []
    ways = [f"--devices {recipe.processes}", f"--batch-size {share * config.devices}"]
    if recipe.processes > config.devices and recipe.processes % config.devices == 0 and recipe.accumulate == 1:
        ways[1] += f" --accumulate {recipe.processes // config.devices}{blueprint.if_accumulated}"
    return [
        f"{blueprint.within_process} within each process: the source has {recipe.processes} of {share}, this run "
        f"{config.devices} of {here}; to have the source's, pass {' or '.join(ways)}"
    ]


def check_settings(config: PretrainConfig, recipe: PretrainingRecipe) -> None:
    """What can be known to be wrong before any data is read. Raises UserError."""
    for name, kind in get_type_hints(PretrainConfig).items():
        if get_origin(kind) is Literal:
            chosen(name, kind, getattr(config, name))
    if config.decode == "always" and config.on_bad_image == "skip":
        raise UserError(
            "unreadable images can be left out only where images are decoded once: leave out one of the two"
        )
    if "variant" in config.options:
        raise UserError(
            f"the variant is part of the recipe: pass --recipe {config.options['variant']}, not --option variant"
        )
    for name in ("devices", "checkpoint_every"):
        if getattr(config, name) < 1:
            raise UserError(f"{name} is {getattr(config, name)}: it must be at least 1")
    for name in ("seed", "workers", "keep_every", "picture_every", "watch_every", "probe_every"):
        if not 0 <= (getattr(config, name) or 0) <= MOST_COUNTED:
            raise UserError(f"{name} is {getattr(config, name)}: it must be at least 0 and at most {MOST_COUNTED}")
    if config.limit is not None and config.limit < 1:
        raise UserError(f"limit is {config.limit}: it must be at least 1")
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
            f"{method.name} has, as it is set, nothing that gradient checkpointing could spare: leave it out"
        )


def check_compared(config: PretrainConfig, recipe: PretrainingRecipe, blueprint: Blueprint) -> None:
    """A loss that compares units has two of them at least. Raises UserError."""
    devices = config.devices if blueprint.compared == "process" else 1
    if blueprint.compared != "nothing" and recipe.batch_size // devices < 2:
        raise UserError(
            f"{config.method} compares the units of a batch{' of each device' if devices > 1 else ''} with each other, "
            f"and there is one: pass a batch size of {2 * devices} or more (--batch-size)"
        )


def chosen_decode_size(config: PretrainConfig, blueprint: Blueprint) -> int:
    """The side at which images are decoded: the method's, or the user's instead. UserError where it makes no sense."""
    size, given = blueprint.preprocess.size, config.decode_size
    if given is None:
        return blueprint.decode_size or size
    if given < size:
        raise UserError(f"decode_size is {given}, but {size} pixels are trained on: give {size} at least")
    if given > MOST_DECODED * size:
        raise UserError(
            f"decode_size is {given}, more than {MOST_DECODED} times the {size} pixels that are trained on: give "
            f"{MOST_DECODED * size} at most"
        )
    if given > size and blueprint.decode_size is None:
        raise UserError(
            f"{config.method} cuts no crops as it is set, and would resize images of {given} pixels to {size} again: "
            "leave out decode_size (--decode-size)"
        )
    return given


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
    if units < 2:
        raise UserError(f"the data have {units or 'no'} training unit: give more images, two at least")
    if units < recipe.batch_size:
        raise UserError(f"{units} training units are fewer than one batch of {recipe.batch_size}: lower the batch size")
    batches_per_epoch = units // recipe.batch_size
    steps = recipe.epochs * batches_per_epoch // recipe.accumulate
    if steps == 0:
        raise UserError(f"{recipe.epochs} epochs give no step of {recipe.accumulate} batches: raise the epochs")
    return TrainingPlan(
        batch_size=recipe.batch_size,
        accumulate=recipe.accumulate,
        seed=config.seed,
        loaders=config.workers if config.decode == "always" else 0,
        precision=chosen_precision(recipe.precision),
        batches_per_epoch=batches_per_epoch,
        steps=steps,
        out=out,
    )


def chosen_precision(wanted: Precision) -> Literal["32", "bf16"]:
    """``auto`` is bf16 where the GPU or the CPU multiplies it natively, else 32."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "32"
