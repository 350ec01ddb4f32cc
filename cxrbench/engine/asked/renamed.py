"""What a results folder has come to call otherwise than a request of it does.

A request says what was asked then, and stays as it was asked, hash and all. Its record remembers beside that which
encoders and data sets of the folder were renamed since (``cxrbench results rename``), so that its cells are found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cxrbench.engine.asked.requests import RENAMED, request_path
from cxrbench.engine.plan import PlannedCell
from cxrbench.engine.registry import split_task
from cxrbench.files.records import read_record, write_record
from cxrbench.task import Cell

What = Literal["encoder", "dataset"]


@dataclass(frozen=True)
class NewName:
    """An encoder or a data set of a results folder that has another name since a request was made."""

    what: What
    old: str
    new: str


def remember_new_name(path: Path, name: NewName) -> bool:
    """Write down in a request's record what was renamed since: whether the request says the old name itself."""
    record = read_record(path)
    said = _said(record, name.what)
    known, one = record.get(RENAMED, []), [name.what, name.old, name.new]
    if known[-1:] != [one]:  # a renaming that goes on has perhaps been here
        write_record(path, record | {RENAMED: [*known, one]})
    return name.old in said


def new_names(root: Path, sha256: str) -> tuple[NewName, ...]:
    """What was renamed since a request of a results folder was made, the first one first."""
    path = request_path(root, sha256)
    return names_of(read_record(path)) if path.exists() else ()


def names_of(record: Mapping[str, Any]) -> tuple[NewName, ...]:
    """What was renamed since, as a request's record has it."""
    return tuple(NewName(what, old, new) for what, old, new in record.get(RENAMED, []))


def called_now(name: str, what: What, names: Sequence[NewName]) -> str:
    """What an encoder or a data set is called after all renamings."""
    for one in names:
        if (one.what, one.old) == (what, name):
            name = one.new
    return name


def cell_now(planned: PlannedCell, names: Sequence[NewName], prints: dict[tuple[str, str], str]) -> Cell:
    """A planned cell as ``cxrbench results rename`` has left it, with the identity that it gave it.

    A cell that was trained elsewhere has lost its identity with a data set's name, and is not found. ``prints``: by
    fingerprint and new name the fingerprint under it, which takes a while for many images; added to.
    """
    cell = planned.cell
    encoder, dataset = called_now(cell.encoder, "encoder", names), called_now(cell.dataset, "dataset", names)
    if dataset == cell.dataset or planned.manifest is None:
        return replace(cell, encoder=encoder)
    key = planned.manifest.fingerprint, dataset
    if key not in prints:
        prints[key] = replace(planned.manifest, name=dataset).fingerprint
    return replace(cell, encoder=encoder, dataset=dataset, parts={**cell.parts, "dataset": prints[key]})


def _said(record: Mapping[str, Any], what: What) -> set[str]:
    """The encoders or the data sets that a request names."""
    if what == "encoder":
        return {*record["encoders"]}
    tasks = {split_task(task)[0] for task in record["tasks"]}
    return {*record["objects"], *(record["settings"].get("train") or []), *tasks}
