"""Finished entries of the caches, as they are read: whole, or known to be damaged."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cxrbench.errors import UserError
from cxrbench.files.records import read_record
from cxrbench.files.seal import DamagedError

META = "meta.json"

Bad = tuple[tuple[str, str], ...]  # (path, reason) of images that cannot be read


@dataclass(frozen=True)
class Place:
    """Where an entry lies, how many rows it must have and of which type; ``file`` holds them."""

    folder: Path
    file: str
    dtype: DTypeLike
    rows: int


@dataclass(frozen=True)
class JournalRows:
    """A finished entry: rows [n, width] (NaN where the image is bad), and what is known of its making."""

    values: NDArray[Any]
    bad: Bad
    images_per_second: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    from_cache: bool = True


def intact_rows(place: Place) -> JournalRows | None:
    """A finished entry as it was written, or None: it is not there, or it is damaged. Nothing is changed."""
    try:
        return read_rows(place)
    except (DamagedError, FileNotFoundError):
        return None


def read_rows(place: Place) -> JournalRows:
    """A finished entry. Raises FileNotFoundError if there is none, DamagedError if it is not as it was written."""
    meta = read_meta(place.folder)
    if (meta["file"], meta["dtype"], meta["rows"]) != (place.file, np.dtype(place.dtype).str, place.rows):
        raise DamagedError(place.folder, "it holds other rows than its name says")
    values = np.memmap(place.folder / place.file, place.dtype, "r", shape=(place.rows, meta["width"]))
    bad = tuple((path, reason) for path, reason in meta["bad"])
    return JournalRows(values, bad, meta["images_per_second"], meta)


def read_meta(folder: Path) -> dict[str, Any]:
    """What a finished entry says of itself, once its rows are known to be those that were written.

    Reads all of it. Raises FileNotFoundError if there is no such folder, DamagedError.
    """
    folder.stat()
    try:
        meta = read_record(folder / META)
        with open(folder / meta["file"], "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            expected = meta["rows"] * meta["width"] * np.dtype(meta["dtype"]).itemsize
            if size != expected:
                raise DamagedError(folder, f"{meta['file']} has {size} bytes, not {expected}")
            if hashlib.file_digest(handle, "sha256").hexdigest() != meta["sha256"]:
                raise DamagedError(folder, f"the checksum of {meta['file']} does not fit")
    except FileNotFoundError as error:
        raise DamagedError(folder, f"it has lost {Path(error.filename).name}") from error
    except (NotADirectoryError, IsADirectoryError) as error:
        raise DamagedError(folder, "it is not what an entry looks like") from error
    except OSError as error:
        raise UserError(f"cannot read the cache entry {folder}: {error.strerror}; choose another --cache") from error
    except DamagedError as error:
        raise DamagedError(folder, error.reason) from error
    except KeyError as error:  # sealed, and not by this version
        raise DamagedError(folder, "another version of cxrbench wrote it") from error
    return meta


def damage_of(place: Place) -> str:
    """What is wrong with an entry that is not intact, without advice."""
    try:
        read_rows(place)
    except (DamagedError, FileNotFoundError) as error:
        reason = error.reason if isinstance(error, DamagedError) else "it is gone"
        return f"the cache entry {place.folder} is damaged ({reason})"
    return f"the cache entry {place.folder} was damaged"
