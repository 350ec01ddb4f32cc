"""``cxrbench run --dry-run --cost``: what a run would cost."""

import json
import math
from typing import Annotated, Any

import typer

from cxrbench import api
from cxrbench.cli.console import table
from cxrbench.files.names import visible

CostOption = Annotated[
    bool,
    typer.Option("--cost", help="With --dry-run: what is left in hours, disk and memory, after a short measurement."),
]
OnOption = Annotated[int | None, typer.Option("--on", min=1, help="With --cost: how long so many workers take.")]
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
NOT_KNOWN = "?"


def cost_text(cost: api.CostPlan, *, as_json: bool) -> str:
    """The plan as JSON, or a table for people, with its sums below."""
    if as_json:
        return json.dumps(cost.to_json(), indent=1)
    rows: list[dict[str, Any]] = [
        {
            "encoder": row.encoder, "dataset": row.dataset, "images": f"{row.images:,}",
            "images/s": f"{number(row.speed.images_per_second)} ({row.speed.source})" if row.images else "",
            "extraction": hours(row.extraction_hours), "cells": f"{row.cells:,}", "in all": hours(row.cell_hours),
            "pooled": size(row.pooled_bytes), "maps": size(row.dense_bytes), "RAM": size(row.memory_bytes),
            "GPU memory": size(row.gpu_bytes),
        }
        for row in cost.rows
    ]  # fmt: skip
    if all(not row.gpu_bytes or math.isnan(row.gpu_bytes) for row in cost.rows):
        for row in rows:
            del row["GPU memory"]
    disk = sum(row.pooled_bytes + row.dense_bytes for row in cost.rows)
    sums = [
        f"{hours(cost.gpu_hours)} of GPUs and {hours(cost.cpu_hours)} of CPU workers; {size(disk)} of cache",
        f"on {cost.workers} worker{'s' * (cost.workers > 1)}: {hours(cost.hours)} (no schedule takes less than "
        f"{hours(cost.bound_hours)}; the longest chain is {hours(cost.chain_hours)})",
        *cost.remarks,
    ]
    return visible_table(rows, sums)


def visible_table(rows: list[dict[str, Any]], lines: list[str]) -> str:
    """A table, and lines below it."""
    return "\n".join([*([table(rows), ""] if rows else []), *map(visible, lines)])


def hours(value: float) -> str:
    """``12.5 h``, ``3.0 min``, ``0.4 s``, or ? for NaN."""
    if math.isnan(value):
        return NOT_KNOWN
    for unit, name in ((1.0, "h"), (60.0, "min")):
        if value * unit >= 1:
            return f"{value * unit:,.1f} {name}"
    return f"{value * 3600:.1f} s"


def size(count: float) -> str:
    """``4.1 GB``, or ? for NaN."""
    if math.isnan(count):
        return NOT_KNOWN
    return next((f"{count / unit:.1f} {name}" for unit, name in UNITS if count >= unit), f"{count:.0f} B")


def number(value: float) -> str:
    """Three digits, or ? for NaN."""
    return NOT_KNOWN if math.isnan(value) else f"{value:.3g}"
