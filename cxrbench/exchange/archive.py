"""The exchange file: one sealed zip archive that holds a small store, and what was packed how (``pack.json``)."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cxrbench.errors import UserError
from cxrbench.exchange.store_files import DEPTH, stored_files
from cxrbench.files.atomic import atomic_path, writing
from cxrbench.files.names import is_folder_name, plain
from cxrbench.files.records import parsed
from cxrbench.files.seal import check, seal_zip

FACTS = "pack.json"
FORMAT = 1
SAID = ("content", "version", "salt")
"""Texts that every pack has among its facts."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every member: when a file was written is nobody's business."""
MOST_TIMES = 200  # times its own size that a pack may unpack to: what is more was made to fill a disk
AGAIN = "ask for it again"


def check_target(out: Path, results: Path) -> None:
    """Raise UserError if a pack would lie in the store that it is of, or take the place of something else.

    Something else is the salt, or somebody's table: a spreadsheet is a zip archive, too.
    """
    if out.resolve().is_relative_to(results.resolve()):
        raise UserError(f"--output {out} lies in the results folder, where it is no result: choose another place")
    if out.exists() and not _is_pack(out):
        raise UserError(f"--output {out} is there already, and no exchange file: choose another name")


def _is_pack(path: Path) -> bool:
    """Whether a file is called as an exchange file is from within, whole or not."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return FACTS in archive.namelist()


def write_pack(store: Path, facts: Mapping[str, Any], out: Path) -> None:
    """Put the files of a small store into one archive, whole or not at all. Raises UserError if the disk will not."""
    with atomic_path(out) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            text = json.dumps({"format": FORMAT, **facts}, indent=1, sort_keys=True).encode()
            archive.writestr(zipfile.ZipInfo(FACTS, EPOCH), text, zipfile.ZIP_DEFLATED)
            for file in stored_files(store):
                member = zipfile.ZipInfo("/".join(file.at), EPOCH)
                archive.writestr(member, file.path.read_bytes(), zipfile.ZIP_DEFLATED)
        seal_zip(temporary)


def read_facts(pack: Path) -> dict[str, Any]:
    """What a pack says of itself, its checksum looked at. Raises DamagedError, UserError."""
    try:
        with zipfile.ZipFile(pack) as archive:
            if FACTS not in archive.namelist():  # somebody's table: a spreadsheet is a zip archive, too
                raise UserError(f"{pack} is no exchange file: `cxrbench results pack` writes one")
            check(pack, AGAIN)
            facts = parsed(archive.read(FACTS), f"{pack}: {FACTS}")
    except zipfile.BadZipFile as error:
        check(pack, AGAIN)
        raise UserError(f"{pack} is no exchange file: `cxrbench results pack` writes one") from error
    if facts.get("format") != FORMAT or not all(isinstance(facts.get(name), str) for name in SAID):
        raise UserError(f"{pack} was written by another version of cxrbench: {AGAIN} from this one")
    return facts


@contextmanager
def opened(source: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A store to read: a results folder itself (and no facts), or the folder that a pack was unpacked to, for as long.

    Raises UserError for what is neither, and for a pack that is damaged or holds what no pack has.
    """
    if source.is_dir():
        yield source, {}
        return
    if not source.is_file():
        raise UserError(f"no results folder and no exchange file {source} (looked from {Path.cwd()})")
    if not zipfile.is_zipfile(source):
        raise UserError(f"{source} is no exchange file, or it is cut: `cxrbench results pack` writes one")
    facts = read_facts(source)
    with TemporaryDirectory(prefix="cxrbench-") as folder:
        with writing(Path(folder)):
            _unpack(source, Path(folder))
        yield Path(folder), facts


def _unpack(source: Path, folder: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        members = [member for member in archive.infolist() if member.filename != FACTS]
        if sum(member.file_size for member in members) > MOST_TIMES * source.stat().st_size:
            raise UserError(f"{source} unpacks to more than {MOST_TIMES} times its size: it is none of ours")
        for member in members:
            parts = member.filename.split("/")
            if not all(map(is_folder_name, parts)) or DEPTH.get(parts[0]) != len(parts):
                raise UserError(f"{source} holds {plain(member.filename)}, which no exchange file has: {AGAIN}")
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))
