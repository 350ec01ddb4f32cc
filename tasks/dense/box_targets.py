"""What a detection head shall find: a dataset's boxes in the encoder's square, moved as the images are."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.annotations.boxes import check_inside, sides
from cxrbench.data.decode.images import image_size
from cxrbench.data.manifest import Manifest, Rows
from cxrbench.encoder import Preprocess
from cxrbench.errors import UserError
from cxrbench.features.maps.dense import Geometry
from cxrbench.task import RunContext
from cxrbench.tasks.dense.detectors.detector import Detector
from cxrbench.tasks.dense.moves import Draw

LEAST_SIDE = 2.0  # pixels of the square: what augmentation leaves of a box at the edge is no target below that


@dataclass(frozen=True)
class BoxTruth:
    """A dataset's boxes of ``labels`` (K of them).

    By row of the manifest ``boxes``: [G, 4] in native pixels, and ``classes``: [G]; ``present``: [rows, K] of 0 and 1.
    ``table``: the rows of ``Manifest.boxes`` they come from.
    """

    boxes: dict[int, NDArray[np.float64]]
    classes: dict[int, NDArray[np.int64]]
    present: NDArray[np.float32]
    table: pd.DataFrame

    @staticmethod
    def of(manifest: Manifest, labels: Sequence[str]) -> "BoxTruth":
        """From the manifest, which must have boxes; those of images that it does not have are left out."""
        assert manifest.boxes is not None  # not_applicable has looked
        table = manifest.boxes[manifest.boxes["label"].isin(list(labels))]
        row_of = {name: row for row, name in enumerate(manifest.images["image_id"])}
        known = [name in row_of for name in table["image_id"]]
        table = table.iloc[np.flatnonzero(known)]
        rows = np.array([row_of[name] for name in table["image_id"]], np.int64)
        classes = np.array([labels.index(name) for name in table["label"]], np.int64)
        present = np.zeros((len(manifest), len(labels)), np.float32)
        present[rows, classes] = 1
        values = sides(table)
        at = {int(row): np.flatnonzero(rows == row) for row in np.unique(rows)}
        return BoxTruth({r: values[i] for r, i in at.items()}, {r: classes[i] for r, i in at.items()}, present, table)


@dataclass(frozen=True)
class BoxTargets:
    """A detector's targets of manifest rows and their augmented copies. ``boxes``: in the square's pixels, by row.

    ``size``: of the square; ``draw``: how copies are moved.
    """

    boxes: dict[int, NDArray[np.float64]]
    classes: dict[int, NDArray[np.int64]]
    image_ids: NDArray[np.str_]
    detector: Detector
    size: int
    draw: Draw

    def __call__(self, rows: Rows, copy: int) -> list[Any]:
        """One for each row."""
        return [self._one(int(row), copy) for row in rows]

    def _one(self, row: int, copy: int) -> Any:
        boxes = self.boxes.get(row, np.empty((0, 4)))
        if len(boxes) and copy:
            boxes = self.draw(str(self.image_ids[row]), copy).apply_boxes(boxes, self.size)
        left = (boxes[:, 2:] >= (LEAST_SIDE if copy else 0)).all(1)
        return self.detector.targets(boxes[left], self.classes.get(row, np.empty(0, np.int64))[left])


def boxed_labels(manifest: Manifest, train: Rows) -> tuple[str, ...]:
    """Labels of the training images' boxes, in the manifest's order. Raises UserError where there are none."""
    assert manifest.boxes is not None
    ids = set(manifest.images["image_id"].iloc[train])
    names = {
        str(n) for image, n in zip(manifest.boxes["image_id"], manifest.boxes["label"], strict=True) if image in ids
    }
    if not names:
        raise UserError(f"{manifest.name} has no box in its training split")
    return (*(n for n in manifest.labels if n in names), *sorted(names - set(manifest.labels)))


def geometry_of(
    manifest: Manifest, truth: BoxTruth, preprocess: Preprocess, rows: Rows, context: RunContext
) -> dict[int, Geometry]:
    """How these rows' images lie in the square, from the files' headers. Raises UserError for a box outside of one."""
    paths = manifest.paths()
    with ThreadPoolExecutor(max(1, context.options.workers)) as pool:
        sizes = dict(zip(rows.tolist(), pool.map(lambda row: image_size(paths[row]), rows), strict=True))
    ids = manifest.images["image_id"].to_numpy(str)
    by_id = {str(ids[row]): size for row, size in sizes.items()}
    seen = [name in by_id for name in truth.table["image_id"]]
    check_inside(truth.table.iloc[np.flatnonzero(seen)], by_id, manifest.name)
    return {row: Geometry.of(preprocess, *size) for row, size in sizes.items()}
