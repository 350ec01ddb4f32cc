"""The cells of a run that failed: told together in the end, where they are not missed."""

from collections.abc import Iterable, Sequence
from typing import Any

from cxrbench import api
from cxrbench.cli.console import table

FAILED = 1  # exit code of a run in which some cells failed; a request that is refused as a whole is 2


def failure_rows(failed: Iterable[api.Outcome]) -> list[dict[str, Any]]:
    """A row per failed cell: its coordinates and the reason."""
    return [{**one.cell, "failed": one.reason} for one in failed]


def failure_table(failed: Sequence[api.Outcome]) -> str:
    """An aligned table: encoder, task, reason. Cells that differ in fraction and seed alone share a row."""
    counts: dict[tuple[str, str, str], int] = {}
    for row in failure_rows(failed):
        key = (row["encoder"], row["task"], row["failed"])
        counts[key] = counts.get(key, 0) + 1
    rows = [
        {"encoder": encoder, "task": task, "cells": count, "reason": reason}
        for (encoder, task, reason), count in counts.items()
    ]
    unreadable = any(reason.startswith("cannot read image") for _, _, reason in counts)
    advice = "; --on-bad-image skip leaves unreadable images out" if unreadable else ""
    return f"{len(failed)} of the cells failed (run again to try them again{advice}):\n{table(rows)}"
