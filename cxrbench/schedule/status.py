"""What can be said of how far a request is."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Running:
    """Something that a worker is at. ``since``: UTC, by the clock of its host."""

    what: str
    host: str
    process: int
    since: str


@dataclass(frozen=True)
class Waiting:
    """A cell that failed (its last attempt, and how many there were; ``trace`` is the traceback), or is blocked."""

    encoder: str
    task: str
    fraction: float
    seed: int
    reason: str
    attempts: int
    trace: str


@dataclass(frozen=True)
class Status:
    """``cells`` of a request = ``done`` + ``renamed`` + ``running`` ones + ``failed`` + ``blocked`` + ``missing``.

    ``done``: those that are not applicable included. ``missing``: not begun, stale and damaged ones included. ``at``:
    the running cells and the features that are being extracted. ``blocked``: cells without encoder or data, seen from
    here. ``seconds_left``: by the finished cells that are most alike and the images per second of the encoders, on as
    many workers as are at it; None where something is not measured yet, or nobody works. ``renamed``: done, and called
    otherwise in the folder since it was asked for; ``new_names``: how (``pixels is called a/b``).
    """

    request: str
    cells: int
    done: int
    running: int
    failed: tuple[Waiting, ...]
    blocked: tuple[Waiting, ...]
    missing: int
    at: tuple[Running, ...]
    seconds_left: float | None
    renamed: int = 0
    new_names: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do, or to wait for."""
        return not (self.running or self.missing)

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)
