"""The one way to pretrain an encoder: training images in, ``encoder.safetensors`` out."""

import importlib.metadata
import json
import logging
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch.multiprocessing.spawn import ProcessRaisedException

from cxrbench.atomic import disk_error
from cxrbench.checkpoints import read_checkpoint
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard
from cxrbench.encoders.checkpoint import KEY, trunk_facts, write_trunk
from cxrbench.encoders.flops import StepCost, step_cost
from cxrbench.encoders.method import Method, Objective
from cxrbench.encoders.prepared import Prepared, prepare_images
from cxrbench.encoders.progress import Progress
from cxrbench.encoders.trainer import Checkpoints, Pretraining, fit
from cxrbench.encoders.vit import parse_arch
from cxrbench.errors import UserError
from cxrbench.registry import load_plugin

METHODS = "cxrbench.methods"
FREE = ("devices", "workers", "half", "checkpoint_every", "keep_every", "accelerator")
"""Settings that may change when a run is resumed: they do not change what is learnt."""


@dataclass(frozen=True)
class PretrainConfig:
    """What to train and how.

    ``batch_size``: images that are compared with each other, over all processes. ``accumulate``: batches per optimiser
    step (more negatives do not come of it). ``lr``: peak learning rate. ``warmup``: share of the steps. ``clip``: the
    largest gradient norm. ``options``: the method's own, by name. ``workers``: processes that prepare images.
    ``limit``: number of images, to try things. ``half``: write float16. ``last.ckpt`` is replaced every
    ``checkpoint_every`` optimiser steps; every ``keep_every`` epochs one is kept (0: none).
    """

    method: str = "spcl"
    arch: str = "small"
    epochs: int = 200
    batch_size: int = 256
    lr: float = 5e-4
    weight_decay: float = 0.05
    warmup: float = 0.05
    clip: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    precision: Literal["auto", "32", "bf16"] = "auto"
    accumulate: int = 1
    seed: int = 0
    accelerator: str = "auto"
    devices: int = 1
    workers: int = 0
    limit: int | None = None
    half: bool = False
    checkpoint_every: int = 100
    keep_every: int = 0
    on_bad_image: Literal["error", "skip"] = "error"


def pretrain(
    config: PretrainConfig,
    manifests: Sequence[Manifest],
    out: Path,
    *,
    cache: Path | None = None,
    resume: bool = False,
    command: str = "",
) -> Path:
    """Pretrain on the training images of ``manifests`` and return the path of ``out/encoder.safetensors``.

    ``out`` also gets ``last.ckpt`` and ``log.csv``; ``cache`` (default ``out/images``) the prepared images. ``resume``
    goes on from ``last.ckpt`` if there is one: on a CPU the result is the same to the bit as that of an unbroken run.
    ``command`` is recorded. Facts of the run go to stderr. Raises UserError.
    """
    method, objective = build_objective(config)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, out) from error
    prepared = prepare_images(
        manifests,
        objective.preprocess,
        cache or out / "images",
        workers=config.workers,
        limit=config.limit,
        on_bad_image=config.on_bad_image,
    )
    plan = make_plan(config, prepared, out)
    cost = step_cost(objective)
    facts = run_facts(config, method, objective, manifests, prepared, cost) | {"command": command}
    start = resume_point(out / "last.ckpt", facts, resume) * config.accumulate
    module = Pretraining(objective, prepared, plan, facts, start)
    counts = [f"{name} {count}" for name, count in prepared.counts.items()]
    counts += [f"{len(prepared.dropped)} unreadable left out"] if prepared.dropped else []
    say(
        f"{config.method} {config.arch}: {len(prepared)} images ({', '.join(counts)}), {plan['steps']} steps, "
        f"{plan['precision']}, {cost.forward:.3g} GFLOPs per image forward, {cost.training:.3g} in training"
        f"{f'; resumed at step {start // config.accumulate}' if start else ''}"
    )
    if start < plan["steps"] * config.accumulate:
        train(module, config)
    state = read_checkpoint(out / "last.ckpt")["state_dict"]
    objective.load_state_dict({name.removeprefix("objective."): tensor for name, tensor in state.items()})  # type: ignore[attr-defined]
    write_trunk(out / "encoder.safetensors", objective.trunk, facts, half=config.half)
    say(f"wrote {out / 'encoder.safetensors'}: use it as {config.method}@{out / 'encoder.safetensors'}")
    return out / "encoder.safetensors"


def build_objective(config: PretrainConfig) -> tuple[Method, Objective]:
    """The method by name, and its objective with weights that follow from the seed. Raises UserError."""
    method = load_plugin(METHODS, config.method, "method")
    if not isinstance(method, Method):
        raise UserError(
            f"method plugin {config.method} is a {type(method).__name__}, not a cxrbench.encoders.method.Method"
        )
    arch = parse_arch(config.arch, channels=method.channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return method, method.build(arch, config.options)


def make_plan(config: PretrainConfig, prepared: Prepared, out: Path) -> dict[str, Any]:
    """The settings of the loop, with everything derived that it needs. Raises UserError for impossible ones."""
    whole = {"epochs": config.epochs, "batch size": config.batch_size, "accumulate": config.accumulate}
    whole |= {"devices": config.devices, "checkpoint_every": config.checkpoint_every}
    for name, value in whole.items():
        if value < 1:
            raise UserError(f"{name} is {value}: it must be at least 1")
    if config.lr <= 0 or config.weight_decay < 0 or not 0 <= config.warmup < 1 or config.clip <= 0:
        raise UserError("pretraining needs lr > 0, weight_decay >= 0, 0 <= warmup < 1 and clip > 0")
    if config.batch_size % config.devices:
        raise UserError(
            f"batch size {config.batch_size} cannot be shared by {config.devices} devices: choose a multiple"
        )
    if len(prepared) < config.batch_size:
        raise UserError(
            f"{len(prepared)} training images are fewer than one batch of {config.batch_size}: lower the batch size"
        )
    batches_per_epoch = len(prepared) // config.batch_size
    steps = config.epochs * batches_per_epoch // config.accumulate
    if steps == 0:
        raise UserError(f"{config.epochs} epochs give no step of {config.accumulate} batches: raise the epochs")
    names = ("batch_size", "lr", "weight_decay", "warmup", "clip", "accumulate", "seed")
    return {name: getattr(config, name) for name in names} | {
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


def run_facts(
    config: PretrainConfig,
    method: Method,
    objective: Objective,
    manifests: Sequence[Manifest],
    prepared: Prepared,
    cost: StepCost,
) -> dict[str, Any]:
    """Everything that the result must say of itself. Phantom images are not the datasets whose layouts they imitate."""
    names = {f"phantom:{m.name}" if m.synthetic else name for m in manifests for name in (m.name, *m.lineage)}
    synthetic = any(m.synthetic for m in manifests)
    licence = "Apache-2.0" if all(m.synthetic for m in manifests) else "unknown"
    card = EncoderCard(method.name, licence, tuple(sorted(names)), synthetic)
    settings = asdict(config) | {"precision": chosen_precision(config.precision), "options": dict(config.options)}
    return trunk_facts(method.name, objective.trunk.config, objective.preprocess, card) | {
        "config": settings,
        "options": asdict(objective.options) if hasattr(objective, "options") else {},  # type: ignore[attr-defined]
        "images": prepared.counts,
        "unreadable": len(prepared.dropped),
        "image_file": prepared.path.name,
        "gflops_per_image": cost._asdict(),
        "cxrbench": cxrbench_version(),
        "torch": torch.__version__,
    }


def cxrbench_version() -> str:
    """The git commit of the checkout that this code runs from, or the installed version."""
    root = Path(__file__).resolve().parents[1]
    if (root / ".git").exists():  # if it is further up, it is the user's own repository
        git = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        with suppress(OSError, subprocess.CalledProcessError):
            return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    return importlib.metadata.version("cxrbench")


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
    pairs += [(name, before.get(name), now[name]) for name in ("options", "images", "image_file")]
    changed = [f"{name} was {old}, is {new}" for name, old, new in pairs if old != new]
    if changed:
        raise UserError(f"{last} is of another run ({'; '.join(changed)}): use the same settings, or another --out")
    return int(checkpoint["global_step"])


def train(module: Pretraining, config: PretrainConfig) -> None:
    """Run the loop; whatever a user can mend comes out as UserError, from other processes too."""
    out = Path(module.plan["out"])
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    callbacks = [Progress(out / "log.csv"), Checkpoints(out, config.checkpoint_every, config.keep_every)]
    try:
        fit(
            module,
            callbacks,
            precision=module.plan["precision"],
            accelerator=config.accelerator,
            devices=config.devices,
        )
    except ProcessRaisedException as error:
        told = re.search(r"UserError: (.*)", str(error))
        if told is None:
            raise
        raise UserError(told[1]) from error


def say(text: str) -> None:
    """One line for the person who waits."""
    print(text, file=sys.stderr)
