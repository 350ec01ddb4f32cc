"""How a worker works: where it begins, what it takes, how patient it is."""

from dataclasses import dataclass
from typing import Literal

Wanted = Literal["any", "gpu", "cpu", "gpu-first"]
"""The units that a worker takes: all, those that need a GPU, those that need none, or these only while there is none of
those.
"""
RETRIES = 2  # of workers


@dataclass(frozen=True)
class Manner:
    """``start``: where in the plan it begins, 0 at its head, below 1. ``wanted``: the units that it takes. ``retries``:
    how often a cell that failed is tried again, by whomever. ``ttl``: seconds after which a lease that is not renewed
    may be taken over. ``until_idle``: end when nothing is free, instead of waiting for what others do.
    """

    start: float = 0.0
    wanted: Wanted = "any"
    retries: int = RETRIES
    ttl: float = 60.0
    until_idle: bool = False
