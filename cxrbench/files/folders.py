"""Where things lie that nobody named a place for, and what lies in a folder that other processes change."""

import os
from pathlib import Path


def cache_folder(cache: Path | str | None) -> Path:
    """The cache folder: as given, else CXRBENCH_CACHE, else the user's cache folder."""
    from platformdirs import user_cache_path

    named = cache or os.environ.get("CXRBENCH_CACHE")
    return Path(named).expanduser() if named else user_cache_path("cxrbench")


def data_folder(data: Path | str | None) -> Path | None:
    """The data folder: as given, else CXRBENCH_DATA, else None, which means the phantom."""
    named = data or os.environ.get("CXRBENCH_DATA")
    return Path(named).expanduser() if named else None


def below(folder: Path) -> list[Path]:
    """Files and folders below a folder, at any depth; of what another process removes or renames, what is found.

    ``Path.glob`` and ``rglob`` raise FileNotFoundError if a folder goes between two of their looks.
    """
    return [Path(place, name) for place, folders, names in os.walk(folder) for name in (*folders, *names)]
