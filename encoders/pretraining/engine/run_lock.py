"""One run in a folder at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cxrbench.encoders.pretraining.engine.trainer import launched
from cxrbench.errors import UserError
from cxrbench.files.atomic import writing

LOCK = ".lock"


@contextmanager
def only_run(out: Path, devices: int) -> Iterator[None]:
    """Nobody else pretrains in ``out`` meanwhile. Raises UserError if somebody does.

    The system holds the lock, and lets go of it when the process ends, however it ends. Of processes that torchrun or
    srun has started for one run the first holds it.
    """
    if launched(devices) and int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))):
        yield
        return
    lock = FileLock(out / LOCK)
    try:
        with writing(out):
            lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"another process is pretraining in {out}: wait for it, stop it, or choose another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()
