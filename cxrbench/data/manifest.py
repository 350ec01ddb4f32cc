"""Manifest: the first of the two contracts. One table per dataset, one row per image."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.files.seal import check
from cxrbench.files.tables import write_sealed_table

COLUMNS = ("image_id", "patient_id", "study_id", "view", "split", "path", "bytes")
SPLITS = ("train", "val", "test")
TABLES = ("boxes", "masks", "reports", "signals")
METADATA_KEY = b"cxrbench.manifest"
MAX_METADATA = 2**31 - 1  # bytes: the reports of a large dataset are more than Arrow's default limit of 100 MB


@dataclass(frozen=True)
class Manifest:
    """A dataset as everything above the adapters sees it.

    ``images``: one row per image, sorted by ``image_id``; columns ``image_id``, ``patient_id``, ``study_id`` (str),
    ``view`` (``PA``, ``AP``, ``L`` or ``""``), ``split`` (``train``, ``val``, ``test``), ``path`` (relative to
    ``root``, with ``/``), ``bytes`` (file size), and one float32 column per label in ``labels``: 1, 0, NaN where
    unknown. ``kind``: ``multilabel`` or ``multiclass`` (exactly one label is 1). ``groups`` names sets of labels;
    ``groups["macro"]`` is the headline. ``boxes``: ``image_id, label, x, y, width, height`` in pixels of the stored
    image. ``masks``: ``image_id, label, height, width, counts`` (COCO's uncompressed RLE, space-separated:
    column-major runs starting with background), or ``image_id, label, path, value, ignore`` of a mask image: pixels
    equal to ``value`` (NaN: any but 0) belong to the label, pixels equal to ``ignore`` (NaN: none) count for nothing.
    An image without a row has an empty mask if ``masks_complete``, else an unknown one. ``reports``: ``study_id``,
    ``findings``, ``impression`` (str). ``signals``: ``study_id``, ``ecg`` (path of an array [12, samples] or
    [samples, 12], or "") and a column ``lab:NAME`` for each laboratory percentile in [0, 1], NaN where missing.
    ``lineage``: datasets whose images these are, by registry name, its own included. ``own_patients``: the identifiers
    of patients are made up here, whatever ``Dataset.patients`` says.
    """

    name: str
    root: Path
    images: pd.DataFrame
    labels: tuple[str, ...]
    kind: Literal["multilabel", "multiclass"] = "multilabel"
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    boxes: pd.DataFrame | None = None
    masks: pd.DataFrame | None = None
    masks_complete: bool = False
    reports: pd.DataFrame | None = None
    signals: pd.DataFrame | None = None
    synthetic: bool = False
    lineage: tuple[str, ...] = ()
    own_patients: bool = False
    source: str = ""
    licence: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [c for c in (*COLUMNS, *self.labels) if c not in self.images.columns]
        if missing:
            raise ValueError(f"manifest {self.name} lacks columns {missing}")
        if not self.images["image_id"].is_unique:
            raise ValueError(f"manifest {self.name} has repeated image ids")
        ordered = self.images.sort_values("image_id", ignore_index=True)
        object.__setattr__(self, "images", ordered)
        object.__setattr__(self, "groups", {"macro": self.labels, **self.groups})

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 of every row (ids, patients, splits, paths, sizes, labels), box, mask and label name."""
        digest = hashlib.sha256(json.dumps([self.name, self.labels, self.kind, self.groups], sort_keys=True).encode())
        for frame in (self.images[[*COLUMNS, *self.labels]], self.boxes, self.masks, self.reports, self.signals):
            if frame is not None:
                digest.update(frame.to_csv(index=False).encode())
        return digest.hexdigest()

    @cached_property
    def image_set(self) -> str:
        """Hex sha256 of what the features depend on: image ids, paths and file sizes; not labels, not splits."""
        rows = self.images[["image_id", "path", "bytes"]].to_csv(index=False)
        return hashlib.sha256(f"{self.name}|{rows}".encode()).hexdigest()

    def paths(self) -> list[Path]:
        """Absolute image paths, in row order."""
        return [self.root / p for p in self.images["path"]]

    def targets(self) -> NDArray[np.float32]:
        """Targets [images, labels]; NaN where unknown."""
        return self.images[list(self.labels)].to_numpy(np.float32)

    def study_targets(self) -> pd.DataFrame:
        """Targets of studies, indexed by study id: positive if one of its images is, NaN if none is known."""
        return pd.DataFrame(self.images.groupby("study_id")[list(self.labels)].max())

    def rows_of(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split."""
        return np.flatnonzero((self.images["split"] == split).to_numpy())

    def facts(self) -> dict[str, Any]:
        """What predictions say of the dataset that they are of, as plain JSON values."""
        return {"name": self.name, "lineage": list(self.lineage), "licence": self.licence, "notes": list(self.notes)}

    def without(self, image_ids: Collection[str]) -> "Manifest":
        """The same dataset with some images dropped."""
        return replace(self, images=self.images[~self.images["image_id"].isin(list(image_ids))])

    def save(self, path: Path) -> None:
        """Write the image table as Parquet with the fingerprint and the dataset's facts in its metadata."""
        facts: dict[str, Any] = {
            "name": self.name, "root": str(self.root), "labels": self.labels, "kind": self.kind, "groups": self.groups,
            "synthetic": self.synthetic, "lineage": self.lineage, "own_patients": self.own_patients,
            "source": self.source, "licence": self.licence, "notes": self.notes, "fingerprint": self.fingerprint,
            "masks_complete": self.masks_complete,
            **{name: _columns(getattr(self, name)) for name in TABLES},
        }  # fmt: skip
        table = pa.Table.from_pandas(self.images, preserve_index=False)
        write_sealed_table(path, table, {METADATA_KEY: json.dumps(facts).encode()})

    @staticmethod
    def load(path: Path) -> "Manifest":
        """Read what ``save`` wrote; the checksum and the fingerprint must still fit. Raises UserError."""
        check(path)
        try:
            table = pq.read_table(path, thrift_string_size_limit=MAX_METADATA, thrift_container_size_limit=MAX_METADATA)
            facts = json.loads((table.schema.metadata or {})[METADATA_KEY])
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise UserError(f"{path} is not a cxrbench manifest ({error})") from error
        fingerprint = facts.pop("fingerprint")
        for name in ("labels", "lineage", "notes"):
            facts[name] = tuple(facts[name])
        facts["groups"] = {name: tuple(labels) for name, labels in facts["groups"].items()}
        for name in TABLES:
            facts[name] = None if facts[name] is None else pd.DataFrame(facts[name])
        facts["root"] = Path(facts["root"])
        manifest = Manifest(images=table.to_pandas(), **facts)
        if manifest.fingerprint != fingerprint:
            raise UserError(
                f"{path} does not match its own fingerprint: it was edited or damaged; delete it and run again"
            )
        return manifest


def _columns(table: pd.DataFrame | None) -> dict[str, list[Any]] | None:
    """A table as JSON values."""
    return None if table is None else table.astype(object).where(table.notna(), None).to_dict("list")


@dataclass(frozen=True)
class Dataset:
    """What an entry point in group ``cxrbench.datasets`` names: the adapter of one official layout.

    ``read`` takes the dataset's folder and returns its Manifest or raises UserError. ``source`` says where to get it,
    ``licence`` under which terms; ``lineage`` names the datasets its images come from. ``patients`` names whose
    patient identifiers the manifest has: two datasets with the same name mean the same patients by the same
    identifiers ("": nobody else's).
    """

    name: str
    title: str
    source: str
    licence: str
    read: Callable[[Path], Manifest]
    lineage: tuple[str, ...] = ()
    patients: str = ""
