"""Doing a recipe: what is finished is left alone, what was begun goes on, and what it cost is written down."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from cxrbench import api
from cxrbench.encoders.backbones.checkpoint import read_encoder
from cxrbench.errors import UserError
from evidence.recipes import DRAWINGS, PHANTOM_SEED, SHIPPED, Recipe

CACHE = Path("cache")
COST = "cost.json"


def facts_of(weights: Path, method: str) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return dict(read_encoder(weights, method).facts)


def state(recipe: Recipe, seed: int, scratch: Path) -> str:
    """``finished``, ``of another recipe``, ``begun`` or ``missing``."""
    weights = scratch / recipe.weights(seed)
    if weights.exists():
        return "finished" if is_of(recipe, seed, facts_of(weights, recipe.method)) else "of another recipe"
    return "begun" if weights.with_name("last.ckpt").exists() else "missing"


def is_of(recipe: Recipe, seed: int, facts: Mapping[str, Any]) -> bool:
    """Whether a checkpoint that says this of itself was made by this recipe."""
    config = facts["config"]
    wanted = {**recipe.all_settings(), "options": dict(recipe.options), "seed": seed}
    return all(config.get(name) == value for name, value in wanted.items())


def finished(recipe: Recipe, seed: int, scratch: Path) -> Path:
    """The weights of a run that is. Raises UserError for any other."""
    if (found := state(recipe, seed, scratch)) != "finished":
        raise UserError(f"{scratch / recipe.run(seed)} is {found}: train it first, with --only {recipe.method}:{seed}")
    return scratch / recipe.weights(seed)


def draw(folder: str) -> Path:
    """A phantom of seed 1 in the working folder; drawn now if it is not there."""
    api.write_phantom(Path(folder), seed=PHANTOM_SEED, images=DRAWINGS[folder])
    return Path(folder)


def train(recipe: Recipe, seed: int) -> Path:
    """The weights of a run in the working folder, on one thread, trained now unless they are there.

    Raises UserError for a run of another recipe.
    """
    torch.set_num_threads(1)
    found = state(recipe, seed, Path())
    if found == "of another recipe":
        raise UserError(f"{recipe.run(seed)} is of another recipe: move it away to train this one")
    if recipe.after and found != "finished":
        finished(SHIPPED[recipe.after], 0, Path())
    if found != "finished":
        folder = draw(recipe.folder) if recipe.folder else None
        with counted(Path(recipe.run(seed))):
            api.pretrain(
                recipe.method, recipe.data, out=Path(recipe.run(seed)), data_dir=folder, cache=CACHE, resume=True,
                command=recipe.command(seed), seed=seed, half=True, options=recipe.options, **recipe.all_settings(),
            )  # fmt: skip
    return Path(recipe.weights(seed))


@contextmanager
def counted(run: Path) -> Iterator[None]:
    """Add the seconds of what is done inside, by the clock and of the processor, to ``cost.json`` of a run."""
    wall, cpu = time.monotonic(), time.process_time()
    try:
        yield
    finally:
        if run.is_dir():
            before = cost(run)
            spent = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}
            (run / COST).write_text(json.dumps({name: before[name] + spent[name] for name in spent}))


def cost(run: Path) -> dict[str, float]:
    """Seconds that a run has taken so far, start and decoding included: ``wall`` and ``cpu``; 0: nobody counted."""
    path = run / COST
    return {"wall": 0.0, "cpu": 0.0} | (json.loads(path.read_text()) if path.exists() else {})


def steps(run: Path) -> int:
    """Optimizer steps that a run has taken."""
    return int((run / "log.csv").read_text().splitlines()[-1].split(",")[0])
