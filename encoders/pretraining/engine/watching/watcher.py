"""Watching a run: figures of a fixed set of images' embeddings every so many steps, and a warning of a collapse."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from cxrbench.encoders.pretraining.augment import random_resized_crop
from cxrbench.encoders.pretraining.engine.trainer import Pretraining, as_batch
from cxrbench.encoders.pretraining.engine.watching.collapse import collapses
from cxrbench.encoders.pretraining.engine.watching.evaluating import embed
from cxrbench.encoders.pretraining.engine.watching.monitors import Monitors, monitors
from cxrbench.encoders.pretraining.method import Draw

WATCHED = 128
"""Images at most."""
PAIRED = 64
"""Of them, those of which a second view is embedded, too."""
LOOKS = 3
"""In a row, that show a collapse before it is said."""
EARLY = (50, 100, 150)
"""Steps at which a run is looked at however seldom it is else, so that it can be warned within its first 200."""
CROP_AREA, CROP_RATIO = (0.8, 1.0), (0.9, 1 / 0.9)


class Watcher(lightning.Callback):
    """``Monitors`` of every network of ``Objective.watched`` before the first step, every ``every`` steps, at the end.

    ``early``: further steps. images: uint8 [n, 1, size, size]; ``about``: what they are, for the record. The second
    view of an image is a light crop, the same every time. Only the first process watches. Training is what it is
    without: random numbers, modes and statistics are left alone. The figures go into ``Pretraining.watched`` and its
    record.
    """

    def __init__(self, images: Tensor, about: str, every: int, early: Sequence[int] = ()) -> None:
        self.images, self.about, self.every, self.early = images, about, every, early
        self.names: tuple[str, ...] = ()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The start, against which all is compared; a resumed run has it in its record."""
        assert isinstance(pl_module, Pretraining)
        if not trainer.is_global_zero:
            return
        with pl_module.pause():
            now = self.look(pl_module)
        self.names = tuple(columns(now))
        pl_module.watched |= columns(now)
        if not same_figures(pl_module.record.get("watched"), now):
            pl_module.record.pop("watched", None)  # of another version: nothing that now could be compared with
            pl_module.record.pop("showing", None)
        # Batch norms know no statistics yet: what they make of images now is of another scale.
        if "watched" not in pl_module.record and not any(map(batch_normalised, pl_module.modules())):
            self.keep(pl_module, trainer.global_step, now)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look when due, and warn."""
        assert isinstance(pl_module, Pretraining)
        step, steps = trainer.global_step, pl_module.plan.steps
        pl_module.watched |= dict.fromkeys(self.names)
        if not trainer.is_global_zero or (int(batch[1]) + 1) % pl_module.plan.accumulate:
            return
        if step % self.every and step not in (*self.early, steps):
            return
        with pl_module.pause():
            now = self.look(pl_module)
        self.keep(pl_module, step, now)
        pl_module.watched |= columns(now)
        warn(pl_module, step, now)

    def look(self, module: Pretraining) -> dict[str, Monitors]:
        """The figures of each network by its name."""
        objective = module.objective
        images = as_batch({"images": self.images.to(module.device)}, objective.preprocess).images
        generator = torch.Generator().manual_seed(0)
        views = random_resized_crop(images[:PAIRED], Draw(generator), CROP_AREA, CROP_RATIO)
        with module.trainer.precision_plugin.forward_context():
            whole, cropped = embed(objective, images), embed(objective, views)
        return {name: monitors(embeddings, cropped[name]) for name, embeddings in whole.items()}

    def keep(self, module: Pretraining, step: int, now: Mapping[str, Monitors]) -> None:
        """Write into the record what is now, and the first time what was at the start."""
        plain = {name: as_plain(figures) for name, figures in now.items()}
        kept = module.record.get("watched") or {"images": self.about, "start": plain, "first_step": step}
        module.record["watched"] = kept | {"step": step, "now": plain}


def batch_normalised(part: nn.Module) -> bool:
    """Whether a part of a network normalises by statistics that it collects."""
    return isinstance(part, nn.modules.batchnorm._BatchNorm) and part.track_running_stats


def columns(now: Mapping[str, Monitors]) -> dict[str, float]:
    """Figures as columns of the log: ``spread``, or ``spread_context`` where networks have names."""
    named = ((f"_{name}" if name else "", figures) for name, figures in now.items())
    return {f"{figure}{name}": value for name, figures in named for figure, value in figures._asdict().items()}


def as_plain(figures: Monitors) -> dict[str, float | None]:
    """As JSON knows numbers: NaN is None."""
    return {name: None if math.isnan(value) else value for name, value in figures._asdict().items()}


def same_figures(kept: Mapping[str, Any] | None, now: Mapping[str, Monitors]) -> bool:
    """Whether a record's figures are those that are looked at today, of the same networks."""
    starts = kept["start"] if kept else {}
    return starts.keys() == now.keys() and all(set(plain) == set(Monitors._fields) for plain in starts.values())


def from_plain(plain: Mapping[str, float | None]) -> Monitors:
    """What ``as_plain`` was given."""
    return Monitors(**{name: math.nan if value is None else value for name, value in plain.items()})


def warn(module: Pretraining, step: int, now: Mapping[str, Monitors]) -> None:
    """Say each way of collapsing once in a run, on stderr, and write it into the record.

    It must have shown at ``LOOKS`` looks in a row, or at the last of the run: in their first steps healthy runs pass
    through few dimensions.
    """
    record, advice = module.record, module.objective.advice
    said, before, shown = record.setdefault("collapsed", []), record.get("showing", {}), {}
    for name, figures in now.items():
        for mode, why in collapses(from_plain(record["watched"]["start"][name]), figures, module.objective.spread_left):
            sign = f"{name} {mode}"
            shown[sign] = before.get(sign, 0) + 1
            due = shown[sign] >= LOOKS or step == module.plan.steps
            if not due or mode in (one["to"] for one in said):
                continue
            said.append({"to": mode, "step": step, "encoder": name, "why": why})
            encoder = f" of the {name} encoder" if name else ""
            advised = advice.one_point if mode == "one point" else advice.few_dimensions
            print(
                f"warning: at step {step} the embeddings{encoder} have collapsed to {mode} ({why}); try {advised}",
                file=sys.stderr,
            )
    record["showing"] = shown
