"""What an encoder has seen, in the names that data sets have here: on these the contamination marks rest."""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from cxrbench.encoder import EncoderCard
from cxrbench.plugins.entry_points import DATASETS, loadable

ALSO_CALLED = {"chestxray14": "nih", "chestxray8": "nih", "cxr14": "nih", "cxr8": "nih", "openi": "iu-xray"}
SAYS_NOTHING = {"cxr", "jpg", "chest", "chestx", "x", "ray", "xray", "ray14", "ray8", "xray14", "xray8", "cxr14",
                "cxr8", "pneumonia", "pneumothorax", "acr", "small", "v1", "v2"}  # fmt: skip
"""Words that stand beside a data set's name and make no other data set of it: mimic-cxr-jpg, but not vindr-pcxr."""


def in_known_names(card: EncoderCard) -> EncoderCard:
    """The card with the names of installed data sets, and with those that their images were taken from.

    ``MIMIC-CXR`` is taken for ``mimic``, and that is said. Who has seen ``rsna`` has seen images of ``nih``.
    """
    if not card.pretrained_on:
        return card
    lineages = {name: tuple(getattr(one, "lineage", ())) for name, one in loadable(DATASETS, "dataset").items()}
    return with_lineage(card, lineages)


def with_lineage(card: EncoderCard, lineages: Mapping[str, tuple[str, ...]]) -> EncoderCard:
    """As ``in_known_names``; ``lineages``: data sets and the data sets that their images were taken from."""
    names = {said: known_name(said, lineages) for said in card.pretrained_on}
    seen = [one for name in names.values() for one in (name, *lineages.get(name, ()))]
    taken = [f"its card's {said!r} is taken for the data set {name}" for said, name in names.items() if said != name]
    return replace(card, pretrained_on=tuple(dict.fromkeys(seen)), assumed=(*card.assumed, *taken))


def known_name(said: str, datasets: Collection[str]) -> str:
    """The data set that is meant, or what was said if that is none of them (``imagenet``, ``phantom:mimic``)."""
    if said in datasets or ":" in said:
        return said
    words = re.findall(r"[a-z0-9]+", said.lower())
    plain = "".join(words)
    for name in datasets:
        if plain == re.sub(r"[^a-z0-9]", "", name):
            return name
    meant = [word for word in words if word in datasets]
    if len(meant) == 1 and set(words) - {*meant} <= SAYS_NOTHING:
        return meant[0]
    other = ALSO_CALLED.get(plain, said)
    return other if other in datasets else said
