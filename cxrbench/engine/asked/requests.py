"""What was asked of a run, as a TOML file that a paper can publish and as the results folder remembers it."""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cxrbench import __version__
from cxrbench.data.tables import read_text
from cxrbench.engine.settings import Settings, checked_settings
from cxrbench.errors import UserError
from cxrbench.files.names import plain
from cxrbench.files.records import read_record, write_record
from cxrbench.files.seal import DamagedError
from cxrbench.files.toml import toml_value
from cxrbench.plugins.entry_points import unknown

HERE = frozenset(
    {
        "data", "results", "text_encoder", "ecg_teacher", "labs_teacher", "device", "batch_size", "workers",
        "max_pixels", "cache", "cache_limit", "log", "executor", "retries",
    }
)  # fmt: skip
"""Settings of the machine and its folders: the same request elsewhere has others, and the same hash."""
NAMED = ("encoders", "tasks")
SHOWN = 12  # digits of a request's hash that name it
RENAMED = "renamed"
"""What a record has beside the request: which names of the folder are others since (``engine/asked/renamed.py``)."""


@dataclass(frozen=True)
class Request:
    """What a run was asked: encoders, tasks, and the settings that were said, as plain values.

    ``objects``: those of the names that stand for objects of a program, which no file can name.
    """

    encoders: tuple[str, ...]
    tasks: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    objects: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Hex digest of all that is not of one machine; the order of keys does not count, that of names does."""
        said = {name: value for name, value in self.settings.items() if name not in HERE}
        whole = json.dumps([self.encoders, self.tasks, said, self.objects], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()

    def to_toml(self) -> str:
        """A run file. What is of one machine stands behind a #: elsewhere it would be somebody else's folder."""
        lines = [f"{name} = {toml_value(getattr(self, name))}" for name in NAMED]
        said = [(name in HERE, f"{name} = {toml_value(value)}") for name, value in self.settings.items()]
        lines += [line for here, line in said if not here]
        if here := [f"# {line}" for of_machine, line in said if of_machine]:
            lines += ["# Of the machine that it ran on:", *here]
        if self.objects:
            lines.insert(0, f"# objects of a program, which a file cannot name: {', '.join(self.objects)}")
        return "\n".join(lines) + "\n"


def requested(
    encoders: Sequence[str], tasks: Sequence[str], settings: Mapping[str, Any], objects: Sequence[str] = ()
) -> Request:
    """A request of checked settings: folders as texts, numbers in lists."""
    said = {name: _plain(settings[name]) for name in Settings.__annotations__ if name in settings}
    return Request(tuple(encoders), tuple(tasks), said, tuple(objects))


def read_run_file(path: Path) -> dict[str, Any]:
    """What a run file says, by key: ``encoders``, ``tasks``, and settings as of ``cxrbench.run``.

    Raises UserError, one line with the file's name, for what is no TOML, a key that is none (with the nearest), and a
    value of the wrong type.
    """
    try:
        values = tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as TOML ({plain(str(error))})") from error
    known = [*NAMED, *Settings.__annotations__]
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{path}: {unknown('key', name, known)}")
        if name in NAMED and not _is_names(value):
            raise UserError(
                f'{path}: {name} is {plain(repr(value))}: give a list of names, e.g. ["imagenet", "random"]'
            )
    for name in NAMED:
        if name not in values:
            raise UserError(f"{path} has no {name}: a run file names encoders and tasks")
    try:
        checked_settings({name: value for name, value in values.items() if name not in NAMED})
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return values


def save_request(root: Path, request: Request) -> None:
    """Keep a request in a results folder, once. Raises DiskError.

    What was renamed since it was made is forgotten: it is asked again, under the names that it says. A record that is
    damaged is written again.
    """
    path = request_path(root, request.sha256)
    known: dict[str, Any] = {}
    with suppress(FileNotFoundError, NotADirectoryError, DamagedError):  # writing tells what is wrong with a folder
        known = read_record(path)
        if RENAMED not in known:
            return
        del known[RENAMED]
    facts = known or {
        "sha256": request.sha256, "date": datetime.now(UTC).isoformat(timespec="milliseconds"), "version": __version__,
        "encoders": list(request.encoders), "tasks": list(request.tasks), "settings": dict(request.settings),
        "objects": list(request.objects),
    }  # fmt: skip
    write_record(path, facts)


def request_path(root: Path, sha256: str) -> Path:
    """Where a results folder has a request."""
    return _folder(root) / f"{sha256[:SHOWN]}.json"


def load_requests(root: Path, sha256: str = "") -> list[dict[str, Any]]:
    """What was asked of the runs of a results folder, the first one first, each with its run file as ``toml``.

    ``sha256``: how the hash of those begins that are meant. Raises DamagedError for one of them that is not as it was
    written.
    """
    files = [path for path in sorted(_folder(root).glob("*.json")) if path.stem.startswith(sha256[:SHOWN])]
    found = [one for one in map(read_record, files) if one["sha256"].startswith(sha256)]
    for one in found:
        one["toml"] = Request(
            tuple(one["encoders"]), tuple(one["tasks"]), one["settings"], tuple(one["objects"])
        ).to_toml()
    return sorted(found, key=lambda one: (one["date"], one["sha256"]))


def find_request(root: Path, sha256: str = "") -> Request:
    """The request of a results folder whose hash begins so; with "" the only one. Raises UserError, DamagedError."""
    found = load_requests(root, sha256) if root.is_dir() else []
    if not found:
        which = f"that begins with {sha256!r}" if sha256 else "of any run"
        raise UserError(f"{root} has no request {which}: `cxrbench run ...` makes one, `cxrbench requests` lists them")
    if len(found) > 1:
        hashes = ", ".join(one["sha256"][:SHOWN] for one in found[:5]) + (", ..." if len(found) > 5 else "")
        raise UserError(
            f"{root} has {len(found)} requests ({hashes}): say --request HASH, `cxrbench requests` lists them"
        )
    (one,) = found
    return Request(tuple(one["encoders"]), tuple(one["tasks"]), one["settings"], tuple(one["objects"]))


def _folder(root: Path) -> Path:
    return root / "requests"


def _is_names(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return isinstance(names, list) and bool(names) and all(isinstance(name, str) and name for name in names)


def _plain(value: Any) -> Any:
    """As JSON and TOML have it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
