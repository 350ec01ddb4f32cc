"""Small JSON files of ours: an object that says whether it is as it was written."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path
from cxrbench.files.seal import BLANK, DamagedError, check, seal

FIELD = "seal"
LONGEST = 64 << 20  # bytes: nothing of ours is longer, and a hostile text would fill the memory


def write_record(path: Path, content: Mapping[str, Any], permit: Callable[[], None] = lambda: None) -> None:
    """Keep plain values under names, atomically and with a checksum. Raises UserError if the disk will not.

    ``permit``: as for ``atomic_path``.
    """
    with atomic_path(path, permit=permit) as temporary:
        temporary.write_text(json.dumps({**content, FIELD: BLANK}, indent=1) + "\n", encoding="utf-8")
        seal(temporary)


def read_record(path: Path, advice: str = "delete it and run again") -> dict[str, Any]:
    """What ``write_record`` kept. Raises DamagedError if it is anything else, OSError if it cannot be read."""
    if path.stat().st_size > LONGEST:
        raise DamagedError(path, "it is too long to be one of ours", advice)
    check(path, advice)
    try:
        content = parsed(path.read_bytes(), path)
    except UserError as error:
        raise DamagedError(path, "it is no JSON object", advice) from error
    return {name: value for name, value in content.items() if name != FIELD}


def parsed(text: str | bytes, path: object) -> dict[str, Any]:
    """A JSON object from text that others may have written. Raises UserError, one line that names ``path``."""
    try:
        content = json.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except RecursionError as error:
        raise UserError(f"{path} holds JSON that is nested too deep to be meant: fetch it again") from error
    except ValueError as error:  # not UTF-8, not JSON
        raise UserError(f"{path} holds no JSON ({error}): fetch it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a JSON {type(content).__name__}, not an object: fetch it again")
    return content
