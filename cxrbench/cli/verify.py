"""``cxrbench verify``: whether results and caches are as they were written."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cxrbench import api
from cxrbench.cli.console import counting
from cxrbench.cli.options import CacheOption, JsonOption, ResultsOption

if TYPE_CHECKING:
    from cxrbench.api.store import Verdict

CONDITIONS = ("whole", "damaged", "unfinished", "left over", "foreign")


def verify(results: ResultsOption = Path("results"), cache: CacheOption = None, as_json: JsonOption = False) -> None:
    """Check every file of a results folder and of the cache against its checksum. Changes nothing.

    Exit code 0: all are as they were written; 1: some are damaged, and what the next run does about them is said.

    Example: cxrbench verify --results results
    """
    verdicts = api.verify(results, cache=cache, bar=counting)
    if as_json:
        print(json.dumps([{**asdict(verdict), "path": str(verdict.path)} for verdict in verdicts], indent=1))
    else:
        print(summary(verdicts))
    if any(verdict.condition == "damaged" for verdict in verdicts):
        raise typer.Exit(1)


def summary(verdicts: "Sequence[Verdict]") -> str:
    """A table of kinds by conditions, and a line for each file that is not whole."""
    from tabulate import tabulate

    kinds = list(dict.fromkeys(verdict.kind for verdict in verdicts))
    counts = Counter((verdict.kind, verdict.condition) for verdict in verdicts)
    rows = [
        {"files": kind, "count": sum(counts[kind, c] for c in CONDITIONS)} | {c: counts[kind, c] for c in CONDITIONS}
        for kind in kinds
    ]
    lines = [
        f"{verdict.condition}: {verdict.path}" + f" ({verdict.reason})" * bool(verdict.reason) + f": {verdict.next}"
        for verdict in verdicts
        if verdict.condition != "whole"
    ]
    table = tabulate(rows, headers="keys") if rows else "nothing to check"
    return "\n".join([table, *([""] if lines else []), *lines])
