"""What was trained on the encoders' maps: decoders and detection heads, with what they read and how large they are."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cxrbench.predictions import Predictions


class Head(NamedTuple):
    """``features``: channels of the maps that it reads, ``4 x 768``; ``parameters``: those that were learnt."""

    encoder: str
    task: str
    name: str
    features: str
    parameters: int


def heads_of(predictions: Iterable[Predictions]) -> tuple[Head, ...]:
    """Each encoder's head in each ``DATASET:PROTOCOL`` once; seeds and label fractions have the same."""
    found = {
        Head(
            str(one.cell["encoder"]), f"{one.cell['dataset']}:{one.cell['protocol']}", str(head.get("name", "")),
            _features(head["features"]), int(head["parameters"]),
        )
        for one in predictions
        if (head := one.cell.get("head"))
    }  # fmt: skip
    return tuple(sorted(found))


def _features(widths: Sequence[int]) -> str:
    """``768``, ``4 x 768``, or ``512, 1024, 2048``."""
    if len(set(widths)) == 1:
        return str(widths[0]) if len(widths) == 1 else f"{len(widths)} x {widths[0]}"
    return ", ".join(map(str, widths))
