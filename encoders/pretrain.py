"""The one way to pretrain an encoder: training images in, ``encoder.safetensors`` out."""

import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.multiprocessing.spawn import ProcessRaisedException
from transformers import PreTrainedModel

from cxrbench.atomic import atomic_path, disk_error
from cxrbench.checkpoints import read_checkpoint
from cxrbench.data.manifest import Manifest
from cxrbench.encoders.checkpoint import KEPT, KEY, write_encoder
from cxrbench.encoders.corpus import Corpus, Films
from cxrbench.encoders.flops import step_cost
from cxrbench.encoders.method import Blueprint, Method, Objective, Recipe
from cxrbench.encoders.model_card import card_text, run_facts
from cxrbench.encoders.pictures import Pictures
from cxrbench.encoders.prepared import Decoding, Prepared, as_gray, prepare_images, training_rows
from cxrbench.encoders.progress import Progress
from cxrbench.encoders.trainer import Checkpoints, Pretraining, as_batch, fit
from cxrbench.errors import UserError
from cxrbench.registry import load_plugin

METHODS = "cxrbench.methods"
FREE = ("devices", "workers", "decode", "half", "checkpoint_every", "keep_every", "picture_every", "accelerator",
        "gradient_checkpointing")  # fmt: skip
"""Settings that may change when a run is resumed: they do not change what is learnt."""


COUNTED = 8
"""Units of which the cost is the mean."""


@dataclass(frozen=True)
class PretrainConfig:
    """What to train and how. What is None is the method's own.

    ``batch_size``: units (films, studies) that are compared with each other, over all processes. ``accumulate``:
    batches per optimiser step (more negatives do not come of it). ``lr``: peak learning rate. ``warmup``: share of the
    steps. ``clip``: the largest gradient norm. ``options``: the method's own, by name. ``decode``: ``once``, into one
    file of images at the size that is trained on, or ``always``, by ``workers`` processes while training.
    ``gradient_checkpointing``: less memory, more time. ``limit``: number of images, to try things. ``half``: write
    float16. ``last.ckpt`` is replaced every ``checkpoint_every`` optimiser steps; every ``keep_every`` epochs one is
    kept, every ``picture_every`` epochs a picture of training is drawn (0: none).
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
    accelerator: str = "auto"
    devices: int = 1
    workers: int = 0
    decode: Literal["once", "always"] = "once"
    gradient_checkpointing: bool = False
    limit: int | None = None
    half: bool = False
    checkpoint_every: int = 100
    keep_every: int = 0
    picture_every: int = 0
    on_bad_image: Literal["error", "skip"] = "error"


def pretrain(
    config: PretrainConfig,
    manifests: Sequence[Manifest],
    out: Path,
    *,
    cache: Path | None = None,
    resume: bool = False,
    command: str = "",
    excluded: Mapping[str, frozenset[str]] | None = None,
) -> Path:
    """Pretrain on the training images of ``manifests`` and return the path of ``out/encoder.safetensors``.

    ``out`` also gets ``last.ckpt``, ``encoder.md`` (the model card), ``log.csv``, ``tensorboard/`` and ``pictures/``;
    ``cache`` (default ``out/images``) the prepared images. ``resume`` goes on from ``last.ckpt`` if there is one: on a
    CPU the result is the same to the bit as that of an unbroken run. ``excluded``: patients to leave out, by dataset.
    ``command`` is recorded. Facts of the run go to stderr. Raises UserError.
    """
    blueprint = read_method(config).configure(config.arch, config.options)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, out) from error
    corpus, films = make_corpus(config, blueprint, manifests, cache or out / "images", excluded)
    recipe = chosen_recipe(config, blueprint.recipe)
    plan = make_plan(config, recipe, len(corpus), out)
    objective = build_objective(config, blueprint, corpus)
    units = np.unique(np.linspace(0, len(corpus) - 1, COUNTED).astype(np.int64))  # all over: studies differ in films
    some = corpus.batch(units, [np.random.default_rng(int(unit)) for unit in units])
    cost = step_cost(objective, as_batch(some, objective.preprocess))
    settings = asdict(config) | asdict(recipe) | {"precision": plan["precision"], "options": dict(config.options)}
    facts = run_facts(config.method, objective, blueprint.options, settings, manifests, films, corpus.facts, cost)
    facts |= {"command": command, "excluded_patients": {name: len(ids) for name, ids in (excluded or {}).items()}}
    start = resume_point(out / "last.ckpt", facts, resume) * config.accumulate
    module = Pretraining(objective, corpus, recipe, plan, facts, start)
    counts = [f"{name} {count:,}" for name, count in facts["images"].items()]
    counts += [f"{len(films.prepared.dropped)} unreadable left out"] if films.prepared.dropped else []
    say(
        f"{config.method} {config.arch}: {len(films):,} images ({', '.join(counts)}), {plan['steps']} steps, "
        f"{plan['precision']}, {cost.forward:.3g} GFLOPs per unit forward, {cost.training:.3g} in training"
        f"{f'; resumed at step {start // config.accumulate}' if start else ''}"
    )
    with atomic_path(out / "encoder.md") as temporary:
        temporary.write_text(card_text(facts))
    if start < plan["steps"] * config.accumulate:
        train(module, config)
    write_encoder(out / "encoder.safetensors", read_checkpoint(out / "last.ckpt")[KEPT], facts, half=config.half)
    say(f"wrote {out / 'encoder.safetensors'}: use it as {config.method}@{out / 'encoder.safetensors'}")
    return out / "encoder.safetensors"


def read_method(config: PretrainConfig) -> Method:
    """The method by name. Raises UserError."""
    method = load_plugin(METHODS, config.method, "method")
    if not isinstance(method, Method):
        raise UserError(
            f"method plugin {config.method} is a {type(method).__name__}, not a cxrbench.encoders.method.Method"
        )
    return method


def make_corpus(
    config: PretrainConfig,
    blueprint: Blueprint,
    manifests: Sequence[Manifest],
    cache: Path,
    excluded: Mapping[str, frozenset[str]] | None,
) -> tuple[Corpus, Films]:
    """The training images, decoded once or to be decoded, and the units that the method makes of them."""
    if config.decode not in ("once", "always") or (config.decode == "always" and config.on_bad_image == "skip"):
        raise UserError("decode is once or always; unreadable images can be left out only where they are decoded once")
    rows = training_rows(manifests, excluded=excluded, eligible=blueprint.eligible, limit=config.limit)
    prepared: Prepared
    if config.decode == "once":
        prepared = prepare_images(
            rows, blueprint.preprocess, cache, workers=config.workers, on_bad_image=config.on_bad_image
        )
        rows = rows.loc[~rows["path"].isin(list(prepared.dropped))].reset_index(drop=True)
    else:
        prepared = Decoding(tuple(Path(path) for path in rows["path"]), as_gray(blueprint.preprocess))
    films = Films(prepared, rows.drop(columns=["path", "bytes"]), {m.name: m for m in manifests})
    return blueprint.corpus(films), films


def build_objective(config: PretrainConfig, blueprint: Blueprint, corpus: Corpus) -> Objective:
    """The objective, with weights that follow from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        objective = blueprint.objective(corpus)
    if config.gradient_checkpointing:
        berts = [part for part in objective.modules() if isinstance(part, PreTrainedModel)]
        theirs = {part for bert in berts for part in bert.modules()}
        for bert in berts:  # has parts of its own with that attribute, and transformers 5 a new name for it
            enable = getattr(bert, "activation_checkpointing_enable", bert.gradient_checkpointing_enable)
            enable({"use_reentrant": False})
        trunks: list[Any] = [
            part for part in objective.modules() if hasattr(part, "gradient_checkpointing") and part not in theirs
        ]
        for trunk in trunks:
            trunk.gradient_checkpointing = True
        if not trunks and not berts:
            raise UserError(f"{config.method} {config.arch} has nothing that gradient checkpointing could spare")
    return objective


def chosen_recipe(config: PretrainConfig, recipe: Recipe) -> Recipe:
    """The method's recipe with what the user said instead. Raises UserError for impossible values."""
    named = {f.name for f in fields(Recipe)} & {f.name for f in fields(config)}
    given = {name: getattr(config, name) for name in named}
    recipe = replace(recipe, **{name: value for name, value in given.items() if value is not None})
    for name in ("epochs", "batch_size"):
        if getattr(recipe, name) < 1:
            raise UserError(f"{name} is {getattr(recipe, name)}: it must be at least 1")
    if recipe.lr <= 0 or recipe.weight_decay < 0 or not 0 <= recipe.warmup < 1 or recipe.clip <= 0:
        raise UserError("pretraining needs lr > 0, weight_decay >= 0, 0 <= warmup < 1 and clip > 0")
    if given["weight_decay"] is not None:
        recipe = replace(recipe, final_weight_decay=None)
    return recipe


def make_plan(config: PretrainConfig, recipe: Recipe, units: int, out: Path) -> dict[str, Any]:
    """The settings of the loop, with everything derived that it needs. Raises UserError for impossible ones."""
    for name in ("accumulate", "devices", "checkpoint_every"):
        if getattr(config, name) < 1:
            raise UserError(f"{name} is {getattr(config, name)}: it must be at least 1")
    if recipe.batch_size % config.devices:
        raise UserError(
            f"batch size {recipe.batch_size} cannot be shared by {config.devices} devices: choose a multiple"
        )
    if units < max(2, recipe.batch_size):
        raise UserError(f"{units} training units are fewer than one batch of {recipe.batch_size}: lower the batch size")
    batches_per_epoch = units // recipe.batch_size
    steps = recipe.epochs * batches_per_epoch // config.accumulate
    if steps == 0:
        raise UserError(f"{recipe.epochs} epochs give no step of {config.accumulate} batches: raise the epochs")
    return {
        "batch_size": recipe.batch_size,
        "accumulate": config.accumulate,
        "seed": config.seed,
        "loaders": config.workers if config.decode == "always" else 0,
        "precision": chosen_precision(config.precision),
        "batches_per_epoch": batches_per_epoch,
        "steps": steps,
        "out": str(out),
    }


def chosen_precision(wanted: str) -> str:
    """``auto`` is bf16 where the GPU or the CPU multiplies it natively, else 32. Raises UserError."""
    if wanted not in ("auto", "32", "bf16"):
        raise UserError(f"unknown precision {wanted!r}: choose auto, 32 or bf16")
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "32"


def resume_point(last: Path, facts: Mapping[str, Any], resume: bool) -> int:
    """The optimiser step to go on from: that of ``last.ckpt``, or 0. UserError if that run was another one."""
    if not last.exists():
        return 0
    if not resume:
        raise UserError(f"{last.parent} already holds a run: pass --resume to go on with it, or another --out")
    checkpoint = read_checkpoint(last)
    if KEY not in checkpoint:
        raise UserError(f"{last} was not written by cxrbench pretrain: choose another --out")
    before, now = json.loads(checkpoint[KEY]), json.loads(json.dumps(facts))
    pairs = [(name, before["config"].get(name), value) for name, value in now["config"].items() if name not in FREE]
    pairs += [(name, before.get(name), now[name]) for name in ("options", "images", "image_set", "corpus")]
    changed = [f"{name} was {old}, is {new}" for name, old, new in pairs if old != new]
    if changed:
        raise UserError(f"{last} is of another run ({'; '.join(changed)}): use the same settings, or another --out")
    return int(checkpoint["global_step"])


def train(module: Pretraining, config: PretrainConfig) -> None:
    """Run the loop; whatever a user can mend comes out as UserError, from other processes too.

    Lightning ends Ctrl-C with exit code 1 and SIGTERM with 0; here they are 130 and 143, and say how to go on.
    """
    out = Path(module.plan["out"])
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    callbacks = [Progress(out), Checkpoints(out, config.checkpoint_every, config.keep_every)]
    try:
        fit(
            module,
            [*callbacks, Pictures(out / "pictures", config.picture_every)],
            precision=module.plan["precision"],
            accelerator=config.accelerator,
            devices=config.devices,
        )
    except SystemExit as stopped:
        say(f"stopped; {module.saved()}: run the same command with --resume to go on")
        raise SystemExit(143 if isinstance(stopped, SIGTERMException) else 130) from stopped
    except RuntimeError as error:
        if not re.match(r"DataLoader worker .*(killed|exited)", str(error)):
            raise
        raise UserError(
            f"a process that decodes images died ({str(error).strip()}); {module.saved()}: go on with "
            "--resume, with fewer --workers if memory ran out"
        ) from error
    except ProcessRaisedException as error:
        told = re.search(r"UserError: (.*)", str(error))
        if told is None:
            raise
        raise UserError(told[1]) from error


def say(text: str) -> None:
    """One line for the person who waits."""
    print(text, file=sys.stderr)
