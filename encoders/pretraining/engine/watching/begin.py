"""Who watches a run: from its settings and data to callbacks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import pandas as pd

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.pretraining.engine.fitting import say
from cxrbench.encoders.pretraining.engine.flops import StepCost
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig, TrainingPlan
from cxrbench.encoders.pretraining.engine.prepared import training_rows
from cxrbench.encoders.pretraining.engine.trainer import Pretraining, as_batch
from cxrbench.encoders.pretraining.engine.watching.evaluating import embed, embedding_gflops
from cxrbench.encoders.pretraining.engine.watching.held_out import some_of, validation_rows, watched_images
from cxrbench.encoders.pretraining.engine.watching.probe import Labelled, Probe
from cxrbench.encoders.pretraining.engine.watching.watcher import EARLY, LOOKS, PAIRED, WATCHED, Watcher
from cxrbench.encoders.pretraining.labelled import labelled_images
from cxrbench.encoders.pretraining.method import Blueprint
from cxrbench.errors import UserError

SHARE = 0.02
"""Of the operations of training, spent on watching."""
FITTED, SCORED = 1000, 500
"""Images at most of a linear probe."""
ROUND = 10
"""Steps: a run is watched every so many or a multiple of them."""


@dataclass(frozen=True)
class Watched:
    """What is pretrained, and on which data: ``excluded``: patients to leave out, by dataset."""

    config: PretrainConfig
    blueprint: Blueprint
    manifests: Sequence[Manifest]
    cache: Path
    excluded: Mapping[str, frozenset[str]]


def watchers(run: Watched, module: Pretraining, cost: StepCost) -> list[lightning.Callback]:
    """The callbacks that watch, and a line on stderr about what they watch. ``cost``: of a unit's training."""
    return [*monitoring(run, module, cost), *probing(run)]


def probing(run: Watched) -> list[lightning.Callback]:
    """The linear probe, if one is wanted and the data have labels for it; else why not, on stderr."""
    config, eligible = run.config, run.blueprint.eligible
    if not config.probe_every:
        return []
    labelled = [manifest for manifest in run.manifests if manifest.labels]
    held_out = validation_rows(labelled, run.excluded, eligible) if labelled else pd.DataFrame()
    if held_out.empty:
        say("no probe: none of the datasets has labels of images of validation patients (--probe-every)")
        return []
    keep = config.decode == "once"
    try:
        fitted = training_rows(labelled, excluded=run.excluded, eligible=eligible, limit=config.limit)
        several = (fitted, FITTED, "the training images"), (held_out, SCORED, "the images of validation patients")
        both = []
        for rows, most, among in several:
            one = some_of(rows, labelled, run.blueprint.preprocess, run.cache, most, workers=config.workers, keep=keep)
            both.append(labelled_images(one, among))
    except UserError as error:
        say(f"no probe: {error} (--probe-every)")
        return []
    names = [label for label in both[0].labels if label in both[1].labels]
    if not names:
        say("no probe: no label is both present and absent in training and in validation images (--probe-every)")
        return []
    sets = [
        Labelled(one.images.images(np.arange(len(one))), one.targets[:, [one.labels.index(name) for name in names]])
        for one in both
    ]
    counts = f"{len(both[0]):,} training images on {len(both[1]):,} of validation patients"
    say(f"probing {len(names)} labels with {counts}, every {config.probe_every} steps")
    return [Probe(sets[0], sets[1], config.probe_every)]


def monitoring(run: Watched, module: Pretraining, cost: StepCost) -> list[lightning.Callback]:
    """The watcher of embeddings, unless nothing is to be watched."""
    config = run.config
    if config.watch_every == 0:
        return []
    found = watched_images(
        run.manifests,
        run.blueprint.preprocess,
        run.cache,
        most=WATCHED,
        excluded=run.excluded,
        eligible=run.blueprint.eligible,
        workers=config.workers,
        keep=config.decode == "once",
    )
    if not len(found):
        say(f"nothing is watched: none of {found.unreadable:,} images can be read")
        return []
    some = as_batch({"images": found.first(2)}, module.objective.preprocess).images
    if not embed(module.objective, some):
        say(f"nothing is watched: {config.method} does not say where images are embedded (Objective.watched)")
        return []
    gflops = embedding_gflops(module.objective, some)
    every = config.watch_every or interval(gflops * (len(found) + min(PAIRED, len(found))), cost, module.plan)
    early = EARLY if config.watch_every is None and LOOKS * every > EARLY[-1] else ()
    at_first = f", and after {', '.join(map(str, early))}" if early else ""
    say(f"watching {found} every {every} steps{at_first} (--watch-every)")
    return [Watcher(found.first(WATCHED), str(found), every, early)]


def interval(gflops: float, cost: StepCost, plan: TrainingPlan) -> int:
    """Steps between two looks of ``gflops`` each that take no more than ``SHARE`` of all operations; round numbers."""
    allowed = SHARE * cost.training * plan.batch_size * plan.accumulate
    return ROUND * math.ceil(gflops / allowed / ROUND) if allowed else ROUND
