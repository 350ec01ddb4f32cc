"""What there is to choose from: encoders, installed or published, datasets and protocols, a user's own datasets."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.errors import UserError

if TYPE_CHECKING:
    from cxrbench.encoders.families.published.entry import PublishedEncoder
    from cxrbench.plugins.listing import Listing


CARDED = ("timm", "mae", "supervised", "spcl", "radjepa", "open_clip")
"""Encoders that read a card beside a file of weights that others have published."""


def list_encoders(*, check: bool = False) -> "list[Listing]":
    """A line per installed encoder. ``check``: import each one to see whether it can be (takes seconds)."""
    from cxrbench.plugins.listing import list_encoders

    return list_encoders(check=check)


def list_datasets(*, check: bool = False) -> "list[Listing]":
    """A line per dataset that can be read, as ``list_encoders``."""
    from cxrbench.plugins.listing import list_datasets

    return list_datasets(check=check)


def list_tasks(*, check: bool = False) -> "list[Listing]":
    """A line per protocol, as ``list_encoders``."""
    from cxrbench.plugins.listing import list_tasks

    return list_tasks(check=check)


def own_datasets(data: Path, known: Collection[str]) -> list[tuple[str, str]]:
    """Datasets of the data folder that are none of ``known``: their names, and what each is."""
    from cxrbench.engine.names import TABLES

    return [
        (path.parent.name, what)
        for table, what in TABLES.items()
        for path in sorted(data.glob(f"*/{table}"))
        if path.parent.name not in known
    ]


@dataclass(frozen=True)
class PublishedListing:
    """One line of ``cxrbench encoders list --published``. ``where``: its file or folder, the hub's cache, or "-"."""

    entry: "PublishedEncoder"
    where: str


def list_published() -> list[PublishedListing]:
    """Every published encoder by name, and whether it is on this machine. Raises UserError."""
    from cxrbench.encoders.families.published.catalogue import catalogue
    from cxrbench.encoders.families.published.places import found_here, in_hub_cache

    rows = []
    for entry in catalogue().values():
        path = found_here(entry)
        where = str(path) if path else "hub cache" if in_hub_cache(entry) else "-"
        rows.append(PublishedListing(entry, where))
    return rows


def find_published(name: str) -> "PublishedEncoder":
    """What is known of one, ``NAME`` or ``cxr:NAME``. Raises UserError with the nearest names."""
    from cxrbench.encoders.families.published.catalogue import published

    return published(name.removeprefix("cxr:"))


def download_commands(name: str, folder: Path | None = None) -> list[str]:
    """The exact commands that fetch it, or what a person must do. Raises UserError."""
    from cxrbench.encoders.families.published.download import commands

    return commands(find_published(name), folder)


def download(name: str, folder: Path | None = None) -> Path:
    """Run these commands; the file or folder that came. Raises UserError where a person must do it, or one fails."""
    from cxrbench.encoders.families.published.download import run

    return run(find_published(name), folder)


def write_card(encoder: str) -> Path:
    """Write ``FILE.toml`` beside the weights of ``timm:NAME@FILE``, ``mae@FILE`` or the like, to be filled in.

    It holds what is assumed without it. A bare file is taken for a plain ViT. Raises UserError, for weights that were
    trained here, too: they say it themselves.
    """
    from cxrbench.encoders.backbones.checkpoint import method_of
    from cxrbench.encoders.sidecar import write_sidecar
    from cxrbench.engine.registry import load_encoder
    from cxrbench.plugins.specs import parse_encoder

    path = Path(encoder).expanduser()
    spec = f"mae@{encoder}" if path.is_file() else encoder
    request = parse_encoder(spec)
    weights = Path(request.weights or "").expanduser()
    if request.name not in CARDED or not weights.is_file():
        ready = "; `cxrbench encoders download NAME` shows the card of a cxr: encoder" if request.name == "cxr" else ""
        raise UserError(
            f"{encoder}: give a file of weights, timm:NAME@FILE, mae@FILE, radjepa@FILE or open_clip:NAME@FILE{ready}"
        )
    if method := method_of(weights):
        raise UserError(f"{weights} was trained by {method} here and says its preprocessing and card itself")
    loaded = load_encoder(spec, synthetic=False)
    pooling = getattr(loaded.module, "pooling", None)
    return write_sidecar(weights, loaded.module.preprocess, loaded.spec.card, pooling)
