"""The published encoders by name, by repository and by the sha256 of their weights, read from ``catalog/*.toml``."""

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from cxrbench.encoders.families.published.entry import PublishedEncoder, entry_of
from cxrbench.errors import UserError
from cxrbench.plugins.entry_points import unknown

FOLDER = Path(__file__).with_name("catalog")
SHARED = "shared"  # the table of what all encoders of a file have in common
SHORTEST = 8  # hexadecimal digits of a sha256 that say enough: file names of PyTorch's hub have as many


@functools.cache
def catalogue() -> Mapping[str, PublishedEncoder]:
    """Every entry by name, sorted. Raises UserError for a catalog file that is not whole."""
    found: dict[str, PublishedEncoder] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        shared = tables.pop(SHARED, {})
        for name, table in tables.items():
            if name in found:
                raise UserError(f"{path.name} {name}: there is another encoder of that name")
            found[name] = entry_of(name, table, shared, path.name)
    return MappingProxyType(dict(sorted(found.items())))


def published(name: str) -> PublishedEncoder:
    """The encoder of a name. Raises UserError with the nearest ones."""
    entries = catalogue()
    if name.lower() not in entries:
        raise UserError(unknown("published encoder", name, entries))
    return entries[name.lower()]


def of_repository(loader: str, repository: str) -> PublishedEncoder | None:
    """The encoder whose weights a repository (or timm's, open_clip's name) holds alone; the hub ignores case."""
    wanted = (loader, repository.removeprefix("hf-hub:").removeprefix("timm/").lower())
    found = [e for e in catalogue().values() if (e.loader, e.id.removeprefix("hf-hub:").lower()) == wanted]
    return found[0] if len(found) == 1 else None


def of_sha256(digest: str) -> PublishedEncoder | None:
    """The encoder whose published file has this hex sha256 (or begins with what is known of it)."""
    found = [e for e in catalogue().values() if len(e.sha256) >= SHORTEST and digest.startswith(e.sha256)]
    return found[0] if len(found) == 1 else None
