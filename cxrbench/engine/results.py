"""The store of finished cells. The files are the truth: copy two stores into one folder and they are merged."""

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from cxrbench.cores import cores
from cxrbench.data.attributes import attributes
from cxrbench.data.manifest import Manifest
from cxrbench.engine.headers.header import PREDICTIONS, REASON, ReadHeader, header_at
from cxrbench.engine.headers.store import StoreHeaders
from cxrbench.errors import UserError
from cxrbench.files.atomic import writing
from cxrbench.files.names import safe_name
from cxrbench.files.records import read_record, write_record
from cxrbench.files.seal import DamagedError, damage
from cxrbench.memory import settled
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.predictions import NotApplicable, Predictions, without_rows
from cxrbench.task import Cell

State = Literal["done", "missing", "stale", "damaged", "not applicable"]


@dataclass(frozen=True)
class Results:
    """A results folder.

    ``cells/DATASET/PROTOCOL/ENCODER/fraction-F-seed-S.parquet`` (Predictions, or ``.json``: why there are none),
    ``manifests/DATASET-FINGERPRINT.parquet`` and ``encoders/ENCODER-FINGERPRINT.json`` (efficiency), names made safe
    for file systems; ``requests/SHA256.json``: what was asked (``engine/asked/requests.py``). Beside them ``failures``
    (``schedule/failures.py``) and, while several workers share the work, ``leases``, by the names of the cells.
    From packs of others: ``aggregates/DATASET-PROTOCOL-F.json``, and ``packs/*.json``, which were merged.
    """

    root: Path

    def path(self, cell: Cell) -> Path:
        """Where a cell's predictions lie."""
        folder = self.folder(cell.dataset, cell.protocol, cell.encoder)
        return folder / f"fraction-{exact(cell.fraction)}-seed-{cell.seed}{PREDICTIONS}"

    def folder(self, dataset: str, protocol: str, encoder: str) -> Path:
        """Where the cells of one encoder on one task lie."""
        return _folder(self.root, dataset, protocol, encoder)

    def manifest_path(self, dataset: str, fingerprint: str) -> Path:
        """Where the rows of a dataset of this fingerprint lie."""
        return self.root / "manifests" / f"{safe_name(dataset)}-{fingerprint[:12]}.parquet"

    def headers(self, cache: Path | None) -> StoreHeaders:
        """The headers of all cells as they are now, for who asks for many; ``cache``: where they are remembered."""
        return StoreHeaders(self.root / "cells", cache)

    def state(self, cell: Cell, *, allow_dropped: bool, header_at: ReadHeader = header_at) -> tuple[State, str]:
        """Whether a cell is done, missing, stale and why (which part of its identity has changed), damaged and how, or
        not applicable.

        ``allow_dropped``: whether a result from which bad images were dropped will do. ``header_at``: ``headers``, for
        who asks for many; else the cell's file is read.
        """
        try:
            found = header_at(self.path(cell))
        except DamagedError as error:
            return "damaged", error.reason
        except UserError as error:
            return "stale", str(error)
        if found is None:
            return "missing", ""
        old = found.facts["cell"]
        if old["identity"] != cell.identity:
            was = old["parts"]
            changed = [part for part in {**was, **cell.parts} if was.get(part) != cell.parts.get(part)]
            return "stale", f"{', '.join(changed) or 'its identity'} changed"
        if difference := _output_changed(old, cell.fixed):
            return "stale", difference
        if found.reason is not None:
            return "not applicable", found.reason
        if (dropped := found.facts["dataset"].get("dropped")) and not allow_dropped:
            return "stale", f"made with --on-bad-image skip, {dropped} images dropped"
        return "done", ""

    def save(self, cell: Cell, predictions: Predictions, permit: Callable[[], None] = lambda: None) -> None:
        """Keep a finished cell, in place of an older one. ``permit``: called before it is visible; may raise."""
        predictions.save(self.path(cell), _in_place_of(self.path(cell).with_suffix(REASON), permit))

    def save_not_applicable(
        self, cell: Cell, reason: str, *, synthetic: bool, permit: Callable[[], None] = lambda: None
    ) -> None:
        """Remember that a cell's encoder cannot serve it, in place of an older result. ``permit``: as for ``save``."""
        record = {"cell": cell.facts(), "reason": reason, "synthetic": synthetic}
        write_record(self.path(cell).with_suffix(REASON), record, _in_place_of(self.path(cell), permit))

    def load_not_applicable(self, headers: StoreHeaders | None = None) -> list[NotApplicable]:
        """Every cell that is not applicable, in a fixed order."""
        headers = self.headers(None) if headers is None else headers
        return [headers.of_file(file).not_applicable for file in headers.files(REASON)]

    def save_manifest(self, manifest: Manifest) -> None:
        """Keep the rows and splits that the cells were computed on, and what is known of the patients now."""
        path = self.manifest_path(manifest.name, manifest.fingerprint)
        if not path.exists() or damage(path) or not _attributes_kept(path, manifest):
            manifest.save(path)

    def manifest_of(self, dataset: str, fingerprint: str) -> Manifest | None:
        """What ``save_manifest`` kept, or None where it is not there. Raises UserError for a damaged one."""
        path = self.manifest_path(dataset, fingerprint)
        return Manifest.load(path) if path.is_file() else None

    def load_aggregates(self) -> list[dict[str, Any]]:
        """Columns that came as sufficient statistics, by name of their file. Raises DamagedError."""
        return [read_record(path) for path in sorted((self.root / "aggregates").glob("*.json"))]

    def load_predictions(self, tasks: Collection[str] = (), headers: StoreHeaders | None = None) -> list[Predictions]:
        """Every finished cell, in a fixed order. Raises UserError if there is none.

        ``tasks`` (``DATASET[:PROTOCOL]``): of the cells of other tasks the header alone is read, which says whose they
        are and how they were made; they come without rows. All rows without names. ``headers``: where they may be
        remembered.
        """
        headers = self.headers(None) if headers is None else headers
        files = list(headers.files(PREDICTIONS))
        if not files:
            raise UserError(f"no finished cells in {self.root}: run `cxrbench run` first, or give --results DIR")
        aside = {file: facts for file in files if (facts := _not_of(file, tasks, headers)) is not None}

        def loaded(file: Path) -> Predictions:
            return without_rows(aside[file], file) if file in aside else Predictions.load(file, partial(_is_of, tasks))

        with settled(), ThreadPoolExecutor(cores()) as pool:  # half of the time that a small file takes is not Python's
            return list(pool.map(loaded, files))

    def efficiency_path(self, encoder: str, fingerprint: str) -> Path:
        """Where an encoder's measured efficiency lies."""
        return self.root / "encoders" / f"{safe_name(encoder)}-{fingerprint[:12]}.json"

    def encoder_facts(self, encoder: str, fingerprint: str) -> dict[str, Any]:
        """What ``save_efficiency`` kept, or nothing. Raises DamagedError."""
        path = self.efficiency_path(encoder, fingerprint)
        facts = read_record(path) if path.exists() else {}
        return {name: value for name, value in facts.items() if name != "encoder"}

    def save_efficiency(self, encoder: str, fingerprint: str, facts: dict[str, Any]) -> None:
        """Keep an encoder's parameters, GFLOPs per image, images per second and feature width."""
        write_record(self.efficiency_path(encoder, fingerprint), {"encoder": encoder, **facts})

    def load_efficiency(self, predictions: Iterable[Predictions]) -> dict[str, dict[str, Any]]:
        """Efficiency by encoder name, for the encoders that the given cells come from."""
        found: dict[str, dict[str, Any]] = {}
        for p in predictions:
            name = p.cell["encoder"]
            if name not in found and (facts := self.encoder_facts(name, p.encoder["fingerprint"])):
                found[name] = facts
        return found


def _attributes_kept(path: Path, manifest: Manifest) -> bool:
    """Whether a kept manifest knows of the patients what this one does: that is no part of its fingerprint."""
    known = attributes(manifest.images)
    there = set(pq.read_schema(path).names)
    return {*known.columns} <= there and pq.read_table(path, columns=["image_id", *known.columns]).to_pandas().equals(
        known.reset_index()
    )


def _not_of(file: Path, tasks: Collection[str], headers: StoreHeaders) -> Mapping[str, Any] | None:
    """What the header of a cell says, if it is of none of the tasks; a damaged file is refused only if it is read."""
    with suppress(DamagedError):
        if tasks and not _is_of(tasks, (facts := headers.of_file(file).facts)["cell"]):
            return facts
    return None


def _is_of(tasks: Collection[str], cell: Mapping[str, Any]) -> bool:
    """Whether a cell is of one of the named tasks; of any without names."""
    return not tasks or cell["dataset"] in tasks or f"{cell['dataset']}:{cell['protocol']}" in tasks


def _in_place_of(path: Path, permit: Callable[[], None]) -> Callable[[], None]:
    """``permit``, and then the end of a file whose place a whole one takes, which raises DiskError."""

    def last() -> None:
        permit()
        with writing(path.parent):
            path.unlink(missing_ok=True)

    return last


@lru_cache(maxsize=4096)  # a plan of many cells asks for the same few
def _folder(root: Path, *names: str) -> Path:
    return root.joinpath("cells", *map(safe_name, names))


def exact(fraction: float) -> str:
    """A label fraction as a file name has it: ``0.1``, ``1``, and all digits where fewer would name another one."""
    short = f"{fraction:g}"
    return short if float(short) == fraction else repr(fraction)


def _output_changed(old: Mapping[str, Any], fixed: FixedFeatures | None) -> str | None:
    """Why a cell is not this encoder's, though every part of its identity is the same; None if it is."""
    if fixed is None or "fixed_images" not in old:
        return None
    try:
        kept = old["fixed_images"]
        return _difference(fixed, kept["pooled"], tuple(kept["maps"]), coarse=kept["coarse"])
    except (ValueError, KeyError, TypeError):
        return "what was kept of its output on two fixed images is damaged"


@lru_cache(maxsize=256)  # all cells of an encoder ask the same
def _difference(now: FixedFeatures, pooled: str, maps: tuple[str, ...], *, coarse: bool) -> str | None:
    return now.difference(FixedFeatures.from_json({"pooled": pooled, "maps": maps, "coarse": coarse}))
