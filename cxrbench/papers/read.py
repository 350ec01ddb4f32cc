"""A paper's file: TOML into a ``Paper``; what is in it and is not known is an error.

A row or a column (``[[tables]]`` has lists ``rows`` and ``columns`` of inline tables, and ``common`` for all of its
cells) is a ``TablePlace``. Lists in one stand for several: ``encoders``, ``fractions``, ``metrics`` and ``labels`` (a
list, or a table of printed name and our label) each make a place per item, in that order of nesting.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from importlib.resources import files
from typing import Any, get_args

from cxrbench.errors import UserError
from cxrbench.papers.paper import (
    Kind,
    Paper,
    PaperEncoder,
    PaperFigure,
    PaperTable,
    Statistic,
    TablePlace,
    cells,
)
from cxrbench.plugins.entry_points import unknown

SEVERAL = ("encoders", "datasets", "fractions", "metrics", "labels")
TITLES = {
    "auroc": "AUROC", "auprc": "AUPRC", "f1": "F1", "accuracy": "ACC", "brier": "Brier", "dice": "Dice", "iou": "IoU",
    "map": "mAP",
}  # fmt: skip


def paper_names() -> list[str]:
    """Every paper that there is a file of, sorted."""
    folder = files("cxrbench.papers")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


@cache
def read_paper(name: str) -> Paper:
    """The paper of this name. Raises UserError with the nearest names."""
    if name not in paper_names():
        raise UserError(unknown("paper", name, paper_names()))
    return parsed(name, tomllib.loads((files("cxrbench.papers") / f"{name}.toml").read_text()))


def parsed(name: str, whole: Mapping[str, Any]) -> Paper:
    """A paper from the tables of its file. Raises UserError that names the first thing that is wrong with it."""
    _known(whole, ("title", "source", "preset", "note", "encoders", "tables", "figures"), name)
    encoders = {
        encoder: _made(PaperEncoder, {"name": encoder, **facts}, f"{name} [encoders.{encoder}]")
        for encoder, facts in whole.get("encoders", {}).items()
    }
    tables = tuple(_table(one, f"{name} table {one.get('number')}") for one in whole.get("tables", ()))
    for table in tables:
        _check(table, encoders, f"{name} {table.name}")
    return Paper(
        name=name,
        title=whole["title"],
        source=whole["source"],
        preset=whole["preset"],
        encoders=encoders,
        tables=tables,
        figures=tuple(_made(PaperFigure, one, f"{name} figure") for one in whole.get("figures", ())),
        note=_lines(whole.get("note", ())),
    )


def _table(said: Mapping[str, Any], where: str) -> PaperTable:
    common = _made(TablePlace, {"name": "", **said.get("common", {})}, f"{where} common")
    axes = {
        axis: tuple(place for one in said.get(axis, ()) for place in _several(one, f"{where} {axis}"))
        for axis in ("rows", "columns")
    }
    table = _made(PaperTable, {**said, **axes, "common": common, "note": _lines(said.get("note", ()))}, where)
    for field, choices in (("kind", get_args(Kind)), ("statistic", get_args(Statistic))):
        if getattr(table, field) not in choices:
            raise UserError(f"{where}: {field} is {', '.join(choices)}, not {getattr(table, field)!r}")
    return table


def _several(said: Mapping[str, Any], where: str) -> Iterator[TablePlace]:
    """A place, or those that its lists stand for."""
    lists = [name for name in SEVERAL if name in said]
    place = _made(
        TablePlace,
        {"name": str(said.get("encoder", "")), **{key: value for key, value in said.items() if key not in SEVERAL}},
        where,
    )
    yield from _nested(place, {name: said[name] for name in lists})


def _nested(place: TablePlace, lists: Mapping[str, Any]) -> Iterator[TablePlace]:
    if not lists:
        yield place
        return
    (name, items), *rest = lists.items()
    key = name.removesuffix("s")
    shown = items if isinstance(items, Mapping) else {_shown(key, item): item for item in items}
    for title, item in shown.items():
        named = title if not place.name or key != "metric" or rest else f"{place.name} {title}"
        yield from _nested(replace(place, **{"name": named, key: item}), dict(rest))


def _shown(key: str, item: Any) -> str:
    if key == "fraction":
        return f"{100 * item:g}%"
    return TITLES.get(item, str(item)) if key == "metric" else str(item)


def _check(table: PaperTable, encoders: Mapping[str, PaperEncoder], where: str) -> None:
    """Raise UserError for an encoder that the file does not have, and for a table without cells that says no reason."""
    for cell in cells(table):
        if cell.encoder not in encoders:
            raise UserError(f"{where}: {unknown('encoder', cell.encoder, list(encoders))}")
    if table.kind == "none" and not table.why:
        raise UserError(f"{where}: it is of kind none and does not say why")
    if table.kind != "none" and not cells(table):
        raise UserError(
            f"{where}: no pair of its rows and columns names an encoder, a dataset, a protocol and a metric"
        )


def _made(kind: type, said: Mapping[str, Any], where: str) -> Any:
    _known(said, [field.name for field in fields(kind)], where)
    return kind(**said)


def _known(said: Mapping[str, Any], known: Any, where: str) -> None:
    for key in said:
        if key not in known:
            raise UserError(f"{where}: {unknown('key', key, [*known])}")


def _lines(said: Any) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else tuple(said)
