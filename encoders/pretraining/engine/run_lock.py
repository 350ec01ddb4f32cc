"""One run in a folder at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning

from cxrbench.encoders.pretraining.engine.trainer import launched
from cxrbench.errors import UserError
from cxrbench.files.atomic import is_temporary
from cxrbench.files.generations import Holder, highest
from cxrbench.files.leases import Leases
from cxrbench.files.turns import at_once

LOCK = ".lock"
WRITTEN = ("last.ckpt", "epoch-*.ckpt", "encoder.*", "log.csv")


class Ours(lightning.Callback):
    """Whether the run's folder is still ours: asked before a checkpoint is written, in any process of the run.

    It is another's where this run stood still (the machine slept) until that one took it for dead.
    """

    def __init__(self, out: Path, token: str) -> None:
        self.out, self.token = out, token

    def check(self) -> None:
        """Raises UserError if another process pretrains there by now."""
        found = highest(self.out / LOCK)
        if found is None or found.token != self.token:
            raise UserError(
                f"another process is pretraining in {self.out} since this one stood still for too long: it ends here"
            )

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write nothing into the folder of another run."""
        self.check()


@contextmanager
def only_run(out: Path, devices: int) -> Iterator[list[Ours]]:
    """Nobody else pretrains in ``out`` meanwhile. Raises UserError if somebody does.

    Gives what watches over it. Of processes that torchrun or srun has started for one run the first holds the lease,
    and the others watch nothing.
    """
    if launched(devices) and int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))):
        yield []
        return
    with Leases() as leases:
        lease = at_once(leases, out / LOCK, f"pretraining in {out}")
        if isinstance(lease, Holder):
            raise UserError(f"another process is pretraining in {out}: wait for it, stop it, or choose another --out")
        for name in WRITTEN:  # what a run that was killed has begun to write: gigabytes of a large encoder
            for path in filter(is_temporary, out.glob(f".{name}.*")):
                path.unlink(missing_ok=True)
        yield [Ours(out, lease.token)]
