"""Another name for an encoder or a data set, in every place of a store that holds the old one, but for requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cxrbench.data.manifest import Manifest
from cxrbench.engine.asked.renamed import NewName, remember_new_name
from cxrbench.engine.names import ALL
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.exchange.aggregates import name_of
from cxrbench.exchange.changing import changing
from cxrbench.exchange.renaming import Renaming, refuse_another, unfinished
from cxrbench.exchange.store_files import StoredFile, stored_files
from cxrbench.files.atomic import writing
from cxrbench.files.names import is_folder_name, plain
from cxrbench.files.records import read_record, write_record
from cxrbench.plugins.entry_points import DATASETS, found, unknown
from cxrbench.predictions import Predictions
from cxrbench.task import Cell

What = Literal["encoder", "dataset"]
TRAIN = "train-"  # how a word of a protocol begins that names what was trained on


@dataclass(frozen=True)
class Renamed:
    """What was renamed: an encoder or a data set, and how many files of each kind; ``remarks``: what stays."""

    what: What
    old: str
    new: str
    files: Mapping[str, int]
    remarks: tuple[str, ...] = ()


def rename(results: Path, old: str, new: str, *, what: What | None = None) -> Renamed:
    """Give an encoder or a data set of a results folder another name.

    An encoder's identity does not depend on its name and stays. A data set's name is part of its cells' identities,
    which become what a run under the new name would have, so that such a run finds them done. A built-in data set stays
    named where the source of images is meant (lineage, what encoders were pretrained on). Requests stay as they were
    asked, and remember the new name (``engine/asked/renamed.py``). Everything is read before anything is written; a
    renaming that was ended in its midst goes on where it is asked for again. Raises UserError: a name that is not
    there, or one that is taken; DamagedError.
    """
    _check_name(old, new)
    with changing(results, f"renaming {old}"):
        files = [*stored_files(results)]
        facts = [(file, file.facts()) for file in files]
        begun = unfinished(results)
        if begun is not None:
            refuse_another(begun, results, what, old, new)
        kind = _kind(results, facts, old, new, what) if begun is None else begun.what
        prints = {} if begun is None else begun.prints
        now = Renaming(kind, old, new, {**prints, **(_prints(files, old, new) if kind == "dataset" else {})})
        now.begin(results)
        if kind == "encoder":
            done = _of_encoder(Results(results), files, old, new)
        else:
            done = _of_dataset(Results(results), files, old, new, now.prints)
        now.end(results)
        return done


def _check_name(old: str, new: str) -> None:
    """Raise UserError for what is no name, or no new one."""
    if not new.strip() or new != new.strip() or not new.isprintable():
        raise UserError(f"{new!r} is no name: give one without blanks at its ends and without control characters")
    if not any(character.isalnum() for character in new):
        raise UserError(f"{plain(new)!r} is no name: give one with a letter or a digit in it")
    if old == new:
        raise UserError(f"{old} is called so already")


def _kind(
    results: Path, facts: Sequence[tuple[StoredFile, Mapping[str, Any]]], old: str, new: str, what: What | None
) -> What:
    """Which of the two is called ``old``. Raises UserError if none is, if both are, or if ``new`` is taken."""
    cells = [said["cell"] for file, said in facts if file.at[0] == "cells"]
    names = {one: {str(cell[one]) for cell in cells} for one in ("encoder", "dataset")}
    for record in (said for file, said in facts if file.kind == "aggregates"):
        names["encoder"] |= {*record["fingerprints"]}
        names["dataset"].add(str(record["task"][1]))
    kinds: list[What] = [one for one in ("encoder", "dataset") if old in names[one]]  # type: ignore[misc]
    if not kinds:
        known = set.union(*names.values()) if what is None else names[what]
        raise UserError(unknown(what or "encoder or data set", old, known))
    if what and what not in kinds:
        other = "an encoder" if what == "dataset" else "a data set"
        raise UserError(f"{old} is the name of {other}: leave out --{what}")
    if len(kinds) > 1 and what is None:
        raise UserError(f"an encoder and a data set are called {old}: say --encoder or --dataset")
    kind = what or kinds[0]
    if new in names[kind]:
        raise UserError(f"{results} has results of another {kind} that is called {new}: choose another name")
    _check_kind(kind, new)
    return kind


def _check_kind(kind: What, new: str) -> None:
    """Raise UserError for what nothing of this kind can be called, here as elsewhere; an encoder may have any spec."""
    if kind == "encoder" and ("," in new or new == ALL):
        raise UserError(f"{new!r} is no name of an encoder: --encoder takes several, between commas, and {ALL}")
    if kind == "dataset" and any(mark in new for mark in ":,+/@"):
        raise UserError(f"{new!r} is no name of a data set: it stands before a colon in tasks, so leave out : , + / @")
    if kind == "dataset" and not is_folder_name(new):
        raise UserError(f"{plain(new)!r} is no name of a data set: it must do as a folder's, so no dot in front, no \\")


def _of_encoder(store: Results, files: list[StoredFile], old: str, new: str) -> Renamed:
    counts: dict[str, int] = {}
    for file in files:
        if file.kind == "cells":
            one = Predictions.load(file.path)
            if one.cell["encoder"] == old:
                said = tuple(_headed(note, old, new) for note in one.notes)
                moved = replace(one, cell={**one.cell, "encoder": new}, notes=said, file=None)
                _save(store, file, moved)
                counts["cells"] = counts.get("cells", 0) + 1
        elif file.kind == "not applicable":
            record = read_record(file.path)
            if record["cell"]["encoder"] == old:
                record["cell"]["encoder"] = new
                _move(file, store.path(_cell(record["cell"])).with_suffix(".json"), record)
                counts["cells"] = counts.get("cells", 0) + 1
        elif file.kind == "encoders":
            record = read_record(file.path)
            if record["encoder"] == old:
                record["encoder"] = new
                _move(file, store.efficiency_path(new, _digits(file)), record)
                counts["efficiency"] = counts.get("efficiency", 0) + 1
        elif file.kind == "aggregates":
            counts["aggregates"] = counts.get("aggregates", 0) + _aggregate_of_encoder(file, old, new)
    remarks = _of_requests(files, NewName("encoder", old, new))
    return Renamed("encoder", old, new, {kind: n for kind, n in counts.items() if n}, tuple(remarks))


def _of_requests(files: list[StoredFile], name: NewName) -> list[str]:
    """Requests say what was asked then: they stay, and remember the new name. A remark if they say the old one."""
    said = sum([remember_new_name(file.path, name) for file in files if file.kind == "requests"])
    if not said:
        return []
    which = "a request says" if said == 1 else f"{said} requests say"
    return [f"{which} {name.old} as it was asked, and will; `cxrbench status` finds the cells, a pack has the new name"]


def _aggregate_of_encoder(file: StoredFile, old: str, new: str) -> int:
    """1 if a column has the encoder: its name is a key, and the first of the names that a number is of."""
    record = read_record(file.path)
    if old not in record["fingerprints"]:
        return 0

    def called(value: Any) -> Any:
        if isinstance(value, dict):
            return {new if key == old else key: called(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [called(inner) for inner in value]
        return new if value == old else value

    changed = {
        key: called(record[key])
        for key in ("marks", "assumed", "not_applicable", "fingerprints", "efficiency", "baseline")
        if key in record
    }
    keyed = ("values", "gains", "percentiles", "pairs", "headlines", "folds", "sd_seeds", "by_chance", "seeds")
    metrics = [metric | {key: called(metric[key]) for key in keyed} for metric in record["metrics"]]
    write_record(file.path, record | changed | {"metrics": metrics})
    return 1


def _renamed(manifest: Manifest, old: str, new: str) -> Manifest:
    """A data set's rows under its new name; of a built-in one the images stay images of it."""
    lineage = tuple(new if name == old and old not in found(DATASETS) else name for name in manifest.lineage)
    return replace(manifest, name=new, lineage=tuple(dict.fromkeys(lineage)))


def _prints(files: Sequence[StoredFile], old: str, new: str) -> dict[str, str]:
    """By the first digits of a fingerprint that cells know a data set by, which its file's name has, the new one."""
    manifests = ((file, Manifest.load(file.path)) for file in files if file.kind == "manifests")
    return {_digits(file): _renamed(one, old, new).fingerprint for file, one in manifests if one.name == old}


def _digits(file: StoredFile) -> str:
    """The first digits of a fingerprint that the name of a manifest's or an encoder's file ends in."""
    return file.path.stem.rpartition("-")[2]


def _of_dataset(store: Results, files: list[StoredFile], old: str, new: str, prints: Mapping[str, str]) -> Renamed:
    source = old in found(DATASETS)  # images of it are still images of it
    counts, remarks = {"cells": 0, "manifests": 0, "aggregates": 0}, []
    for file in files:
        if file.kind == "manifests" and (manifest := Manifest.load(file.path)).name == old:
            _renamed(manifest, old, new).save(store.manifest_path(new, prints[_digits(file)]))
            _unlink(file)
            counts["manifests"] += 1
    for file in files:
        if file.kind == "cells":
            one = Predictions.load(file.path)
            cell = _of_cell(one.cell, old, new, prints)
            encoder, dataset = (
                _known(one.encoder, "pretrained_on", old, new, source),
                _data(one.dataset, old, new, source),
            )
            if cell == one.cell and encoder == one.encoder and dataset == one.dataset:
                continue
            notes = tuple(_headed(note, old, new) for note in one.notes)
            _save(store, file, replace(one, cell=cell, encoder=encoder, dataset=dataset, notes=notes, file=None))
            counts["cells"] += 1
            if "training data" in cell["parts"]:
                remarks.append(f"cells that were trained elsewhere ({cell['protocol']}) will look stale to a run")
        elif file.kind == "not applicable":
            record = read_record(file.path)
            if (cell := _of_cell(record["cell"], old, new, prints)) != record["cell"]:
                _move(file, store.path(_cell(cell)).with_suffix(".json"), {**record, "cell": cell})
                counts["cells"] += 1
        elif file.kind == "aggregates" and (record := read_record(file.path))["task"][1] == old:
            record["task"][1] = new
            _move(file, file.path.with_name(f"{name_of(record)}.json"), record)
            counts["aggregates"] += 1
    remarks += _of_requests(files, NewName("dataset", old, new))
    if source:
        remarks.append(f"{old} stays named as the source of its images, so that encoders which saw them are marked")
    return Renamed("dataset", old, new, {k: n for k, n in counts.items() if n}, tuple(dict.fromkeys(remarks)))


def _of_cell(cell: Mapping[str, Any], old: str, new: str, prints: Mapping[str, str]) -> dict[str, Any]:
    """A cell's facts with the new name, and the identity that a run under it would have."""
    words = str(cell["protocol"]).split("+")
    protocol = "+".join(f"{TRAIN}{new}" if word == f"{TRAIN}{old}" else word for word in words)
    dataset = new if cell["dataset"] == old else cell["dataset"]
    if (protocol, dataset) == (cell["protocol"], cell["dataset"]):
        return dict(cell)
    parts = dict(cell["parts"])
    if dataset != cell["dataset"] and (fingerprint := prints.get(str(parts.get("dataset", ""))[:12])):
        parts["dataset"] = fingerprint
    moved = Cell(cell["encoder"], dataset, protocol, cell["fraction"], cell["seed"], parts)
    return {**cell, "dataset": dataset, "protocol": protocol, "parts": parts, "identity": moved.identity}


def _known(facts: Mapping[str, Any], key: str, old: str, new: str, source: bool) -> dict[str, Any]:
    """A list of data sets, in which a built-in one stays what it is."""
    if key not in facts or source or old not in facts[key]:
        return dict(facts)
    return {**facts, key: [new if name == old else name for name in facts[key]]}


def _data(facts: Mapping[str, Any], old: str, new: str, source: bool) -> dict[str, Any]:
    found = _known(facts, "lineage", old, new, source)
    if found.get("name") == old:
        found["name"] = new
    if "training" in found:
        found["training"] = [_data(one, old, new, source) for one in found["training"]]
    if "notes" in found:
        found["notes"] = [_headed(note, old, new) for note in found["notes"]]
    return found


def _headed(note: str, old: str, new: str) -> str:
    """A note that begins with the name, under the new one."""
    return f"{new}{note[len(old) :]}" if note.startswith(f"{old}: ") else note


def _save(store: Results, file: StoredFile, predictions: Predictions) -> None:
    """First the new file, then the old one goes: whoever is interrupted has both, and neither damaged."""
    path = store.path(_cell(predictions.cell))
    predictions.save(path)
    if path != file.path:
        _unlink(file)


def _move(file: StoredFile, path: Path, record: Mapping[str, Any]) -> None:
    write_record(path, record)
    if path != file.path:
        _unlink(file)


def _unlink(file: StoredFile) -> None:
    """The file, and a cell's folders that are empty without it."""
    with writing(file.path.parent):
        file.path.unlink()
        for folder in file.path.parents[: len(file.at) - 2]:
            if not any(folder.iterdir()):
                folder.rmdir()


def _cell(facts: Mapping[str, Any]) -> Cell:
    return Cell(facts["encoder"], facts["dataset"], facts["protocol"], facts["fraction"], facts["seed"])
