"""What a phantom dataset says, in one number: its tables as they are, its images by their gray values."""

import hashlib
from pathlib import Path

import numpy as np

from cxrbench.data.decode.images import decode
from cxrbench.files.digests import file_sha256
from cxrbench.phantom.write import MARKER

TABLES = {".csv", ".txt", ".toml", ".json", ".jsonl"}


def file_digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder, by its path there."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): file_sha256(path) for path in files}


def digest(folder: Path) -> str:
    """The first 16 digits of a sha256 over the dataset's files, the marker apart."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith(".") or path.name == MARKER:
            continue
        whole.update(str(path.relative_to(folder)).encode())
        if path.suffix in TABLES:
            whole.update(path.read_bytes())
        elif path.suffix == ".npy":
            whole.update(np.ascontiguousarray(np.load(path)).tobytes())
        else:
            whole.update(np.rint(np.asarray(decode(path)) * 255).astype(np.uint8).tobytes())
    return whole.hexdigest()[:16]
