"""Stores and packs of several people in one: what is the same once, what is at odds named, nothing overwritten."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cxrbench.errors import UserError, chosen
from cxrbench.exchange.archive import opened
from cxrbench.exchange.changing import changing
from cxrbench.exchange.sameness import difference
from cxrbench.exchange.store_files import StoredFile, foreign_files, stored_files
from cxrbench.files.atomic import atomic_path, writing
from cxrbench.files.records import read_record, write_record
from cxrbench.files.seal import DamagedError, damage
from cxrbench.progress import Advance, unheard

Prefer = Literal["newest", "first"]


@dataclass(frozen=True)
class Conflict:
    """Two files of one place that differ: which was there first, which came later, in what, and which was kept."""

    what: str
    first: str
    second: str
    why: str
    kept: str = ""

    @property
    def line(self) -> str:
        """As it is told."""
        return f"conflict: {self.what}: {self.second} has {self.why} than {self.first}; kept: {self.kept or self.first}"


@dataclass(frozen=True)
class Merged:
    """What became of the files. ``added``, ``same``: counts by kind; ``settled``: whether conflicts were decided."""

    into: Path
    added: Mapping[str, int]
    same: Mapping[str, int]
    conflicts: tuple[Conflict, ...]
    damaged: tuple[str, ...]
    remarks: tuple[str, ...]
    settled: bool

    @property
    def in_peace(self) -> bool:
        """Whether nothing was damaged and nothing is left to be decided."""
        return not self.damaged and (self.settled or not self.conflicts)


@dataclass
class _Merging:
    """A merge that is going on. ``origin``: by place, whose file lies there now."""

    into: Path
    prefer: Prefer | None
    origin: dict[tuple[str, ...], str] = field(default_factory=dict)
    added: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    conflicts: list[Conflict] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def merge(sources: Sequence[Path], into: Path, *, prefer: str | None = None, advance: Advance = unheard) -> Merged:
    """Bring results folders and packs together in ``into``, which may have results already; these come first.

    Every file's checksum is looked at; damaged ones are named and left out. Of files that are at odds the one that was
    there is kept, unless ``prefer`` says ``newest`` (by the date at which a cell was computed) or ``first`` (the same,
    decided). Raises UserError for a source that is no store, or is ``into`` itself.
    """
    if prefer is not None:
        chosen("--prefer", Prefer, prefer)
    for source in sources:
        if source.resolve() == into.resolve():
            raise UserError(f"{source} is merged into itself: name another --into, or leave it out")
        if into.resolve().is_relative_to(source.resolve()):
            raise UserError(f"--into {into} lies in {source}, where it is no result: choose another place")
    merging = _Merging(into, prefer)  # type: ignore[arg-type]
    remarks: list[str] = []
    with ExitStack() as stack:
        stores = [(str(source), *stack.enter_context(opened(source))) for source in sources]
        stack.enter_context(changing(into, "merging into it"))
        for name, root, facts in stores:
            files = [*stored_files(root)]
            if not files:
                raise UserError(f"{name} holds no results: give a results folder or a file of `cxrbench results pack`")
            for done, file in enumerate(files):
                advance(done, len(files))
                _take(file, name, merging)
            if facts:
                _remember(Path(name), facts, into)
            if foreign := foreign_files(root):
                remarks.append(f"{name}: {len(foreign)} files are none of ours, left alone: {foreign[0]} ...")
    return Merged(
        into, dict(merging.added), dict(merging.same), tuple(merging.conflicts), tuple(merging.damaged),
        (*remarks, *_apart(into)), prefer is not None,
    )  # fmt: skip


def _take(file: StoredFile, source: str, merging: _Merging) -> None:
    """Put a file into its place, unless there is one that says the same, or another thing."""
    try:
        facts = file.facts()
    except DamagedError as error:
        merging.damaged.append(f"damaged, left out: {source}: {_called(file)} ({error.reason})")
        return
    except UserError as error:
        merging.damaged.append(f"left out: {error}")
        return
    there = _there(file, merging.into)
    if there is None:
        _copy(file, merging, source)
        merging.added[file.kind] += 1
        return
    whose = merging.origin.get(_place(there), str(merging.into))
    try:
        before = there.facts()
        why = difference(there, file)
    except UserError as error:
        merging.damaged.append(f"damaged, replaced: {whose}: {_called(there)} ({error}): {source} has a whole one")
        _replace(there, file, merging, source)
        return
    if why is None:
        merging.same[file.kind] += 1
        return
    if file.kind == "manifests" and why == "it knows more of the patients":
        _replace(there, file, merging, source)
        return
    newer = merging.prefer == "newest" and _date(facts) > _date(before)
    merging.conflicts.append(Conflict(_called(file, facts), whose, source, why, source if newer else whose))
    if newer:
        _replace(there, file, merging, source)


def _there(file: StoredFile, into: Path) -> StoredFile | None:
    """What lies in a file's place; predictions and why there are none have one place."""
    path = into.joinpath(*file.at)
    others = (
        (("cells", ".parquet"), ("not applicable", ".json")) if file.at[0] == "cells" else ((file.kind, path.suffix),)
    )
    for kind, suffix in others:
        found = path.with_name(path.name.removesuffix(path.suffix) + suffix)
        if found.is_file():
            return StoredFile(kind, found, found.relative_to(into).parts)  # type: ignore[arg-type]
    return None


def _copy(file: StoredFile, merging: _Merging, source: str) -> None:
    """The file's bytes, seal and all."""
    with atomic_path(merging.into.joinpath(*file.at)) as temporary:
        shutil.copyfile(file.path, temporary)
    merging.origin[_place(file)] = source


def _place(file: StoredFile) -> tuple[str, ...]:
    """Where a file lies, whichever kind of it lies there."""
    return (*file.at[:-1], Path(file.at[-1]).stem)


def _replace(there: StoredFile, file: StoredFile, merging: _Merging, source: str) -> None:
    _copy(file, merging, source)  # first: on a full disk what was there stays
    if there.kind != file.kind:
        with writing(there.path.parent):
            there.path.unlink()


def _called(file: StoredFile, facts: Mapping[str, Any] | None = None) -> str:
    """A cell by its coordinates, by those of its path where ``facts`` are damaged; anything else by its place."""
    if file.at[0] != "cells":
        return "/".join(file.at)
    if facts is not None:
        cell = facts["cell"]
        where = f"{cell['encoder']} on {cell['dataset']}:{cell['protocol']}"
        return f"{where}, fraction {cell['fraction']:g} seed {cell['seed']}"
    _, dataset, protocol, encoder, name = file.at
    return f"{encoder} on {dataset}:{protocol}, {Path(name).stem.removesuffix('.parquet').replace('-', ' ')}"


def _date(facts: Mapping[str, Any]) -> str:
    """When a cell was computed; of what says none "", which is older than any."""
    return str((facts.get("made") or {}).get("date", "") or facts.get("date", ""))


def _remember(pack: Path, facts: Mapping[str, Any], into: Path) -> None:
    """That a pack was merged, and with which salt it was made."""
    path = into / "packs" / f"{pack.stem[:60]}-{facts['salt'][:8] or 'aggregate'}.json"
    if not path.exists() or damage(path):
        write_record(path, {"content": facts["content"], "salt": facts["salt"], "version": facts["version"]})


def _salts(into: Path) -> set[str]:
    """The salts of the packs that were merged; a damaged record tells none, and is written again with its pack."""
    found = set[str]()
    for path in sorted((into / "packs").glob("*.json")):
        with suppress(DamagedError):
            found.add(str(read_record(path).get("salt") or ""))
    return found - {""}


def _apart(into: Path) -> list[str]:
    """Data sets whose cells are of several states, so that no table has them side by side, and why."""
    states: dict[str, set[str]] = defaultdict(set)
    for file in stored_files(into):
        if file.kind == "cells":
            try:
                cell = file.facts()["cell"]
            except UserError:
                continue
            states[str(cell["dataset"])].add(str(cell["parts"].get("dataset", "")))
    salts = _salts(into)
    why = "packed and not packed, or with several salts, or of several states of the data"
    lines = [
        f"{name}: its cells are of {len(of)} states ({why}), and only those of one are paired: a leaderboard shows the "
        "newest"
        for name, of in sorted(states.items())
        if len(of) > 1
    ]
    return lines + ([f"packs with {len(salts)} salts: their images are not paired"] if len(salts) > 1 else [])
