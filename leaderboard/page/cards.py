"""What the cells of a store say of their encoders, for people: weights, preprocessing, pretraining, licence, cost."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cxrbench.leaderboard.page.inside import Facts
from cxrbench.predictions import Predictions

UNKNOWN = "not said"


def cards(predictions: Iterable[Predictions]) -> dict[str, Facts]:
    """The facts of each encoder, each once; those of its cells on phantom images may be others (shipped weights)."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for one in predictions:
        found.setdefault(str(one.cell["encoder"]), {}).update(dict.fromkeys(_facts(one)))
    return {encoder: _in_order(facts) for encoder, facts in sorted(found.items())}


def _in_order(facts: Iterable[tuple[str, str]]) -> Facts:
    """Facts of one name beside each other."""
    names = list(dict.fromkeys(name for name, _ in facts))
    return tuple(sorted(facts, key=lambda fact: names.index(fact[0])))


def _facts(one: Predictions) -> Iterator[tuple[str, str]]:
    """Of one cell. What an older file does not say is left out."""
    card: Mapping[str, Any] = one.encoder
    parts: Mapping[str, Any] = one.cell.get("parts", {})
    if method := card.get("method"):
        yield "Method", str(method)
    yield "Pretrained on", _listed(card.get("pretrained_on", ()))
    yield "Licence", str(card.get("licence") or UNKNOWN)
    if (count := card.get("parameters")) is not None:
        yield "Parameters", f"{count:,}"
    if weights := parts.get("encoder weights"):
        yield "Weights (SHA-256)", str(weights)
    if preprocessing := parts.get("preprocessing"):
        yield "Preprocessing", str(preprocessing).removeprefix("Preprocess(").removesuffix(")").replace("'", "")
    if fingerprint := card.get("fingerprint"):
        yield "Fingerprint", str(fingerprint)
    for name, what in (("wall_hours", "hours"), ("gpu_hours", "GPU hours"), ("cpu_hours", "CPU core hours")):
        if (hours := card.get(name)) is not None:
            yield f"Pretraining, {what}", f"{hours:,.3g}"
    if card.get("citation") or card.get("year"):
        yield "Publication", " ".join(str(card[name]) for name in ("citation", "year") if card.get(name))
    for assumed in card.get("assumed", ()):
        yield "Assumed", str(assumed)
    if unverified := card.get("unverified"):
        yield "Could not be looked up", _listed(unverified)


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names)) or UNKNOWN
