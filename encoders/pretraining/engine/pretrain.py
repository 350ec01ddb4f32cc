"""The one way to pretrain an encoder: training images in, ``encoder.safetensors`` out."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.backbones.checkpoint import KEPT, KEY, write_encoder
from cxrbench.encoders.pretraining.corpus import Corpus, TrainingImages, whole
from cxrbench.encoders.pretraining.engine.beginning import begin, check_init, fitted, initial_weights
from cxrbench.encoders.pretraining.engine.fitting import say, train
from cxrbench.encoders.pretraining.engine.flops import step_cost
from cxrbench.encoders.pretraining.engine.model_card import card_text, run_facts, with_training
from cxrbench.encoders.pretraining.engine.plan import (
    PretrainConfig,
    check_compared,
    check_is_read,
    check_names,
    check_settings,
    chosen_decode_size,
    chosen_recipe,
    make_plan,
    note_on_processes,
    notes_on,
    read_method,
)
from cxrbench.encoders.pretraining.engine.prepared import Decoding, Prepared, as_gray, prepare_images, training_rows
from cxrbench.encoders.pretraining.engine.run_lock import Ours, only_run
from cxrbench.encoders.pretraining.engine.trainer import Pretraining, as_batch
from cxrbench.encoders.pretraining.engine.watching.begin import Watched, watchers
from cxrbench.encoders.pretraining.initial import InitialWeights
from cxrbench.encoders.pretraining.method import Blueprint, Objective
from cxrbench.encoders.pretraining.recipe import PretrainingRecipe
from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path, writing
from cxrbench.files.checkpoints import read_checkpoint
from cxrbench.files.records import parsed
from cxrbench.files.seal import check, damage

FREE = ("devices", "workers", "decode", "half", "checkpoint_every", "keep_every", "picture_every", "watch_every",
        "probe_every", "accelerator", "gradient_checkpointing", "init")  # fmt: skip
"""Settings that may change when a run is resumed: they do not change what is learnt, or (``init``) are compared by what
they gave."""
COMPARED = ("options", "images", "image_set", "corpus", "began_from")
"""What else must be the same."""
DIGITS = 12
"""Of a hash that a message shows."""
COUNTED = 8
"""Units of which the cost is the mean."""


def pretrain(
    config: PretrainConfig,
    manifests: Sequence[Manifest],
    out: Path,
    *,
    cache: Path | None = None,
    resume: bool = False,
    command: str = "",
    excluded: Mapping[str, frozenset[str]] | None = None,
    chosen: Sequence[str] = (),
    log: str | None = None,
) -> Path:
    """Pretrain on the training images of ``manifests`` and return the path of ``out/encoder.safetensors``.

    ``out`` also gets ``last.ckpt``, ``encoder.md`` (the model card), ``log.csv``, ``tensorboard/`` and ``pictures/``;
    ``cache`` (default ``out/images``) the prepared images. ``resume`` goes on from ``last.ckpt`` if there is one: on a
    CPU the result is the same to the bit as that of an unbroken run. ``excluded``: patients to leave out, by dataset.
    ``chosen``: what the model card is to say of how images were chosen.
    ``command`` is recorded. ``log``: an experiment logger that gets the numbers, too. Facts of the run go to stderr.
    Raises UserError.
    """
    blueprint, recipe = checked(config)
    check_names(manifests)
    for line in (*notes_on(config, recipe), *note_on_processes(config, recipe, blueprint)):
        say(line)
    initial = initial_weights(config, recipe.arch, blueprint, manifests, say)
    if initial is not None:
        blueprint = fitted(blueprint, initial)
    blueprint.needed(manifests)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=out).close()  # better now than after hours of decoding
    with only_run(out, config.devices) as ours:
        images = cache or out / "images"
        return run(
            config, blueprint, recipe, initial, manifests, out, images, resume, command, excluded, chosen, log, ours
        )


def run(
    config: PretrainConfig,
    blueprint: Blueprint,
    recipe: PretrainingRecipe,
    initial: InitialWeights | None,
    manifests: Sequence[Manifest],
    out: Path,
    cache: Path,
    resume: bool,
    command: str,
    excluded: Mapping[str, frozenset[str]] | None,
    chosen: Sequence[str],
    log: str | None,
    ours: list[Ours],
) -> Path:
    """``pretrain`` where the settings are read and ``out`` is ours."""
    if (out / "last.ckpt").exists() and not resume:
        raise UserError(f"{out} already holds a run: pass --resume to go on with it, or another --out")
    if not (out / "last.ckpt").exists():
        kept, encoder = sorted(path.name for path in out.glob("epoch-*.ckpt")), out / "encoder.safetensors"
        if kept or encoder.exists():
            how = f"copy {kept[-1]} to last.ckpt and pass --resume" if kept else "move it away"
            raise UserError(
                f"{out} holds {kept[-1] if kept else encoder.name} of a run, but no last.ckpt: {how}, or choose "
                "another --out"
            )
        if resume:
            say(f"{out} holds nothing to go on from: this begins anew")
    corpus, images = make_corpus(config, blueprint, manifests, cache, excluded)
    plan = make_plan(config, recipe, len(corpus), out)
    objective = build_objective(config, blueprint, corpus)
    began_from = begin(objective, blueprint, initial, say)
    units = np.unique(np.linspace(0, len(corpus) - 1, COUNTED).astype(np.int64))  # all over: studies differ in images
    some = corpus.batch(units, [np.random.default_rng(int(unit)) for unit in units])
    cost = step_cost(objective, as_batch(whole(some, objective.preprocess), objective.preprocess))
    settings = asdict(config) | recipe.numbers() | {"precision": plan.precision, "options": dict(config.options)}
    settings |= {"decode_size": images.prepared.size}
    facts = run_facts(config.method, objective, blueprint.options, settings, manifests, images, corpus.facts, cost)
    left_out = None if excluded is None else {name: len(ids) for name, ids in excluded.items()}
    facts |= {"command": command, "excluded_patients": left_out, "began_from": began_from}
    facts |= {"chosen_images": list(chosen)} if chosen else {}
    step, record = resume_point(out / "last.ckpt", facts)
    start = step * plan.accumulate
    module = Pretraining(objective, corpus, recipe, plan, facts, start, record)
    counts = [f"{name} {count:,}" for name, count in facts["images"].items()]
    counts += [f"{len(images.prepared.dropped)} unreadable left out"] if images.prepared.dropped else []
    say(
        f"{config.method} {recipe.arch}: {len(images):,} images ({', '.join(counts)}), {plan.steps} steps, "
        f"{plan.precision}, {cost.forward:.3g} GFLOPs per unit forward, {cost.training:.3g} in training"
        f"{f'; resumed at step {step}' if start else ''}"
    )
    if facts["card"]["synthetic"]:
        say("SYNTHETIC DATA: what is learnt from phantom images is fit for phantom images, and for nothing else.")
    with atomic_path(out / "encoder.md") as temporary:
        temporary.write_text(card_text(facts))
    if start < plan.batches:
        watched = Watched(config, blueprint, manifests, cache, excluded or {})
        train(module, config, [*ours, *watchers(watched, module, cost)], log)
    for one in ours:
        one.check()
    last = read_checkpoint(out / "last.ckpt")
    facts = with_training(facts, parsed(last[KEY], out / "last.ckpt").get("training", {}))
    with atomic_path(out / "encoder.md") as temporary:
        temporary.write_text(card_text(facts))
    write_encoder(out / "encoder.safetensors", last[KEPT], facts, half=config.half)
    say(f"wrote {out / 'encoder.safetensors'}: use it as {config.method}@{out / 'encoder.safetensors'}")
    return out / "encoder.safetensors"


def checked(config: PretrainConfig) -> tuple[Blueprint, PretrainingRecipe]:
    """What the settings make of the method. Raises UserError for what is wrong with them whatever the data are."""
    method = read_method(config)
    recipe = chosen_recipe(config, method)
    check_settings(config, recipe)
    blueprint = method.configure(recipe.arch, {**config.options, "variant": config.recipe})
    check_is_read(config, method, blueprint)
    check_compared(config, recipe, blueprint)
    chosen_decode_size(config, blueprint)
    check_init(config, blueprint)
    return blueprint, recipe


def make_corpus(
    config: PretrainConfig,
    blueprint: Blueprint,
    manifests: Sequence[Manifest],
    cache: Path,
    excluded: Mapping[str, frozenset[str]] | None,
) -> tuple[Corpus, TrainingImages]:
    """The training images, decoded once or to be decoded, and the units that the method makes of them."""
    rows = training_rows(
        manifests, excluded=excluded, eligible=blueprint.eligible, wants=blueprint.wants, limit=config.limit
    )
    prepared: Prepared
    preprocess = replace(blueprint.preprocess, size=chosen_decode_size(config, blueprint))
    if config.decode == "once":
        prepared = prepare_images(rows, preprocess, cache, workers=config.workers, on_bad_image=config.on_bad_image)
        rows = rows.loc[~rows["path"].isin(list(prepared.dropped))].reset_index(drop=True)
    else:
        prepared = Decoding(tuple(Path(path) for path in rows["path"]), as_gray(preprocess))
    images = TrainingImages(prepared, rows.drop(columns=["path", "bytes"]), {m.name: m for m in manifests})
    return blueprint.corpus(images), images


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
        backbones: list[Any] = [
            part for part in objective.modules() if hasattr(part, "gradient_checkpointing") and part not in theirs
        ]
        for backbone in backbones:
            backbone.gradient_checkpointing = True
        if not backbones and not berts:
            raise UserError(f"{config.method} has nothing that gradient checkpointing could spare")
    return objective


def resume_point(last: Path, facts: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """The optimizer step to go on from, and the record of training up to it: those of ``last.ckpt``, or 0 and nothing.

    UserError if it is damaged or of another run.
    """
    if not last.exists():
        return 0, {}
    check(last, advice_on_damage(last))
    checkpoint = read_checkpoint(last)
    if KEY not in checkpoint:
        raise UserError(f"{last} was not written by cxrbench pretrain: choose another --out")
    before, now = parsed(checkpoint[KEY], last), json.loads(json.dumps(facts))
    pairs = [(name, before["config"].get(name), value) for name, value in now["config"].items()]
    pairs = [pair for pair in pairs if pair[0] not in (*FREE, *COMPARED)]
    pairs += [pair for name in COMPARED for pair in by_part(name, before.get(name), now[name])]
    changed = [f"{name} was {brief(old)}, is {brief(new)}" for name, old, new in pairs if old != new]
    if changed:
        raise UserError(f"{last} is of another run ({'; '.join(changed)}): use the same settings, or another --out")
    return int(checkpoint["global_step"]), dict(before.get("training", {}))


def by_part(name: str, before: Any, now: Any) -> list[tuple[str, Any, Any]]:
    """Two values of a fact with its name; of two mappings each part by itself, so that a reader sees what differs."""
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return [(name, before, now)]
    return [(f"{name}.{part}", before.get(part), now.get(part)) for part in {**before, **now}]


def brief(value: Any) -> Any:
    """A value for a message: of a SHA-256 the first digits."""
    return value[:DIGITS] if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else value


def advice_on_damage(last: Path) -> str:
    """What to do where ``last.ckpt`` is damaged: the newest of the kept checkpoints that are whole, or anew."""
    for kept in sorted(last.parent.glob("epoch-*.ckpt"), reverse=True):
        if damage(kept) is None:
            return f"copy {kept.name}, which is whole, over it and pass --resume again"
    return "no other checkpoint was kept (--keep-every): delete it to begin anew"
