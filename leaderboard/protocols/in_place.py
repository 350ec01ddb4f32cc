"""Saved cells of one encoder, turned so that its protocols stand where encoders do: then everything pairs as ever."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cxrbench.errors import UserError
from cxrbench.leaderboard.currency import current
from cxrbench.leaderboard.families import FAMILIES
from cxrbench.leaderboard.protocols.named import NamedProtocol
from cxrbench.leaderboard.selection import One, check_tasks, of_tasks
from cxrbench.predictions import NotApplicable, Predictions


@dataclass(frozen=True)
class OfEncoder:
    """Cells of one encoder whose ``encoder`` is the name of a protocol, and whose ``protocol`` is empty.

    ``remarks``: stale cells that were left out.
    """

    predictions: list[Predictions]
    not_applicable: list[NotApplicable]
    remarks: tuple[str, ...]


def protocols_in_place(
    predictions: Sequence[Predictions],
    encoder: str,
    protocols: Sequence[NamedProtocol],
    *,
    datasets: Sequence[str] | None = None,
    not_applicable: Sequence[NotApplicable] = (),
) -> OfEncoder:
    """The cells of ``encoder`` under the named protocols, on the named data sets (all without names).

    Raises UserError for an encoder, a data set or a protocol without results, and for protocols that cannot be paired:
    they measure different things, predict images and studies, or were run on two states of a data set.
    """
    if one := next((name for name in datasets or () if ":" in name), None):
        raise UserError(f"--tasks {one}: with --protocols name the data set alone, {one.partition(':')[0]}")
    now = current(predictions, not_applicable)
    everything = [*now.predictions, *now.not_applicable]
    encoders = sorted({str(cell.cell["encoder"]) for cell in everything})
    if encoder not in encoders:
        raise UserError(f"unknown encoder {encoder!r}: the results have {', '.join(encoders) or 'none'}")
    check_tasks(everything, datasets)
    mine = [cell for cell in of_tasks(now.predictions, datasets) if cell.cell["encoder"] == encoder]
    asked = [cell for cell in of_tasks(now.not_applicable, datasets) if cell.cell["encoder"] == encoder]
    for protocol in protocols:
        if not any(_is(cell, protocol) for cell in (*mine, *asked)):
            known = ", ".join(dict.fromkeys(_name(cell) for cell in (*mine, *asked)))
            raise UserError(f"{encoder} has no results of protocol {protocol.name!r}: it has {known or 'none'}")
    pairs = [(cell, protocol) for protocol in protocols for cell in mine if _is(cell, protocol)]
    _check_pairs(pairs)
    pairs = _over_common_labels(pairs)
    own = _own_notes([cell for cell, _ in pairs])
    return OfEncoder(
        [replace(_in_place(cell, of), notes=_notes(cell, of, own)) for cell, of in pairs],
        [_in_place(cell, of) for of in protocols for cell in asked if _is(cell, of)],
        tuple(stale.line for stale in now.left_out if stale.encoder == encoder),
    )


def _is(cell: Predictions | NotApplicable, protocol: NamedProtocol) -> bool:
    """Whether a cell is of this protocol and label fraction."""
    of = cell.cell
    return of["protocol"] == protocol.protocol and protocol.fraction in (None, float(of["fraction"]))


def _name(cell: Predictions | NotApplicable) -> str:
    return NamedProtocol(str(cell.cell["protocol"]), float(cell.cell["fraction"])).name


def _in_place(cell: One, protocol: NamedProtocol) -> One:
    """The cell with its protocol as its encoder. What it was made of is compared before, and differs by protocol."""
    facts: dict[str, Any] = {k: v for k, v in cell.cell.items() if k not in ("parts", "fixed_images")}
    fraction = float(facts["fraction"]) if protocol.fraction is None else 1.0
    return replace(cell, cell=facts | {"encoder": protocol.name, "protocol": "", "fraction": fraction})


def _check_pairs(pairs: Sequence[tuple[Predictions, NamedProtocol]]) -> None:
    """Raise UserError where protocols cannot be paired."""
    families = {FAMILIES[cell.kind].title.lower(): of.name for cell, of in pairs}
    if len(families) > 1:
        told = ", ".join(f"{name} is {family}" for family, name in families.items())
        raise UserError(f"--protocols: {told}: they have no metric in common, so name protocols of one kind")
    for dataset in dict.fromkeys(str(cell.cell["dataset"]) for cell, _ in pairs):
        here = [(cell, of) for cell, of in pairs if cell.cell["dataset"] == dataset]
        units = {str(cell.cell.get("unit", "image")): of.name for cell, of in here}
        if len(units) > 1:
            told = " and ".join(f"{name} has a row per {unit}" for unit, name in units.items())
            raise UserError(f"{dataset}: {told}, so they cannot be paired: run both with --views, or neither")
        states = {cell.cell["parts"].get("dataset"): of.name for cell, of in here if cell.cell.get("parts")}
        if len(states) > 1:
            raise UserError(
                f"{dataset}: {' and '.join(states.values())} were run on different states of the data set; "
                "run them again, and what is stale is computed anew"
            )


def _over_common_labels(
    pairs: Sequence[tuple[Predictions, NamedProtocol]],
) -> list[tuple[Predictions, NamedProtocol]]:
    """Where protocols predict different labels of a data set (one was trained elsewhere): those that all of them do.

    Raises UserError where there is none. Classes that exclude each other are left as they are, and refused later.
    """
    narrowed: list[tuple[Predictions, NamedProtocol]] = []
    for cell, of in pairs:
        here = [(c, p) for c, p in pairs if c.cell["dataset"] == cell.cell["dataset"]]
        common = tuple(label for label in here[0][0].labels if all(label in c.labels for c, _ in here))
        if all(c.labels == cell.labels for c, _ in here) or any(c.kind == "multiclass" for c, _ in here):
            narrowed.append((cell, of))
            continue
        if not common:
            names = ", ".join(dict.fromkeys(p.name for _, p in here))
            raise UserError(f"{cell.cell['dataset']}: {names} have no label in common")
        kept = {name: tuple(x for x in group if x in common) for name, group in here[0][0].groups.items()}
        groups = {name: group for name, group in kept.items() if group}
        note = f"compared over the labels that all predict: {', '.join(common)}"
        narrowed.append((replace(cell, labels=common, groups=groups, notes=(*cell.notes, note)), of))
    return narrowed


def _own_notes(cells: Sequence[Predictions]) -> set[str]:
    """Notes that not every cell of a data set has."""
    by_dataset: dict[str, list[set[str]]] = {}
    for cell in cells:
        by_dataset.setdefault(str(cell.cell["dataset"]), []).append({*cell.notes})
    return {note for notes in by_dataset.values() for note in set.union(*notes) - set.intersection(*notes)}


def _notes(cell: Predictions, of: NamedProtocol, own: set[str]) -> tuple[str, ...]:
    """What concerns some of the protocols says which."""
    return tuple(f"{of.name}: {note}" if note in own else note for note in cell.notes)
