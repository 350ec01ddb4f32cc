"""What is in a store or a pack, whether it is whole, and what in it still looks like an identifier or a path."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cxrbench.data.manifest import METADATA_KEY, TABLES
from cxrbench.errors import UserError
from cxrbench.exchange.archive import opened
from cxrbench.exchange.salt import DIGITS
from cxrbench.exchange.store_files import StoredFile, foreign_files, stored_files
from cxrbench.exchange.traces import known_words, texts, traces
from cxrbench.files.seal import DamagedError

PSEUDONYM = re.compile(rf"[0-9a-f]{{{DIGITS}}}")
IDENTIFIERS = ("image_id", "patient_id", "study_id", "set id")
NAMED = frozenset({
    "encoder", "dataset", "pretrained_on", "lineage", "encoders", "tasks", "objects", "name", "train", "training",
    "task", "labels", "baseline", "values", "gains", "percentiles", "pairs", "folds", "sd_seeds", "by_chance",
    "counted", "tested", "undefined", "rare", "rests_on",
})  # fmt: skip
"""Keys whose values are names with a grammar, not sentences."""
LISTED = frozenset({"boxes", "true_boxes", "true_classes", "scores", "classes", "matches"})


@dataclass(frozen=True)
class Trace:
    """Something that may identify: ``what``, ``where`` (file and field), and an ``example`` of it."""

    what: str
    where: str
    example: str = ""


@dataclass(frozen=True)
class Checked:
    """A store or a pack. ``cells``: per data set and protocol how many, of which encoders. ``terms``: by data set."""

    source: Path
    facts: Mapping[str, Any]
    counts: Mapping[str, int]
    columns: tuple[Mapping[str, Any], ...]
    terms: Mapping[str, str]
    damaged: tuple[str, ...]
    foreign: tuple[str, ...]
    findings: tuple[Trace, ...]

    @property
    def clean(self) -> bool:
        """Whether it is whole and nothing in it looks as if it identified anybody."""
        return not (self.damaged or self.findings or self.foreign)


def checked(source: Path) -> Checked:
    """Look at a results folder or an exchange file. Changes nothing. Raises UserError for what is neither."""
    with opened(source) as (root, facts):
        counts, damaged, cells, columns, terms = Counter[str](), [], [], [], {}
        files = list(stored_files(root))
        if not files:
            raise UserError(f"{source} holds no results: give a results folder or a file of `cxrbench results pack`")
        for file in files:
            counts[file.kind] += 1
            try:
                found = file.facts()
            except DamagedError as error:
                damaged.append(f"{'/'.join(file.at)} ({error.reason})")
                continue
            except UserError as error:
                damaged.append(str(error))
                continue
            if file.kind == "aggregates":
                columns.append(_aggregated(found))
                terms.setdefault(str(found["task"][1]), _said(found["task"][0], ""))
            if file.kind == "cells":
                cells.append(found)
                terms[str(found["cell"]["dataset"])] = _terms(found)
        return Checked(
            source, facts, dict(counts), (*_columns(cells), *columns), terms, tuple(damaged),
            tuple(foreign_files(root)), tuple(findings(root)),
        )  # fmt: skip


def findings(root: Path, known: Collection[str] = ()) -> list[Trace]:
    """What of a store looks like an identifier, a path, an address or a date: each kind once per field of a file.

    ``known``: identifiers that must not stand in any text. Damaged files are passed over: they are named elsewhere.
    """
    found: dict[tuple[str, str], Trace] = {}
    for file in stored_files(root):
        try:
            for one in _of_file(file, known):
                found.setdefault((one.what, one.where), one)
        except (UserError, OSError, ValueError):
            continue
    return list(found.values())


def _of_file(file: StoredFile, known: Collection[str]) -> Iterator[Trace]:
    place = "/".join(file.at)
    if not known_words(place).isdisjoint(known):
        yield Trace("an identifier of the results", f"the name of {place}")
    facts = file.facts()
    if file.path.suffix == ".parquet":
        facts = facts | {"columns": pq.read_schema(file.path).names}
        yield from _of_columns(file.path, place)
        if file.kind == "manifests":
            facts |= _manifest_facts(file.path)
            metadata = pq.ParquetFile(file.path).metadata.metadata or {}
            tables = [name for name in TABLES if METADATA_KEY + b"." + name.encode() in metadata]
            yield from (Trace(f"a table of {name}", place) for name in tables)
    for at, text in texts(facts):
        name = any(part.split(" ")[0] in NAMED for part in at.split(".")) or at.endswith("(its name)")
        for what in traces(text, known, name=name):
            yield Trace(what, f"{at} of {place}", text[:80])


def _manifest_facts(path: Path) -> dict[str, Any]:
    """What a manifest says of itself beside its rows."""
    facts = json.loads((pq.ParquetFile(path).metadata.metadata or {})[METADATA_KEY])
    return {name: value for name, value in facts.items() if name not in ("fingerprint", "source")}


def _of_columns(path: Path, place: str) -> Iterator[Trace]:
    """Columns of identifiers that are no pseudonyms, and texts and outlines in the others."""
    schema = pq.read_schema(path)
    for name in schema.names:
        if name in LISTED and name not in ("boxes", "true_boxes"):
            continue
        if name.startswith(("rle:", "truth:")) or name in ("boxes", "true_boxes"):
            yield Trace("outlines, boxes or embeddings of patients", f"column {name} of {place}")
        elif str(schema.field(name).type) in ("string", "large_string"):
            for value in pq.read_table(path, columns=[name])[name].unique().to_pylist():
                if name in IDENTIFIERS and value and not PSEUDONYM.fullmatch(value):
                    yield Trace("an identifier that is no pseudonym", f"column {name} of {place}", str(value)[:80])
                    break
                if name == "path" and value:
                    yield Trace("a path", f"column {name} of {place}", str(value)[:80])
                    break
                if name not in (*IDENTIFIERS, "path") and value and (what := traces(value)):
                    yield Trace(what[0], f"column {name} of {place}", str(value)[:80])
                    break


def _columns(cells: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each data set and protocol."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in cells:
        groups.setdefault((str(one["cell"]["dataset"]), str(one["cell"]["protocol"])), []).append(one)
    for (dataset, protocol), of in sorted(groups.items()):
        encoders = sorted({str(one["cell"]["encoder"]) for one in of})
        yield {
            "task": f"{dataset}:{protocol}", "cells": len(of), "encoders": len(encoders),
            "fractions": len({one["cell"]["fraction"] for one in of}),
            "seeds": len({one["cell"]["seed"] for one in of}),
            "data": "synthetic" if of[0]["synthetic"] else "real",
        }  # fmt: skip


def _aggregated(record: Mapping[str, Any]) -> dict[str, Any]:
    """A row for a column of which no cell is there."""
    synthetic, dataset, protocol, _ = record["task"]
    return {
        "task": f"{dataset}:{protocol}", "cells": 0, "encoders": len(record["fingerprints"]), "fractions": 1,
        "seeds": max(of["seeds"][name] for of in record["metrics"] for name in of["seeds"]),
        "data": f"{'synthetic' if synthetic else 'real'}, aggregated",
    }  # fmt: skip


def _terms(header: Mapping[str, Any]) -> str:
    """Under which terms a data set is, as its adapter says it."""
    return _said(header["synthetic"], str(header["dataset"].get("licence") or ""))


def _said(synthetic: bool, licence: str) -> str:
    if synthetic:
        return "synthetic: anybody may share it"
    return licence or "nobody has said: ask whoever gave you the data"
