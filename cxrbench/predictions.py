"""Predictions: the second of the two contracts. Below it, nobody needs an image or a model."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.files.seal import DamagedError, check, read_checked
from cxrbench.files.tables import write_sealed_table

METADATA_KEY = b"cxrbench"
AGAIN = "run again, and it is computed anew"
FORMAT = 2
NO_ROWS = pd.DataFrame()
Kind = Literal["multilabel", "multiclass", "segmentation", "detection", "retrieval", "regression"]


@dataclass(frozen=True)
class NotApplicable:
    """A cell that its encoder cannot serve. ``cell``: as in Predictions; ``reason``: why."""

    cell: Mapping[str, Any]
    reason: str
    synthetic: bool


@dataclass(frozen=True)
class Predictions:
    """The predictions of one cell: one row per validation or test image.

    ``rows`` has the columns ``image_id``, ``patient_id``, ``split`` (``val`` or ``test``; reported metrics use test
    rows only, validation rows serve thresholds and recalibration) and for each label ``target:LABEL`` (float64, NaN
    where unknown). What else there is depends on ``kind``:

    * ``multilabel`` (independent labels) and ``multiclass`` (scores sum to one over labels): ``score:LABEL`` (float64
      probability, NaN where the label could not be trained); targets are 1 or 0.
    * ``regression``: ``score:LABEL`` (float64, the predicted number in the target's unit; NaN where it could not be
      trained).
    * ``segmentation``: ``height``, ``width`` (of the image as stored), ``rle:LABEL`` (COCO's compressed RLE of the
      predicted mask at that size), and pixel counts ``intersection:LABEL``, ``predicted:LABEL``; the target is the
      number of true pixels.
    * ``detection``: lists ``boxes`` (x, y, width, height of each detection, one after the other, in pixels of the
      stored image), ``scores`` (descending), ``classes`` (index into ``labels``), ``matches`` (bit t is set if the
      detection is a true positive at IoU 0.40 + 0.05 t), ``true_boxes``, ``true_classes``; the target is the number of
      true boxes.
    * ``retrieval``: one row per query, a label per direction (``image``; ``image_to_text``, ``text_to_image``; ...):
      ``rank:LABEL`` (of the first relevant item, from 1) and ``value:METRIC:LABEL``, of which the metric is the
      weighted mean; the target is the number of relevant items, and a query with none counts for nothing. Where an
      embedding is predicted, for R²: ``squared_error:LABEL`` and ``truth:LABEL``, a list with the true embedding.

    ``groups`` names sets of
    labels to average over; ``groups["macro"]`` is the headline set. ``notes`` are facts that a reader of any table
    made from this must be told. ``cell`` holds the cell's ``encoder``, ``dataset``, ``protocol``, ``fraction``,
    ``seed``, ``identity``, ``parts``; ``encoder`` the encoder's card, parameters and fingerprint; ``dataset`` its
    ``name``, ``lineage``, ``licence``, ``notes`` and how many unreadable images were ``dropped``. ``made`` says how the
    cell was made: ``versions`` of the libraries, ``device``, ``precision``, ``date`` (UTC, ISO 8601), ``seconds`` (of
    the task, extraction included if it came to that); nothing in files of before this was kept. ``file``: where it was
    read, which no file says of itself.
    """

    rows: pd.DataFrame
    labels: tuple[str, ...]
    kind: Kind
    groups: Mapping[str, tuple[str, ...]]
    synthetic: bool
    cell: Mapping[str, Any] = field(default_factory=dict)
    encoder: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None

    def test_rows(self) -> pd.DataFrame:
        """The rows of the test split, sorted by image_id so that every encoder's come in one order."""
        of_test = self.rows["split"].to_numpy() == "test"
        rows = self.rows if of_test.all() else self.rows.loc[of_test]
        ids = rows["image_id"].to_numpy()
        if (ids[:-1] <= ids[1:]).all():  # as most are written: nothing is copied
            return rows.reset_index(drop=True)
        return rows.sort_values(by="image_id", ignore_index=True)

    def scores(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        """Scores [n, labels] of the given rows."""
        return self._columns("score", rows)

    def targets(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        """Targets [n, labels] of the given rows; NaN where unknown."""
        return self._columns("target", rows)

    def _columns(self, what: str, rows: pd.DataFrame) -> NDArray[np.float64]:
        """Numbers [n, labels]; column by column, for pandas takes ten times as long to choose several."""
        found = np.empty((len(rows), len(self.labels)))
        for k, label in enumerate(self.labels):
            found[:, k] = rows[f"{what}:{label}"].to_numpy(np.float64)
        return found

    def save(self, path: Path, permit: Callable[[], None] = lambda: None) -> None:
        """Write as Parquet, metadata in the schema, a checksum of the file among it; atomically.

        ``permit``: as for ``atomic_path``.
        """
        meta = {k: v for k, v in asdict_shallow(self).items() if k not in ("rows", "file")} | {"format": FORMAT}
        table = pa.Table.from_pandas(self.rows, preserve_index=False)
        write_sealed_table(path, table, {METADATA_KEY: json.dumps(meta, sort_keys=True).encode()}, permit)

    @staticmethod
    def load(path: Path, wanted: Callable[[Mapping[str, Any]], bool] | None = None) -> "Predictions":
        """Read what ``save`` wrote. Raises DamagedError if the file is not as it was written, or not one of ours.

        ``wanted``: asked with ``cell``, whether the rows are needed; if not they are empty, and only the header is
        read: the checksum, which is of all of the file, is not looked at.
        """
        with _opened(path) as file:
            meta = _facts(path, lambda: file.schema_arrow.metadata)
            if wanted is not None and not wanted(meta["cell"]):
                return without_rows(meta, path)
            check(path, AGAIN)
            # a few small columns: threads would cost more than they save
            rows = file.read(use_threads=False).to_pandas(use_threads=False)
        return replace(without_rows(meta, path), rows=rows)


def without_rows(facts: Mapping[str, Any], path: Path) -> Predictions:
    """Predictions of which the header alone was read, from what it says (``read_header``)."""
    plain = {"labels": tuple(facts["labels"]), "notes": tuple(facts["notes"])}
    groups = {name: tuple(labels) for name, labels in facts["groups"].items()}
    return Predictions(**{**facts, **plain, "rows": NO_ROWS, "groups": groups, "file": path})


def read_header(path: Path) -> dict[str, Any]:
    """The metadata of a predictions file, without its rows. Raises DamagedError if a bit of either has changed.

    The checksum is of the whole file: files are small, and a plan that calls a damaged cell done would be believed.
    """
    content = read_checked(path, AGAIN)
    return _facts(path, lambda: pq.read_metadata(pa.BufferReader(content)).metadata)


def _opened(path: Path) -> pq.ParquetFile:
    """Raises DamagedError for what is no Parquet file."""
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(path, "it holds no predictions", AGAIN) from error


def _facts(path: Path, metadata: Callable[[], Mapping[bytes, bytes] | None]) -> dict[str, Any]:
    """What stands in the metadata of a file, whatever its checksum."""
    try:
        meta = json.loads((metadata() or {})[METADATA_KEY])
        version = meta.pop("format")
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise DamagedError(path, "it holds no predictions", AGAIN) from error
    if version != FORMAT:
        raise UserError(f"{path} was written by another version of cxrbench: run again, and it is computed anew")
    return meta


def asdict_shallow(predictions: Predictions) -> dict[str, Any]:
    """Fields by name, without copying the rows."""
    return {name: getattr(predictions, name) for name in predictions.__dataclass_fields__}


def encoder_facts(spec: Any) -> dict[str, Any]:
    """What a table must know of an encoder: its card, parameters and fingerprint, as plain JSON values."""
    return {**asdict(spec.card), "parameters": spec.parameters, "fingerprint": spec.fingerprint}
