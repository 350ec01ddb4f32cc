"""What can be said of what a run would cost."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

Source = Literal["probe", "store", "GFLOPs", "unknown"]
"""Where images per second come from: measured now; an earlier run of this store; others' by operations per image."""


class Speed(NamedTuple):
    """Images per second of an encoder's extraction, and where they come from. ``reason``: why they are not known."""

    images_per_second: float
    source: Source
    reason: str = ""

    def seconds(self, images: int) -> float:
        """Of so many images; none take none."""
        return images / self.images_per_second if images else 0.0


@dataclass(frozen=True)
class CostRow:
    """An encoder on a data set. What is not known is NaN.

    ``images``: that are still to be extracted (once for pooled features, once for dense maps); ``speed``: in images per
    second, and where that comes from; ``cells``: that are left. ``extraction_hours``, ``cell_hours``: of one worker.
    ``pooled_bytes``, ``dense_bytes``: in the cache, in the end. ``memory_bytes``: of a worker; ``gpu_bytes``: of its
    device's, where it was measured.
    """

    encoder: str
    dataset: str
    images: int
    speed: Speed
    cells: int
    extraction_hours: float
    cell_hours: float
    pooled_bytes: float
    dense_bytes: float
    memory_bytes: float
    gpu_bytes: float


@dataclass(frozen=True)
class CostPlan:
    """``rows``: by encoder and data set. ``gpu_hours``: of units in which networks run, where the device is a GPU;
    ``cpu_hours``: of all others. ``hours``: on so many ``workers``; no schedule is below ``bound_hours``, and on any
    number of workers none below ``chain_hours``. ``remarks``: what is not known, and counts as nothing.
    """

    rows: tuple[CostRow, ...]
    workers: int
    gpu_hours: float
    cpu_hours: float
    hours: float
    bound_hours: float
    chain_hours: float
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values by name; None for what is not known."""
        rows = []
        for row in self.rows:
            said = asdict(row) | {"images_per_second": row.speed.images_per_second, "speed": row.speed.source}
            rows.append({name: None if value != value else value for name, value in said.items()})
        return asdict(self) | {"rows": rows, "remarks": list(self.remarks)}
