"""The cells of a run that failed: told together in the end, where they are not missed."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrbench.engine.execute import Failed

FAILED = 1  # exit code of a run in which some cells failed; a request that is refused as a whole is 2


def failure_rows(failed: Iterable["Failed"]) -> list[dict[str, Any]]:
    """A row per failed cell: its coordinates and the reason."""
    return [
        {"encoder": cell.encoder, "task": cell.task, "fraction": cell.fraction, "seed": cell.seed, "failed": one.reason}
        for one in failed
        for cell in [one.planned.cell]
    ]


def failure_table(failed: Sequence["Failed"]) -> str:
    """An aligned table: encoder, task, reason. Cells that differ in fraction and seed alone share a row."""
    from cxrbench.cli.console import table

    counts: dict[tuple[str, str, str], int] = {}
    for row in failure_rows(failed):
        key = (row["encoder"], row["task"], row["failed"])
        counts[key] = counts.get(key, 0) + 1
    rows = [
        {"encoder": encoder, "task": task, "cells": count, "reason": reason}
        for (encoder, task, reason), count in counts.items()
    ]
    return f"{len(failed)} of the cells failed (run again to try them again):\n{table(rows)}"
