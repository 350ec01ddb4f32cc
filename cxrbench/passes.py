"""How often a cell runs its encoder as it trains: what its cost depends on where features are not made once."""

from typing import Protocol, runtime_checkable

from cxrbench.data.manifest import Manifest
from cxrbench.task import Cell, Task

BOTH_WAYS = 3
"""Passes of an encoder that an image costs which it is trained on: forward, and a backward pass that counts as two."""


@runtime_checkable
class TrainsOnImages(Protocol):
    """A protocol that may train an encoder, or augment the images of a frozen one."""

    def images_in_training(self, manifest: Manifest, cell: Cell) -> int:
        """Over how many images, repeats among them, a cell runs the encoder as it trains."""
        ...


def images_in_training(task: Task, manifest: Manifest, cell: Cell) -> int:
    """The same of any protocol: none where it trains on features."""
    return task.images_in_training(manifest, cell) if isinstance(task, TrainsOnImages) else 0
