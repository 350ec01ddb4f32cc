"""Options that several commands share, and the folders they stand for."""

import os
from pathlib import Path
from typing import Annotated

import typer
from platformdirs import user_cache_path

DataOption = Annotated[
    Path | None,
    typer.Option(envvar="CXRBENCH_DATA", help="Folder with one folder per dataset. Without it: phantom data."),
]
ResultsOption = Annotated[Path, typer.Option(help="Folder of finished cells.")]
CacheOption = Annotated[
    Path | None,
    typer.Option(envvar="CXRBENCH_CACHE", help="Folder for features and phantom data [default: user cache]."),
]
MaxPixelsOption = Annotated[int, typer.Option(min=1, help="Images with more pixels are refused before decoding.")]
MAX_PIXELS = 100_000_000  # cxrbench.data.images.MAX_PIXELS; importing that takes seconds
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def cache_folder(cache: Path | None) -> Path:
    """The cache folder: as given, else CXRBENCH_CACHE, else the user's cache folder."""
    named = cache or os.environ.get("CXRBENCH_CACHE")
    return Path(named).expanduser() if named else user_cache_path("cxrbench")


def phantom_folder(cache: Path | None) -> Path:
    """The phantom's data folder, written now if it is not there."""
    from cxrbench.console import counting
    from cxrbench.data.phantom import ensure

    with counting("phantom images") as progress:
        return ensure(cache_folder(cache), progress=progress)
