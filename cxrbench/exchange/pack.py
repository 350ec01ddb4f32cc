"""From a results folder to one de-identified file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from cxrbench import __version__
from cxrbench.data.attributes import BANDS, BY, PREFIX, band
from cxrbench.data.manifest import COLUMNS, Manifest
from cxrbench.engine.asked.renamed import NewName, called_now, names_of
from cxrbench.engine.asked.requests import HERE, Request
from cxrbench.engine.names import is_path
from cxrbench.engine.registry import saved_task, split_task
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.exchange.archive import write_pack
from cxrbench.exchange.check import findings
from cxrbench.exchange.deidentified import Deidentifier
from cxrbench.exchange.encoder_names import without_folders
from cxrbench.exchange.salt import Salt
from cxrbench.exchange.store_files import StoredFile, stored_files
from cxrbench.exchange.traces import SHORTEST
from cxrbench.files.records import read_record, write_record
from cxrbench.files.seal import DamagedError
from cxrbench.predictions import NotApplicable, Predictions
from cxrbench.progress import Advance, unheard
from cxrbench.task import Cell

EFFICIENCY = ("parameters", "gflops_per_image", "images_per_second", "width", "device", "precision",
              "pretraining_wall_hours", "pretraining_gpu_hours", "pretraining_cpu_hours")  # fmt: skip
SMALL = 10
"""Patients below which a group of an attribute is named: whoever knows one of them may recognise them."""


@dataclass(frozen=True)
class Packed:
    """What was packed: counts by kind, and a line for everything that was left out, withheld or should be known."""

    file: Path
    counts: Mapping[str, int]
    lines: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclass
class Told:
    """Lines that are to be told, each once."""

    lines: dict[str, None] = field(default_factory=dict)

    def __call__(self, line: str) -> None:
        """Tell it."""
        self.lines[line] = None


def pack(results: Path, out: Path, salt: Salt, *, attributes: Sequence[str] = (), advance: Advance = unheard) -> Packed:
    """Write the cells of a results folder into one file in which images, studies and patients have pseudonyms.

    ``attributes``: sex, age (as a band), view, site, scanner of the tested images, for tables by group; none unless
    named. Damaged files are left out and named. Raises UserError if there is nothing to pack, or if what was written
    still looks as if it identified anybody.
    """
    if wrong := [name for name in attributes if name not in BY]:
        raise UserError(f"--attributes {','.join(wrong)}: choose from {', '.join(BY)}")
    files, damaged = whole([*stored_files(results)], results)
    known, told = identifiers(files), Told(dict.fromkeys(from_others(files)))
    clean = Deidentifier(salt, frozenset(known), told)
    with TemporaryDirectory(prefix="cxrbench-") as folder:
        store = Results(Path(folder))
        counts = Counter[str]()
        tested: dict[tuple[str, str], set[str]] = {}
        called: dict[str, str] = {}  # encoders, by what they were called
        for done, file in enumerate(files):
            advance(done, len(files))
            counts[file.kind] += 1
            if file.kind == "cells":
                one = Predictions.load(file.path)
                found = clean.predictions(one)
                was, now = str(one.cell["encoder"]), str(found.cell["encoder"])
                if (path := store.path(_cell(found.cell))).exists():  # the same weights in two folders
                    told(
                        f"once for two: {was} is called {now} without its folders, as another encoder that is the same"
                    )
                    counts["cells"] -= 1
                else:
                    found.save(path)
                called[was] = now
                key = str(one.cell["dataset"]), str(one.cell["parts"].get("dataset", ""))
                tested.setdefault(key, set()).update(one.rows.loc[one.rows["split"] == "test", "image_id"].astype(str))
            elif file.kind == "not applicable":
                reason = clean.not_applicable(NotApplicable(**read_record(file.path)))
                path = store.path(_cell(reason.cell)).with_suffix(".json")
                write_record(path, {"cell": reason.cell, "reason": reason.reason, "synthetic": reason.synthetic})
            elif file.kind == "encoders":
                _efficiency(file.path, clean, store)
            elif file.kind == "requests":
                _request(file.path, called, clean, store.root)
            else:
                counts[file.kind] -= 1
        if not counts["cells"]:
            others = "".join(f"; {line}" for line in told.lines)
            raise UserError(f"no finished cells in {results}: run `cxrbench run` first, or give --results DIR{others}")
        for (dataset, digest), ids in sorted(tested.items()) if attributes else ():
            path = Results(results).manifest_path(dataset, digest)
            if any(file.path == path for file in files):  # it is there, and whole
                manifest = Manifest.load(path)
                counts["manifests"] += 1
                kept = _attributes(manifest, ids, attributes, clean)
                kept.save(store.manifest_path(dataset, salt.fingerprint(digest)))
        if still := findings(store.root, known):
            raise UserError(
                f"not packed: {still[0].what} would stand in {still[0].where} ({len(still)} such places): leave it out "
                "of --attributes, call it otherwise (`cxrbench results rename`), or report this"
            )
        facts = {
            "content": "cells", "version": __version__, "salt": salt.check, "attributes": list(attributes),
            "counts": {kind: count for kind, count in counts.items() if count},
        }  # fmt: skip
        write_pack(store.root, facts, out)
    return Packed(out, {kind: count for kind, count in counts.items() if count}, tuple(told.lines), tuple(damaged))


def from_others(files: Sequence[StoredFile]) -> list[str]:
    """A line for each column that came as sufficient statistics: a pack is of what was computed here."""
    return [
        f"left out: {file.path.stem}, which came as an aggregate: send the pack that it came in along"
        for file in files
        if file.kind == "aggregates"
    ]


def identifiers(files: Sequence[StoredFile]) -> set[str]:
    """All identifiers of images, studies and patients of a store that are long enough to be looked for in texts."""
    found: set[str] = set()
    for file in files:
        if file.kind in ("cells", "manifests"):
            there = [c for c in ("image_id", "patient_id", "study_id", "path") if c in pq.read_schema(file.path).names]
            table = pq.read_table(file.path, columns=there)
            found |= {str(value) for name in there for value in table[name].unique().to_pylist()}
    return {name for name in found if len(name) >= SHORTEST}


def whole(files: Sequence[StoredFile], root: Path) -> tuple[list[StoredFile], list[str]]:
    """The files that are as they were written, and a line for each of the others."""
    found, damaged = [], []
    for file in files:
        try:
            file.facts()
            found.append(file)
        except DamagedError as error:
            damaged.append(f"damaged, left out: {file.path.relative_to(root)} ({error.reason})")
        except UserError as error:
            damaged.append(f"left out: {error}")
    return found, damaged


def _cell(facts: Mapping[str, Any]) -> Cell:
    return Cell(facts["encoder"], facts["dataset"], facts["protocol"], facts["fraction"], facts["seed"])


def _efficiency(path: Path, clean: Deidentifier, store: Results) -> None:
    facts = read_record(path)
    # the file's name ends in digits of the encoder's fingerprint
    fingerprint = path.stem.rpartition("-")[2]
    name = clean.encoder_name(str(facts["encoder"]), fingerprint)
    kept = {key: facts[key] for key in EFFICIENCY if key in facts}
    if "device" in kept:
        kept["device"] = clean.text(str(kept["device"]), f"device of {name}")
    store.save_efficiency(name, fingerprint, kept)


def _request(path: Path, called: Mapping[str, str], clean: Deidentifier, root: Path) -> None:
    """What was asked, without the machine and its folders: encoders and data sets by what they are called here."""
    facts = read_record(path)
    since = names_of(facts)

    def encoder(name: str) -> str:
        now = called_now(name, "encoder", since)
        return called.get(now) or _shown(now, clean)

    encoders = tuple(encoder(str(name)) for name in facts["encoders"])
    objects = tuple(encoder(called_now(str(name), "dataset", since)) for name in facts["objects"])
    tasks = tuple(_task(str(name), clean, since) for name in facts["tasks"])
    settings = {key: value for key, value in facts["settings"].items() if key not in HERE}
    if trained_on := settings.get("train"):
        settings["train"] = [called_now(str(name), "dataset", since) for name in trained_on]
    said = {key: _shown_all(value, clean) for key, value in settings.items()}
    request = Request(encoders, tasks, said, objects)
    record = {
        "sha256": request.sha256, "date": facts["date"], "version": facts["version"], "encoders": list(encoders),
        "tasks": list(tasks), "settings": said, "objects": list(objects),
    }  # fmt: skip
    write_record(root / "requests" / f"{request.sha256[:12]}.json", record)


def _task(text: str, clean: Deidentifier, since: Sequence[NewName]) -> str:
    """A task by its data set's name, where it was asked by the path of a table or a folder."""
    dataset, protocol = split_task(text)
    path = Path(dataset)
    if is_path(dataset):
        dataset = path.parent.name if path.stem == "labels" else path.stem
        with suppress(UserError, OSError):
            dataset = saved_task(str(path))
    elif len(path.parts) > 1:
        dataset = path.name
    dataset = called_now(dataset, "dataset", since)
    return _shown(dataset if protocol is None else f"{dataset}:{protocol}", clean)


def _shown(name: str, clean: Deidentifier) -> str:
    """A name in a request: of a path the last part."""
    return clean.text(without_folders(name, "").removesuffix("~"), "a request")


def _shown_all(value: Any, clean: Deidentifier) -> Any:
    if isinstance(value, list):
        return [_shown_all(one, clean) for one in value]
    return _shown(value, clean) if isinstance(value, str) else value


def _attributes(manifest: Manifest, ids: set[str], wanted: Sequence[str], clean: Deidentifier) -> Manifest:
    """What is known of the tested patients, and nothing else of the data set: no labels, paths, reports, boxes."""
    whole = manifest.images
    tested = whole["image_id"].isin(list(ids)) | whole["study_id"].isin(list(ids))
    images = pd.DataFrame(whole[tested]).reset_index(drop=True)
    named = [name if name == "view" else PREFIX + name for name in wanted]
    columns = [name for name in named if name in images.columns]
    nothing = {"view": "", "split": "test", "path": "", "bytes": 0}
    kept = pd.DataFrame(images[columns]).assign(
        **{name: value for name, value in nothing.items() if name not in columns},
        **{name: clean.pseudonyms(manifest.name, images[name].tolist()) for name in COLUMNS[:3]},
    )
    if (age := PREFIX + "age") in columns:
        kept[age] = [_band(str(cell)) for cell in kept[age].tolist()]
    for name in columns:
        for group, patients in _patients_by(kept, name).items():
            if group and len(patients) < SMALL:
                shown = band(group) if name == age else group
                clean.told(
                    f"few patients: {manifest.name} has {len(patients)} of {name.removeprefix(PREFIX)} {shown}, who "
                    "may be recognised by it"
                )
    return Manifest(manifest.name, Path("packed"), kept, (), synthetic=manifest.synthetic)


def _patients_by(images: pd.DataFrame, column: str) -> dict[str, set[str]]:
    """The patients of each group; an image without one is a patient of its own."""
    found: dict[str, set[str]] = {}
    for group, patient, image in zip(*(images[c].tolist() for c in (column, "patient_id", "image_id")), strict=True):
        found.setdefault(str(group), set()).add(patient or image)
    return found


def _band(age: str) -> str:
    """The first year of an age's band, which is in the same band."""
    return next((str(start) for start, _ in reversed(BANDS) if age and int(age) >= start), "")
