"""Probing many encoders: a line per cell as it is finished, and none that fails unseen."""

import sys
from collections.abc import Sequence
from typing import Unpack

from cxrbench import api
from cxrbench.engine.settings import Settings
from cxrbench.errors import UserError
from cxrbench.progress import Progress


def probe(specs: Sequence[str], tasks: Sequence[str], **settings: Unpack[Settings]) -> None:
    """Compute what is missing of ``specs`` on ``tasks``; all in one, so that images are decoded once.

    In float32 unless settings say otherwise: figures are kept from one machine to the next, and not all have bf16.
    Raises UserError for the first cell that fails or cannot be asked; what was finished is kept.
    """
    progress = Progress()
    job = api.prepare(specs, tasks, progress=progress, **{"precision": "fp32", **settings})
    left = sum(row["state"] != "done" for row in api.planned(job))
    for outcome in api.outcomes(job, progress, fail_fast=True):
        cell, left = outcome.cell, left - 1
        name = f"{cell['encoder']} on {cell['task']}, {cell['fraction']:.0%} of the labels, seed {cell['seed']}"
        if outcome.state != "computed":
            raise UserError(f"{name}: {outcome.reason}")
        print(f"{name}: {outcome.headline['value']}; {left} to go", file=sys.stderr)
