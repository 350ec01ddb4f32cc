"""What is known of one published encoder, each fact with the place where it was looked up, or marked unverified."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cxrbench.encoder import EncoderCard, Preprocess
from cxrbench.errors import UserError

FACTS = (
    "weights", "revision", "architecture", "preprocessing", "pooling", "parameters", "licence", "gated", "citation",
    "pretrained_on", "sha256",
)  # fmt: skip
"""What must have a source or be marked. ``weights``: id, file and layout; ``citation``: the year, too."""
SAID = ("title", "architecture", "maps", "pooling", "licence", "citation", "year", "pretrained_on", "parameters",
        "download", "preprocess")  # fmt: skip
"""What every entry says, verified or not."""
LOADERS = ("hf", "open_clip", "timm", "vit", "jepa", "eva", "swin", "dinov2", "resnet", "densenet", "biovil",
           "chexagent", "radjepa")  # fmt: skip

BY_ID = ("hf", "open_clip", "timm", "chexagent", "radjepa")
"""Loaders that find the weights by the ``id``; the others by the name of the ``file``."""


@dataclass(frozen=True, kw_only=True)
class PublishedEncoder:
    """One published encoder.

    ``loader``: a family (hf, timm, open_clip) or a file layout. ``id``: repository, timm's or open_clip's name;
    ``file``: the weights' file, in the repository or as it is downloaded. ``options``: what the layout must be told.
    ``preprocess`` is for pixels in [0, 1]; where the source states mean and deviation for other numbers (0..255,
    [-1024, 1024]), they were converted. ``deviation``: what is done otherwise than by the authors, and why. ``seen``:
    what it was trained on that is no data set of ours. ``sha256``: of the file, or how it begins. ``download``:
    commands, or sentences where only a person can; {folder} is the folder to fill. ``sources``: fact -> where it was
    looked up; ``unverified``: facts that could not be.
    """

    name: str
    title: str
    loader: str
    architecture: str
    maps: str
    pooling: str
    licence: str
    citation: str
    year: int
    preprocess: Preprocess
    id: str = ""
    file: str = ""
    revision: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    terms: str = ""
    gated: bool | None = None
    pretrained_on: tuple[str, ...] = ()
    seen: str = ""
    sha256: str = ""
    download: tuple[str, ...] = ()
    deviation: str = ""
    refused: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    unverified: tuple[str, ...] = ()

    @property
    def spec(self) -> str:
        """How it is named."""
        return f"cxr:{self.name}"

    @property
    def card(self) -> EncoderCard:
        """What the leaderboard is told."""
        return EncoderCard(
            self.title, self.licence, self.pretrained_on, year=self.year, citation=self.citation,
            unverified=self.unverified,
        )  # fmt: skip


def entry_of(name: str, table: Mapping[str, Any], shared: Mapping[str, Any], where: str) -> PublishedEncoder:
    """The entry that a table of a catalog file describes, on top of what its family shares.

    Raises UserError where a fact has neither a source nor a mark, or both, or a source and no value, where something
    that a card must say is missing, and where a key is unknown.
    """
    merged = {**shared, **table}
    merged |= {key: {**shared.get(key, {}), **table.get(key, {})} for key in ("sources", "preprocess", "options")}
    unverified = {*shared.get("unverified", ()), *table.get("unverified", ())}
    sources = {fact: text for fact, text in merged["sources"].items() if fact not in table.get("unverified", ())}
    unverified -= set(table.get("sources", {}))
    if missing := [fact for fact in FACTS if fact not in sources and fact not in unverified]:
        raise UserError(f"{where} {name}: no source of {', '.join(missing)}; name one or list it as unverified")
    if strange := sorted((set(sources) | unverified) - set(FACTS)) + sorted(set(sources) & unverified):
        raise UserError(f"{where} {name}: {', '.join(strange)} is no fact, or has a source and is marked unverified")
    if merged.get("loader") not in LOADERS:
        raise UserError(f"{where} {name}: loader {merged.get('loader')!r} is none of {', '.join(LOADERS)}")
    if unsaid := [fact for fact in FACTS if fact in sources and not _said(fact, merged)]:
        raise UserError(f"{where} {name}: {', '.join(unsaid)} has a source and no value; say it or mark it unverified")
    if unsaid := [key for key in SAID if not merged.get(key)]:
        raise UserError(f"{where} {name}: says nothing of {', '.join(unsaid)}")
    preprocess = merged.pop("preprocess")
    lists: dict[str, Any] = {key: tuple(merged[key]) for key in ("pretrained_on", "download") if key in merged}
    try:
        lists["preprocess"] = Preprocess(**preprocess | {key: tuple(preprocess[key]) for key in ("mean", "std")})
        known: dict[str, Any] = {"name": name, "sources": sources}
        known["unverified"] = tuple(fact for fact in FACTS if fact in unverified)
        return PublishedEncoder(**{**merged, **lists, **known})
    except (TypeError, KeyError) as error:
        raise UserError(f"{where} {name}: {error}") from error


def _said(fact: str, merged: Mapping[str, Any]) -> bool:
    """Whether a fact that has a source has a value."""
    if fact == "weights":
        return bool(merged.get("id" if merged.get("loader") in BY_ID else "file"))
    if fact == "gated":
        return isinstance(merged.get("gated"), bool)
    return bool(merged.get("preprocess" if fact == "preprocessing" else fact))
