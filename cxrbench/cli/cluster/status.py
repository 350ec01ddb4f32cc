"""``cxrbench status``: how far a request is, whoever works on it."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench import api
from cxrbench.cli.console import table
from cxrbench.cli.options import CacheOption, DataOption, JsonOption, ResultsOption
from cxrbench.files.names import visible

EVERY = 5.0  # seconds between two looks
EMPTY_SCREEN = "\033[2J\033[H"


def status(
    results: ResultsOption = Path("results"),
    request: Annotated[
        str, typer.Option(help="Which one: how its hash begins (`cxrbench requests`); not needed where there is one.")
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Look again every few seconds until all is done.")] = False,
    data: DataOption = None,
    cache: CacheOption = None,
    device: Annotated[str | None, typer.Option(help="As of the workers: auto precision depends on it.")] = None,
    precision: Annotated[str | None, typer.Option(help="As of the workers: auto, fp32 or bf16.")] = None,
    as_json: JsonOption = False,
) -> None:
    """How far a request of a results folder is: done, running (where, since when), failed (why), missing; time left.

    With --json: `request`, `cells` (= `done` + `renamed` + `running` + the failed + the blocked + `missing`), `at`
    (running cells and extractions: `what`, `host`, `process`, `since` in UTC), `failed` and `blocked` (`encoder`,
    `task`, `fraction`, `seed`, `reason`, `attempts`, `trace`), `seconds_left` (null where nobody works or nothing is
    measured), `new_names` (what `cxrbench results rename` has called the `renamed` cells, which are done).

    Examples:

      cxrbench status --results results

      cxrbench status --watch
    """
    said = {"data": data, "cache": cache, "device": device, "precision": precision}
    before = ""
    for found in api.statuses(results, request, **said):
        text = json.dumps(found.to_json(), indent=None if watch else 1) if as_json else told(found)
        if text != before:
            if watch and not as_json:
                print(EMPTY_SCREEN if sys.stdout.isatty() else "\n" * bool(before), end="")
            print(text, flush=True)
        before = text
        if not watch or found.finished:
            return
        time.sleep(EVERY)


def told(found: api.Status) -> str:
    """For people: a line of counts, and a table each of what runs and what failed."""
    counts = [("done", found.done), (f"done under another name ({'; '.join(found.new_names)})", found.renamed),
              ("running", found.running), ("failed", len(found.failed)),
              ("blocked", len(found.blocked)), ("missing", found.missing)]  # fmt: skip
    line = f"request {found.request}: {found.cells} cells: " + ", ".join(f"{n} {name}" for name, n in counts if n)
    if found.seconds_left is not None:
        line += f"; about {duration(found.seconds_left)} left"
    parts = [visible(line)]
    if found.at:
        parts.append(table([{"running": one.what, "on": one.host, "process": one.process, "since (UTC)": one.since}
                            for one in found.at]))  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"cell": f"{one.encoder} on {one.task}, fraction {one.fraction:g}, seed {one.seed}", "attempts": one.attempts,
         "failed": one.reason}
        for one in (*found.failed, *found.blocked)
    ]  # fmt: skip
    return "\n\n".join([*parts, *([table(rows)] if rows else [])])


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {name}" if name == "h" else f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:.1f} days"
