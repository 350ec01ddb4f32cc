"""Names that any file system takes, and names that a terminal and a table can show."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

SHOWN = 3
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".npz")
"""How files of weights end."""


@lru_cache(maxsize=4096)  # a plan of many cells asks for the same few
def safe_name(name: str) -> str:
    """A file name for any string: itself if it is harmless, else cleaned, with a few digits of its hash."""
    clean = re.sub(r"[^A-Za-z0-9._+-]+", "_", name).strip("._-")
    return name if clean == name else f"{clean[-60:]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def is_folder_name(name: str) -> bool:
    """Whether a name stays in the folder that it is put into: one part of a path, not hidden, no control characters."""
    return re.fullmatch(r"[^/\\.\x00-\x1f][^/\\\x00-\x1f]{0,199}", name) is not None


def visible(text: str) -> str:
    """The text with every character that would move, hide or reorder its neighbours written out as an escape.

    Line breaks, terminal escapes, bidirectional controls and zero-width characters may stand in a file's or a label's
    name; shown as they are, one name could pass for another or rewrite the screen.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else ascii(c)[1:-1] for c in text)


def some(names: Sequence[str]) -> str:
    """The first few of a list of names, on one line."""
    shown = [plain(name) or "''" for name in names[:SHOWN]]  # an empty name would not be seen
    return ", ".join([*shown, *(["..."] if len(names) > SHOWN else [])])


def plain(text: str) -> str:
    """Text from a file as a message may show it: on one line, at most 100 characters."""
    text = visible(text)
    return text if len(text) <= 100 else f"{text[:97]}..."
