"""Which executor is meant by a text or a table: ``local:2``, ``{"kind": "local", "workers": 2}``."""

import importlib
import re
from collections.abc import Mapping
from typing import Any

from cxrbench.errors import UserError
from cxrbench.executors.contract import Executor
from cxrbench.executors.options import whole
from cxrbench.files.names import plain
from cxrbench.plugins.entry_points import unknown

MODULES = {name: f"cxrbench.executors.{name}" for name in ("local", "slurm", "ray")}
"""Each has ``executor(workers, options) -> Executor``, which raises UserError for an option that it does not know."""


def table_of(asked: str | Mapping[str, Any]) -> dict[str, Any]:
    """``local:2`` as a table with ``kind`` and, where it is said, ``workers``. Raises UserError for what is neither."""
    if not isinstance(asked, str):
        table = dict(asked)
        if not isinstance(table.get("kind"), str):
            raise UserError(f'[executor] names no kind: give kind = "{next(iter(MODULES))}"')
    else:
        kind, colon, count = asked.partition(":")
        if colon and not re.fullmatch(r"[0-9]{1,6}", count):
            raise UserError(f"--executor {plain(asked)!r}: the grammar is KIND or KIND:WORKERS, e.g. local:2")
        table = {"kind": kind, **({"workers": int(count)} if colon else {})}
    if table["kind"] not in MODULES:
        raise UserError(unknown("executor", table["kind"], MODULES))
    if "workers" in table:
        table["workers"] = whole(table["kind"], table, "workers", None, least=1)
    return table


def chosen_executor(asked: str | Mapping[str, Any]) -> Executor:
    """The executor that is meant, with its options. Nothing is started. Raises UserError."""
    table = table_of(asked)
    kind, workers = table.pop("kind"), table.pop("workers", None)
    return importlib.import_module(MODULES[kind]).executor(workers, table)
