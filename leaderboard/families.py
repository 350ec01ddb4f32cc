"""Kinds of predictions as a reader of tables knows them."""

from collections.abc import Sequence
from dataclasses import dataclass

from cxrbench.errors import UserError
from cxrbench.metrics.kinds import KINDS
from cxrbench.metrics.measure import Measure
from cxrbench.predictions import Kind


@dataclass(frozen=True)
class Family:
    """``title``: heads its tables; ``labels``: what a mean is taken over; ``rows``: what a row of predictions is."""

    title: str
    labels: str = "labels"
    rows: str = "images"

    @property
    def place(self) -> int:
        """Its place on the board."""
        return _ORDER.index(self.title)


CLASSIFICATION = Family("Classification")
REGRESSION = Family("Regression", labels="numbers")
FAMILIES: dict[Kind, Family] = {
    "multilabel": CLASSIFICATION,
    "multiclass": CLASSIFICATION,
    "segmentation": Family("Segmentation"),
    "detection": Family("Detection", labels="classes"),
    "regression": REGRESSION,
    "retrieval": Family("Retrieval", labels="directions", rows="queries"),
}
_ORDER = tuple(dict.fromkeys(family.title for family in FAMILIES.values()))


def named_protocol(kind: Kind, protocol: str) -> str:
    """``Classification``, ``Classification (knn)``: what a table's heading calls a protocol."""
    family = FAMILIES[kind]
    own = family.title.lower()
    variant = "" if protocol in (own, "") else protocol.removeprefix(f"{own}+")
    return family.title + (f" ({variant})" if variant else "")


def check_metrics(metrics: Sequence[str] | None, kinds: Sequence[Kind]) -> None:
    """Raise UserError for a metric that none of these kinds of results has."""
    known = list(dict.fromkeys(name for kind in FAMILIES if kind in kinds for name in KINDS[kind].measures))
    for name in metrics or ():
        if name not in known:
            raise UserError(f"unknown metric {name!r}: choose from {', '.join(known)}")


def wanted_measures(metrics: Sequence[str] | None, kind: Kind) -> list[Measure]:
    """The named metrics that a kind has, in the order of the names; without names all of them, headline first."""
    measures = KINDS[kind].measures
    return [measures[name] for name in (measures if metrics is None else metrics) if name in measures]
