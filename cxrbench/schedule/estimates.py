"""How long units take, from what was measured before. What nothing is known of is NaN, and said."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from cxrbench.schedule.cost_plan import Speed
from cxrbench.task import Cell


def speed_by_gflops(gflops: float, others: Sequence[tuple[float, float]]) -> Speed:
    """From what other encoders do on this machine: (GFLOPs per image, images per second) of each; their median rate.

    Small networks wait for their images and for memory, so this is coarse: a factor of two either way.
    """
    rates = [count * speed for count, speed in others if count > 0 and speed > 0]
    if not rates or not gflops > 0:
        return Speed(math.nan, "unknown", "nothing was measured that could be compared")
    return Speed(median(rates) / gflops, "GFLOPs")


def speed_in_store(facts: Mapping[str, Any], device: str, precision: str) -> Speed | None:
    """What an earlier run of the store measured on a device of this kind, in this precision."""
    speed, there = facts.get("images_per_second"), str(facts.get("device", ""))
    if not speed or there.partition(":")[0] != device.partition(":")[0] or facts.get("precision") != precision:
        return None
    return Speed(float(speed), "store")


@dataclass(frozen=True, slots=True)
class EarlierCell:
    """A finished cell: ``seconds`` as it says, extraction included if it came to that; ``date`` sorts."""

    encoder: str
    dataset: str
    protocol: str
    fraction: float
    seconds: float
    date: str


@dataclass(frozen=True)
class CellTimes:
    """Seconds of cells that are most alike: the same encoder and task, else the same task, else the same protocol.

    ``images``: of each data set. From one data set to another seconds go with the images; from one label fraction to
    another they are taken as they are, for most of a cell is not training.
    """

    of_kind: Mapping[tuple[Any, ...], float]
    images: Mapping[str, int]

    @staticmethod
    def of(earlier: Iterable[EarlierCell], images: Mapping[str, int], speeds: Mapping[str, Speed]) -> "CellTimes":
        """From finished cells. The first cell of an encoder on a data set extracted its features, most likely: what
        that takes at the encoder's speed is taken off, where the cell took so long.
        """
        found: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        seen: set[tuple[str, str]] = set()
        for one in sorted(earlier, key=lambda cell: cell.date):
            seconds, place = one.seconds, (one.encoder, one.dataset)
            if place not in seen and one.encoder in speeds and one.dataset in images:
                extraction = speeds[one.encoder].seconds(images[one.dataset])
                seconds -= extraction if extraction <= seconds else 0.0
            seen.add(place)
            for kind in _kinds(one.encoder, one.dataset, one.protocol, one.fraction):
                found[kind].append(seconds)
            if images.get(one.dataset):
                found[one.protocol,].append(seconds / images[one.dataset])
        return CellTimes({kind: median(seconds) for kind, seconds in found.items()}, images)

    def has(self, cell: Cell) -> bool:
        """Whether a cell of this very encoder and task was computed."""
        return any(
            kind in self.of_kind for kind in _kinds(cell.encoder, cell.dataset, cell.protocol, cell.fraction)[:2]
        )

    def seconds(self, cell: Cell) -> float:
        """Of a cell without extraction; NaN where no cell of its protocol was computed in this store."""
        for kind in _kinds(cell.encoder, cell.dataset, cell.protocol, cell.fraction):
            if kind in self.of_kind:
                return self.of_kind[kind]
        return self.of_kind.get((cell.protocol,), math.nan) * self.images.get(cell.dataset, 0)


def _kinds(encoder: str, dataset: str, protocol: str, fraction: float) -> list[tuple[Any, ...]]:
    """What a cell is like, the most alike first."""
    task = dataset, protocol
    return [(encoder, *task, fraction), (encoder, *task), ("", *task, fraction), ("", *task)]
