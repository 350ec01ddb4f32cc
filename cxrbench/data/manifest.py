"""Manifest: the first of the two contracts. One table per dataset, one row per image."""

import base64
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

from cxrbench.errors import UserError, first_line
from cxrbench.files.atomic import atomic_path
from cxrbench.files.seal import BLANK, check, seal
from cxrbench.files.tables import SEAL_KEY

COLUMNS = ("image_id", "patient_id", "study_id", "view", "split", "path", "bytes")
SPLITS = ("train", "val", "test")
RESERVED = (*COLUMNS, "stamp")
MACRO = "macro"  # the group of labels that a headline is the mean of
"""Names of columns that a label cannot have."""
QUANTITY = "quantity:"
"""How columns of numbers to be predicted begin."""
SAID_UNCERTAIN = "uncertain:"
"""How columns begin that say which labels a reader called uncertain, whatever its own policy made of them."""
PART = "official:part"
"""The column of the part that an image is in officially (train, valid, test), whichever split its reader gave it."""
TABLES = ("boxes", "masks", "reports", "signals")
METADATA_KEY = b"cxrbench.manifest"
Rows = NDArray[np.int64]
"""Numbers of a table's rows."""
FORMAT = 2  # of the file; raise when a manifest saved by an earlier version is read in another way
MAX_METADATA = 2**31 - 1  # bytes: the reports of a large dataset are more than Arrow's default limit of 100 MB


@dataclass(frozen=True)
class Manifest:
    """A dataset as everything above the adapters sees it.

    ``images``: one row per image, sorted by ``image_id``; columns ``image_id``, ``patient_id``, ``study_id`` (str),
    ``view`` (``PA``, ``AP``, ``L`` or ``""``), ``split`` (``train``, ``val``, ``test``), ``path`` (relative to
    ``root``, with ``/``), ``bytes`` (file size), ``stamp`` (of the file's content, ``data/stamps.py``; "" where nobody
    has looked, which is added if it is not there), and one float32 column per label in ``labels``: 1, 0, NaN where
    unknown; and a float32 column ``quantity:NAME`` per name in ``quantities``: numbers to be predicted (a regression's
    targets), NaN where unknown. Where a reader knows them, bool columns ``uncertain:LABEL`` and the column
    ``official:part``: they are no part of the fingerprint, which a paper's reading of them changes. ``kind``:
    ``multilabel`` or ``multiclass`` (exactly one label is 1). ``groups`` names sets of labels; ``groups["macro"]`` is
    the headline. ``boxes``: ``image_id, label, x, y, width, height`` in pixels of the stored image. ``masks``:
    ``image_id, label, height, width, counts`` (COCO's uncompressed RLE, spaced: column-major runs starting with
    background), or ``image_id, label, path, value, ignore`` of a mask image: pixels equal to ``value`` (NaN: any but 0)
    belong to the label, pixels equal to ``ignore`` (NaN: none) count for nothing. Where a column ``stretched`` is True,
    a mask of any size is stretched over its image. An image without a row has an empty mask if ``masks_complete``, else
    an unknown one. ``reports``: ``study_id``, ``findings``, ``impression`` (str).
    ``signals``: ``study_id``, ``ecg`` (path of an array [12, samples] or [samples, 12], or "") and a column
    ``lab:NAME`` for each laboratory percentile in [0, 1], NaN where missing. ``lineage``: datasets whose images these
    are, by registry name, its own included. ``own_patients``: the identifiers of patients are made up here, whatever
    ``Dataset.patients`` says. ``split_of``: the dataset whose images these are in imported splits, which images that
    are not listed have no part in (``split`` is ``unused``). ``split_notes``: those of ``notes`` that say how the
    reader dealt the images out, each with the splits that it is about: whoever deals those out anew leaves it out.
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
    split_of: str = ""
    quantities: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    notes: tuple[str, ...] = ()
    split_notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [c for c in (*COLUMNS, *self.labels, *self.quantity_columns) if c not in self.images.columns]
        if missing:
            raise ValueError(f"manifest {self.name} lacks columns {missing}")
        if not self.images["image_id"].is_unique:
            raise ValueError(f"manifest {self.name} has repeated image ids")
        if taken := sorted(set(self.labels) & set(RESERVED)):
            raise ValueError(f"manifest {self.name} has labels with the names of columns: {taken}")
        if taken := sorted(set(self.labels) & {MACRO, *self.groups}):
            raise ValueError(f"manifest {self.name} has labels with the names of groups of labels: {taken}")
        images = self.images if "stamp" in self.images.columns else self.images.assign(stamp="")
        ordered = images.sort_values("image_id", ignore_index=True)
        object.__setattr__(self, "images", ordered)
        object.__setattr__(self, "groups", {MACRO: self.labels, **self.groups})

    def __len__(self) -> int:
        return len(self.images)

    @property
    def quantity_columns(self) -> list[str]:
        """The columns of the image table that hold the quantities, in their order."""
        return [QUANTITY + name for name in self.quantities]

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 of every row (ids, patients, splits, paths, sizes, stamps, labels), box, mask and label name.

        It says what the data is, not where it lies or when it was copied: neither the root nor a time is part of it.
        """
        digest = hashlib.sha256(json.dumps([self.name, self.labels, self.kind, self.groups], sort_keys=True).encode())
        if self.quantities:
            digest.update(json.dumps(self.quantities).encode())
        tables: list[pd.DataFrame | None] = [getattr(self, name) for name in TABLES]
        for frame in (pd.DataFrame(self.images[[*RESERVED, *self.labels, *self.quantity_columns]]), *tables):
            digest.update(b"-" if frame is None else _digest(frame))
        return digest.hexdigest()

    @cached_property
    def image_set(self) -> str:
        """Hex sha256 of what the features depend on: image ids, paths, sizes and stamps; not labels, not splits.

        So a dataset in other splits has the features of the one that it is of.
        """
        rows = _digest(pd.DataFrame(self.images[["image_id", "path", "bytes", "stamp"]]))
        return hashlib.sha256((self.split_of or self.name).encode() + b"|" + rows).hexdigest()

    @cached_property
    def views_sha256(self) -> str:
        """Hex sha256 of the view of each image: on which the features of an encoder that asks for it depend as well."""
        return _digest(pd.DataFrame(self.images[["image_id", "view"]])).hex()

    def paths(self) -> list[Path]:
        """Absolute image paths, in row order."""
        return [self.root / p for p in self.images["path"]]

    def targets(self) -> NDArray[np.float32]:
        """Targets [images, labels]; NaN where unknown."""
        return self.images[list(self.labels)].to_numpy(np.float32)

    def measured(self) -> NDArray[np.float32]:
        """Quantities [images, quantities]; NaN where unknown."""
        return self.images[self.quantity_columns].to_numpy(np.float32)

    def study_targets(self) -> pd.DataFrame:
        """Targets of studies, indexed by study id: positive if one of its images is, NaN if none is known."""
        return pd.DataFrame(self.images.groupby("study_id")[list(self.labels)].max())

    def rows_of(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split."""
        return np.flatnonzero((self.images["split"] == split).to_numpy())

    def notes_without(self, splits: Collection[str]) -> tuple[str, ...]:
        """The notes but for those on how the reader made one of these splits."""
        return tuple(note for note in self.notes if not {*self.split_notes.get(note, ())} & {*splits})

    def facts(self) -> dict[str, Any]:
        """What predictions say of the dataset that they are of, as plain JSON values."""
        return {"name": self.name, "lineage": list(self.lineage), "licence": self.licence, "notes": list(self.notes)}

    def without(self, image_ids: Collection[str]) -> "Manifest":
        """The same dataset with some images dropped."""
        return replace(self, images=self.images[~self.images["image_id"].isin(list(image_ids))])

    def save(self, path: Path) -> None:
        """Write the image table as Parquet, with everything else in its metadata: facts, fingerprint, other tables."""
        facts: dict[str, Any] = {
            "format": FORMAT, "name": self.name, "root": str(self.root), "labels": self.labels, "kind": self.kind,
            "groups": self.groups, "synthetic": self.synthetic, "lineage": self.lineage,
            "own_patients": self.own_patients, "split_of": self.split_of, "source": self.source,
            "licence": self.licence, "notes": self.notes, "split_notes": self.split_notes,
            "fingerprint": self.fingerprint, "masks_complete": self.masks_complete, "quantities": self.quantities,
        }  # fmt: skip
        metadata = {METADATA_KEY: json.dumps(facts).encode(), SEAL_KEY: BLANK.encode()}
        metadata |= {_key(n): _packed(table) for n in TABLES if (table := getattr(self, n)) is not None}
        table = pa.Table.from_pandas(self.images, preserve_index=False).replace_schema_metadata(None)
        with atomic_path(path) as temporary:
            with pq.ParquetWriter(temporary, table.schema, store_schema=False) as writer:
                writer.write_table(table)
                writer.add_key_value_metadata(metadata)  # not in the schema, where Arrow would write it twice
            seal(temporary)

    @staticmethod
    def load(path: Path) -> "Manifest":
        """Read what ``save`` wrote; the checksum and the fingerprint must still fit. Raises UserError."""
        check(path)
        try:
            with pq.ParquetFile(
                path, thrift_string_size_limit=MAX_METADATA, thrift_container_size_limit=MAX_METADATA
            ) as file:
                metadata, images = file.metadata.metadata or {}, file.read().replace_schema_metadata(None).to_pandas()
            facts = json.loads(metadata[METADATA_KEY])
            if facts.pop("format", 1) != FORMAT:
                raise UserError(f"{path} was written by another version of cxrbench: delete it and run again")
            fingerprint = facts.pop("fingerprint")
            for name in ("labels", "lineage", "notes", "quantities"):
                facts[name] = tuple(facts.get(name, ()))  # manifests of before there were quantities have none
            facts["groups"] = {name: tuple(labels) for name, labels in facts["groups"].items()}
            facts["split_notes"] = {note: tuple(of) for note, of in facts.get("split_notes", {}).items()}
            facts["root"] = Path(facts["root"])
            facts |= {name: _unpacked(metadata[_key(name)]) for name in TABLES if _key(name) in metadata}
            manifest = Manifest(images=images, **facts)
            found = manifest.fingerprint
        except UserError:
            raise
        except Exception as error:  # a damaged file may hold anything: Arrow, JSON and pandas each say so in their way
            raise UserError(f"{path} is not a cxrbench manifest ({first_line(error)})") from error
        if found != fingerprint:
            raise UserError(
                f"{path} does not match its own fingerprint: it was edited or damaged; delete it and run again"
            )
        return manifest


def _digest(frame: pd.DataFrame) -> bytes:
    """sha256 of a table: of its columns' names, and of their cells, by row, as numbers or as text (which may be None).

    Numbers count as float64, whatever their width: a table has the same digest before and after it was saved.
    """
    digest = hashlib.sha256(str(len(frame)).encode())
    for name in frame.columns:
        digest.update(f"|{name}|".encode())
        column = frame[name].infer_objects()
        if pd.api.types.is_numeric_dtype(column.dtype):
            values = column.to_numpy(np.float64, na_value=np.nan)
            digest.update(np.where(np.isnan(values), np.nan, values).astype("<f8").tobytes())
            continue
        empty = column.isna().to_numpy()
        cells = [b"" if gap else str(cell).encode() for cell, gap in zip(column.tolist(), empty, strict=True)]
        digest.update(np.where(empty, -1, np.fromiter(map(len, cells), np.int64, len(cells))).astype("<i8").tobytes())
        digest.update(b"".join(cells))
    return digest.digest()


def _key(table: str) -> bytes:
    return METADATA_KEY + b"." + table.encode()


def _packed(frame: pd.DataFrame) -> bytes:
    """A table as compressed Parquet in base64: metadata is text."""
    buffer = pa.BufferOutputStream()
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, buffer, compression="zstd")
    return base64.b64encode(buffer.getvalue())


def _unpacked(packed: bytes) -> pd.DataFrame:
    return pq.read_table(pa.BufferReader(base64.b64decode(packed, validate=True))).to_pandas()


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
