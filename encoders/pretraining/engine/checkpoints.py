"""When checkpoints are written."""

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.utilities.exceptions import SIGTERMException

from cxrbench.encoders.pretraining.engine.trainer import Pretraining

STOPPED = 143  # exit code of a process that SIGTERM has ended
OFTEN = 60.0  # seconds between checkpoints at the most ...
SHARE = 0.02  # ... but no more than this share of the time is spent on writing them


class Checkpoints(lightning.Callback):
    """``last.ckpt`` every ``every`` optimizer steps and at the end; ``epoch-N.ckpt`` every ``keep`` epochs, if any.

    Before that, ``last.ckpt`` is written after the first step and about once a minute, so that a run that is killed
    loses no more. Slurm announces the end of a job with SIGTERM: the optimizer step that it meets is the last, and is
    saved. All processes stop, and save, at the step at which the first of them has heard of it.
    """

    def __init__(self, out: Path, every: int, keep: int) -> None:
        self.out, self.every, self.keep = out, every, keep
        self.stopping = False
        self.due = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen to SIGTERM in place of Lightning, which would stop between optimizer steps, and not save."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.stopping = True

        self.due = time.monotonic() + OFTEN
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)  # Lightning restores what was there before

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when due; only between optimizer steps, never while gradients are being accumulated."""
        assert isinstance(pl_module, Pretraining)
        plan, step, number = pl_module.plan, trainer.global_step, int(batch[1]) + 1
        if number % plan.accumulate:
            return
        stopping, late = (
            trainer.strategy.reduce_boolean_decision(one, all=False)
            for one in (self.stopping, time.monotonic() >= self.due)
        )
        if step % self.every == 0 or step in (1, plan.steps) or stopping or late:
            began = time.monotonic()
            with pl_module.pause():
                trainer.save_checkpoint(self.out / "last.ckpt")
            now = time.monotonic()
            self.due = now + max(OFTEN, (now - began) / SHARE)
        epoch, before = (n // plan.batches_per_epoch for n in (number, number - plan.accumulate))
        if self.keep and epoch // self.keep > before // self.keep:  # an epoch may end within a step
            with pl_module.pause():
                trainer.save_checkpoint(self.out / f"epoch-{epoch:04d}.ckpt")
        if stopping:
            raise SIGTERMException(STOPPED)
