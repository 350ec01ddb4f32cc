"""Training as the user meets it: what goes wrong or is stopped says so in one line, and how to go on."""

import logging
import multiprocessing
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from cxrbench.encoders.pretraining.engine.checkpoints import STOPPED, Checkpoints
from cxrbench.encoders.pretraining.engine.pictures import Pictures
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig
from cxrbench.encoders.pretraining.engine.prepared import decoding_processes
from cxrbench.encoders.pretraining.engine.progress import TrainingProgress
from cxrbench.encoders.pretraining.engine.trainer import NOISE, Pretraining, launched, run_trainer
from cxrbench.encoders.pretraining.engine.watching.hours import Hours
from cxrbench.errors import UserError
from cxrbench.files.atomic import writing


def train(
    module: Pretraining, config: PretrainConfig, watchers: Sequence[Callback] = (), log: str | None = None
) -> None:
    """Run the loop; whatever a user can mend comes out as UserError, from other processes too.

    ``watchers`` are called before the log is written and the checkpoint saved. ``log``: as of ``pretrain``. Lightning
    ends Ctrl-C with exit code 1 and SIGTERM with 0; here they are 130 and 143, and say how to go on.
    """
    out = module.plan.out
    quiet()
    callbacks = [
        Quiet(),
        Hours(),
        *watchers,
        TrainingProgress(out, log),
        Checkpoints(out, config.checkpoint_every, config.keep_every),
    ]
    try:
        with (
            writing(out),
            decoding_processes(module.going_on),
            passing_sigterm_on(config.devices),
        ):
            run_trainer(
                module,
                [*callbacks, Pictures(out / "pictures", config.picture_every)],
                precision=module.plan.precision,
                accelerator=config.accelerator,
                devices=config.devices,
            )
    except SystemExit as stopped:
        say(f"stopped; {module.going_on()}")
        raise SystemExit(STOPPED if isinstance(stopped, SIGTERMException) else 130) from stopped
    except ProcessExitedException as error:
        if error.exit_code == STOPPED or error.signal_name == "SIGTERM":
            say(f"stopped; {module.going_on()}")
            raise SystemExit(STOPPED) from error
        raise UserError(f"a training process died ({error}); {module.going_on()}") from error
    except (torch.OutOfMemoryError, ProcessRaisedException) as error:
        told = re.search(r"UserError: (.*)", str(error))
        if told is None and not (isinstance(error, torch.OutOfMemoryError) or "OutOfMemoryError: " in str(error)):
            raise
        raise UserError(
            told[1]
            if told
            else f"out of GPU memory; {module.saved()}: lower --batch-size, or pass --gradient-checkpointing"
        ) from error


def quiet() -> None:
    """Of Lightning's own lines those alone that tell of an error."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


class Quiet(Callback):
    """``quiet`` in every process of a run: one that is started anew knows nothing of it."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Before anything is trained."""
        quiet()
        warnings.filterwarnings("ignore", message=NOISE)


@contextmanager
def passing_sigterm_on(devices: int) -> Iterator[None]:
    """While processes of ours train on several devices, they are told of SIGTERM and not left behind."""
    if devices == 1 or launched(devices) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for process in multiprocessing.active_children():
            process.terminate()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def say(text: str) -> None:
    """One line for the person who waits."""
    print(text, file=sys.stderr)
