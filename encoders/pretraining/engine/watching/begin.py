"""Who watches a run: from its settings and data to callbacks."""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.pretraining.engine.flops import StepCost
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig, TrainingPlan
from cxrbench.encoders.pretraining.engine.trainer import Pretraining, as_batch
from cxrbench.encoders.pretraining.engine.watching.evaluating import embed, embedding_gflops
from cxrbench.encoders.pretraining.engine.watching.held_out import watched_images
from cxrbench.encoders.pretraining.engine.watching.watcher import PAIRED, WATCHED, Watcher
from cxrbench.encoders.pretraining.method import Blueprint

SHARE = 0.02
"""Of the operations of training, spent on watching."""
ROUND = 10
"""Steps: a run is watched every so many or a multiple of them."""


def watchers(
    config: PretrainConfig,
    blueprint: Blueprint,
    module: Pretraining,
    manifests: Sequence[Manifest],
    cache: Path,
    excluded: Mapping[str, frozenset[str]] | None,
    cost: StepCost,
) -> list[lightning.Callback]:
    """The callbacks that watch, and a line on stderr about what they watch. ``cost``: of a unit's training."""
    if config.watch_every == 0:
        return []
    found = watched_images(
        manifests,
        blueprint.preprocess,
        cache,
        most=WATCHED,
        excluded=excluded,
        eligible=blueprint.eligible,
        workers=config.workers,
        keep=config.decode == "once",
    )
    some = as_batch({"images": found.first(2)}, module.objective.preprocess).images
    if not embed(module.objective, some):
        say(f"nothing is watched: {config.method} does not say where images are embedded (Objective.watched)")
        return []
    gflops = embedding_gflops(module.objective, some)
    every = config.watch_every or interval(gflops * (len(found) + min(PAIRED, len(found))), cost, module.plan)
    say(f"watching {found} every {every} steps (--watch-every)")
    return [Watcher(found.first(WATCHED), str(found), every)]


def interval(gflops: float, cost: StepCost, plan: TrainingPlan) -> int:
    """Steps between two looks of ``gflops`` each that take no more than ``SHARE`` of all operations; round numbers."""
    allowed = SHARE * cost.training * plan.batch_size * plan.accumulate
    return ROUND * math.ceil(gflops / allowed / ROUND) if allowed else ROUND


def say(text: str) -> None:
    """One line for the person who waits."""
    print(text, file=sys.stderr)
