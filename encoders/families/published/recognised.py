"""Which published encoder a repository, a file or a folder is, so that its card is found without any network."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cxrbench.encoder import EncoderCard, Preprocess
from cxrbench.encoders.families.published.catalogue import catalogue, of_repository, of_sha256
from cxrbench.encoders.families.published.entry import PublishedEncoder
from cxrbench.files.digests import file_sha256
from cxrbench.files.names import WEIGHTS

HUB_FOLDER = re.compile(r"models--(.+?)--(.+)")  # of the hub's own cache
NATURAL = {"imagenet", "lvd142m", "lvd1689m", "web", "webli"}  # what encoders of X-rays began from
COMMON_MEANS = {0.5, 0.485, 0.48145466}  # normalizations that say nothing of the images


def card_of(
    loader: str, repository: str, method: str, licence: str = "unknown", *, preprocess: Preprocess | None = None
) -> EncoderCard:
    """The card of a repository's weights, or one with the method and licence that its file states.

    ``preprocess``: what its files say, so that what is known to be otherwise is told.
    """
    entry = of_repository(loader, repository)
    if entry is None:
        return EncoderCard(method, licence)
    return entry.card if preprocess is None else replace(entry.card, assumed=differing(entry, preprocess))


def of_file(path: Path) -> PublishedEncoder | None:
    """The encoder whose published file this is, by the sha256 of its content; None if it is not known."""
    return of_sha256(file_sha256(path)) if path.is_file() else None


def of_names(names: Iterable[str]) -> PublishedEncoder | None:
    """The encoder whose file has parts that no other's has: MRM's and MaCo's report towers."""
    names = list(names)
    for entry in catalogue().values():
        parts = entry.options.get("known_by", ())
        if parts and all(any(name.startswith(part) for name in names) for part in parts):
            return entry
    return None


def card_of_folder(loader: str, folder: Path, preprocess: Preprocess, method: str) -> EncoderCard:
    """The card of a folder with a repository's files: known by its content, wherever it lies and whatever its name.

    Its place in the hub's cache and the sha256 of its weights name one encoder; the model card in it (README.md), or a
    normalization that no other encoders have, may name several, and then all that any of them has seen is said.
    """
    if (entry := _by_place(loader, folder) or _by_weights(folder)) is not None:
        return replace(entry.card, assumed=differing(entry, preprocess))
    for how, found in (
        ("its README.md", _by_readme(loader, folder)),
        ("its normalization", _by_normalization(loader, preprocess)),
    ):
        if found:
            card = _joint(found, how)
            others = [differing(one, preprocess) for one in found]
            return replace(card, assumed=(*card.assumed, *others[0])) if all(others) else card
    return EncoderCard(method)


def differing(entry: PublishedEncoder, preprocess: Preprocess, said: Collection[str] = ()) -> tuple[str, ...]:
    """A sentence where files that came with the weights say another preprocessing than the entry: theirs is used.

    ``said``: what somebody says in place of both, and is told by itself.
    """
    theirs, ours = _widened(asdict(preprocess)), _widened(asdict(entry.preprocess))
    other = [f"{key} {theirs[key]} (here {ours[key]})" for key in ours if theirs[key] != ours[key] and key not in said]
    return (f"its files say other preprocessing, which is used: {', '.join(other)}",) if other else ()


def _widened(facts: dict[str, Any]) -> dict[str, Any]:
    """One mean for three equal ones, and rounded, so that only what differs does."""
    for key in ("mean", "std"):
        values = tuple(round(v, 4) for v in facts[key])
        facts[key] = values[:1] if len(set(values)) == 1 else values
    return facts | {"crop_pct": round(facts["crop_pct"], 3)}


def _by_place(loader: str, folder: Path) -> PublishedEncoder | None:
    matches = [match for part in folder.resolve().parts if (match := HUB_FOLDER.fullmatch(part))]
    return of_repository(loader, f"{matches[-1][1]}/{matches[-1][2]}") if matches else None


def _by_weights(folder: Path) -> PublishedEncoder | None:
    files = sorted(file for file in folder.iterdir() if file.suffix in WEIGHTS)
    found = [entry for file in files if (entry := of_sha256(file_sha256(file)))]
    return found[0] if found else None


def _by_readme(loader: str, folder: Path) -> list[PublishedEncoder]:
    """Encoders whose repository the model card names; those of natural images, from which others began, count last."""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8", errors="replace").lower() if readme.is_file() else ""
    names = (re.compile(rf"(?<![\w/-]){re.escape(e.id.removeprefix('hf-hub:').lower())}(?![\w-])") for e in _of(loader))
    found = [entry for entry, name in zip(_of(loader), names, strict=True) if name.search(text)]
    return [entry for entry in found if not NATURAL & set(entry.pretrained_on)] or found


def _by_normalization(loader: str, preprocess: Preprocess) -> list[PublishedEncoder]:
    if preprocess.mean[0] in COMMON_MEANS:
        return []
    said = (preprocess.mean[:1], preprocess.std[:1])
    return [entry for entry in _of(loader) if (entry.preprocess.mean[:1], entry.preprocess.std[:1]) == said]


def _of(loader: str) -> list[PublishedEncoder]:
    return [entry for entry in catalogue().values() if entry.loader == loader and entry.id]


def _joint(found: Sequence[PublishedEncoder], how: str) -> EncoderCard:
    """One card for what may be any of several encoders: everything that one of them has seen."""
    titles = " or ".join(entry.title for entry in found)
    licences = {entry.licence for entry in found}
    return EncoderCard(
        titles,
        licences.pop() if len(licences) == 1 else "unknown",
        tuple(dict.fromkeys(name for entry in found for name in entry.pretrained_on)),
        assumed=(f"taken for {titles} by {how}",),
    )
