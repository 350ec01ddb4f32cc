"""What is installed: a line per plugin, from where it is declared, without importing any that says enough there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cxrbench.errors import UserError
from cxrbench.plugins.declared import UNKNOWN, Declaration, read_declaration
from cxrbench.plugins.entry_points import DATASETS, ENCODERS, TASKS, cannot_import, found, load_plugin, only_point
from cxrbench.plugins.parsed import UnreadableError

WHAT: Mapping[str, str] = {ENCODERS: "encoder", DATASETS: "dataset", TASKS: "protocol"}


@dataclass(frozen=True)
class Listing:
    """One line of ``cxrbench encoders|data|tasks list``.

    ``problem``: why the plugin cannot be used, or empty. ``opt_in``: a protocol that is run only when it is named.
    ``complete``: specs of an encoder that need nothing more. ``has_phantom_weights``: whether its bare name means
    something on phantom data. ``source``, ``licence``: of a dataset.
    """

    name: str
    summary: str
    usage: str = ""
    problem: str = ""
    opt_in: bool = False
    complete: tuple[str, ...] = ()
    has_phantom_weights: bool = False
    source: str = ""
    licence: str = ""


def list_encoders(*, check: bool = False) -> list[Listing]:
    """Every installed encoder by name; a broken plugin is reported, not fatal. ``check``: import each to find out."""
    return [listing(ENCODERS, name, check=check) for name in sorted(found(ENCODERS))]


def list_datasets(*, check: bool = False) -> list[Listing]:
    """Every installed dataset adapter by name, as ``list_encoders``."""
    return [listing(DATASETS, name, check=check) for name in sorted(found(DATASETS))]


def list_tasks(*, check: bool = False) -> list[Listing]:
    """Every installed protocol by name, as ``list_encoders``."""
    return [listing(TASKS, name, check=check) for name in sorted(found(TASKS))]


def listing(group: str, name: str, *, check: bool = False) -> Listing:
    """One plugin's line: its summary (or title, or the first line of a docstring), or why it cannot be used.

    What its source does not say in constants is asked of the plugin itself, which is imported for it.
    """
    what = WHAT[group]
    try:
        point = only_point(group, name, what)
        try:
            declared = read_declaration(point.value)
        except UnreadableError as error:
            raise cannot_import(what, point, str(error)) from error
        facts = declared.facts if declared else {}
        said = declared and _summary(declared) and UNKNOWN not in (facts.get("usage"), facts.get("opt_in"))
        if check or not said:
            plugin = load_plugin(group, name, what)
            declared = declared if declared and said else _of_object(plugin)
    except UserError as error:
        return Listing(name, "", problem=str(error))
    assert declared is not None
    return _line(name, declared)


def every_encoder(*, synthetic: bool) -> list[str]:
    """The specs that ``all`` stands for: those that can be run without anything more being said.

    A plugin that cannot be found is passed over; naming it says why.
    """
    lines = [line for line in list_encoders() if not line.problem]
    pretrained = [line.name for line in lines if synthetic and line.has_phantom_weights]
    return pretrained + [spec for line in lines for spec in line.complete]


def _line(name: str, declared: Declaration) -> Listing:
    """A declaration as a line."""
    facts = {key: "" if value is UNKNOWN else value for key, value in declared.facts.items()}
    return Listing(
        name,
        _summary(declared),
        usage=facts.get("usage") or "",
        opt_in=bool(facts.get("opt_in")),
        complete=tuple(facts.get("complete") or ()),
        has_phantom_weights=bool(declared.facts.get("phantom_weights")),  # a path that is computed is one
        source=facts.get("source") or "",
        licence=facts.get("licence") or "",
    )


def _summary(declared: Declaration) -> str:
    """``summary``, else ``title``, else the first line of the docstring; empty where only running the code tells."""
    said = next((text for key in ("summary", "title") if (text := declared.facts.get(key))), None)
    return "" if said is UNKNOWN else said or declared.doc.partition("\n")[0]


def _of_object(plugin: Any) -> Declaration:
    """The same from the plugin itself."""
    names = ("summary", "title", "usage", "opt_in", "complete", "phantom_weights", "source", "licence")
    facts = {name: getattr(plugin, name) for name in names if hasattr(plugin, name)}
    return Declaration(facts, (getattr(plugin, "__doc__", None) or "").strip())
