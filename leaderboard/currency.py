"""Which saved cells may stand in one table: those that were made of the same things, the newest where they differ."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.predictions import NotApplicable, Predictions

# What all encoders of a column must share. The rest of a cell's parts says who the encoder is, but for the precision,
# which a user may choose for each run.
OF_COLUMN = ("dataset", "protocol version", "feature format", "training data")
FREE = ("precision",)
TRAIN = "train-"  # what begins a protocol's words for the datasets it is trained on

Parts = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class LeftOut:
    """Stale cells of one encoder: on which tasks (``DATASET:PROTOCOL``), and in which parts they differ from now."""

    encoder: str
    tasks: tuple[str, ...]
    differs: str

    @property
    def line(self) -> str:
        """What a reader must be told, and the command that renews the cells."""
        bare = dict.fromkeys(task.partition("+")[0] for task in self.tasks)
        train = {tuple(w[len(TRAIN) :] for w in task.split("+") if w.startswith(TRAIN)) for task in self.tasks}
        of = f" --train {'+'.join(next(iter(train)))}" if len(train) == 1 and any(train) else ""
        return (
            f"stale, left out: {self.encoder} on {', '.join(self.tasks)} (another {self.differs} than the newest "
            f"results); renew with `cxrbench run --encoder {self.encoder} --tasks {','.join(bare)}{of}` and its options"
        )


@dataclass(frozen=True)
class Current:
    """The cells that may share tables, and those that may not."""

    predictions: list[Predictions]
    not_applicable: list[NotApplicable]
    left_out: tuple[LeftOut, ...] = ()


def current(predictions: Sequence[Predictions], not_applicable: Sequence[NotApplicable] = ()) -> Current:
    """Leave out stale cells: results of another state of the data, of the protocol, or of the encoder of that name.

    Cells of one dataset and protocol must agree in the fingerprint of the dataset, the version of the protocol and the
    format of the features; cells of one encoder name (on real and on phantom data apart) in everything that says who
    the encoder is, and in its output on the fixed images, but for noise. Where they differ, the state of the newest
    cell (``made["date"]``) is the current one; of cells without a date, that of the most cells. Cells that say nothing
    of their parts are kept.
    """
    cells: list[Predictions | NotApplicable] = [*predictions, *not_applicable]
    reasons: dict[int, str] = {}
    for key, parts in ((_column, _parts_of_column), (_encoder, _parts_of_encoder)):
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for i, cell in enumerate(cells):
            if i not in reasons and cell.cell.get("parts"):
                groups[key(cell)].append(i)
        for members in groups.values():
            reasons |= _stale(cells, members, parts)
    groups = defaultdict(list)
    for i, cell in enumerate(cells):
        if i not in reasons and cell.cell.get("fixed_images"):
            groups[_encoder(cell)].append(i)
    for members in groups.values():
        reasons |= _other_output(cells, members)
    kept = [cell for i, cell in enumerate(cells) if i not in reasons]
    return Current(
        [cell for cell in kept if isinstance(cell, Predictions)],
        [cell for cell in kept if isinstance(cell, NotApplicable)],
        _left_out([(cells[i], why) for i, why in reasons.items()]),
    )


def versions(predictions: Sequence[Predictions]) -> tuple[str, ...]:
    """A line for each library whose versions differ between the encoders' cells; cells that say none are left aside."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one in predictions:
        for library, version in one.made.get("versions", {}).items():
            found[library][str(version)].add(str(one.cell["encoder"]))
    return tuple(
        f"results were made with several versions of {library}: "
        + "; ".join(f"{version} ({', '.join(sorted(who))})" for version, who in sorted(by_version.items()))
        for library, by_version in sorted(found.items())
        if len(by_version) > 1
    )


def _stale(
    cells: Sequence[Predictions | NotApplicable], members: Sequence[int], parts_of: Callable[[Mapping[str, Any]], Parts]
) -> dict[int, str]:
    """The members whose parts are not those of the newest, and in which they differ."""
    parts = {i: parts_of(cells[i].cell["parts"]) for i in members}
    if len(set(parts.values())) == 1:
        return {}
    common = Counter(parts.values())
    newest = max(members, key=lambda i: (_date(cells[i]), common[parts[i]], str(parts[i])))
    now = dict(parts[newest])
    return {
        i: ", ".join(name for name in {**now, **dict(of)} if now.get(name) != dict(of).get(name))
        for i, of in parts.items()
        if of != parts[newest]
    }


def _other_output(cells: Sequence[Predictions | NotApplicable], members: Sequence[int]) -> dict[int, str]:
    """The members whose encoder gave something else for the fixed images than that of the newest, beyond noise."""
    outputs = {i: FixedFeatures.from_json(cells[i].cell["fixed_images"]) for i in members}
    now = outputs[max(members, key=lambda i: (_date(cells[i]), i))]
    return {i: "output on the fixed images" for i, then in outputs.items() if now.difference(then)}


def _column(cell: Predictions | NotApplicable) -> Hashable:
    return cell.synthetic, cell.cell["dataset"], cell.cell["protocol"]


def _encoder(cell: Predictions | NotApplicable) -> Hashable:
    return cell.synthetic, cell.cell["encoder"]


def _parts_of_column(parts: Mapping[str, Any]) -> Parts:
    return tuple((name, parts.get(name)) for name in OF_COLUMN)


def _parts_of_encoder(parts: Mapping[str, Any]) -> Parts:
    return tuple(sorted((name, str(part)) for name, part in parts.items() if name not in (*OF_COLUMN, *FREE)))


def _date(cell: Predictions | NotApplicable) -> str:
    return str(cell.made.get("date", "")) if isinstance(cell, Predictions) else ""


def _left_out(stale: Sequence[tuple[Predictions | NotApplicable, str]]) -> tuple[LeftOut, ...]:
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for cell, why in stale:
        groups[str(cell.cell["encoder"]), why].append(f"{cell.cell['dataset']}:{cell.cell['protocol']}")
    return tuple(LeftOut(encoder, tuple(dict.fromkeys(tasks)), why) for (encoder, why), tasks in groups.items())
