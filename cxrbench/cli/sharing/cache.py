"""``cxrbench cache``: what is in it, and making room."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrbench import api
from cxrbench.cli.console import table, visible_lines
from cxrbench.cli.options import CacheOption, JsonOption

if TYPE_CHECKING:
    from cxrbench.api.store import Cached

cache_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What the cache holds, and making room in it."
)


@cache_app.command("show")
def cache_show(cache: CacheOption = None, as_json: JsonOption = False) -> None:
    """What is in the cache: how much of which kind, and when it was last used.

    Example: cxrbench cache show
    """
    found = api.cached(cache)
    if as_json:
        return print(json.dumps(_plain(found), indent=1))
    return print(visible_lines(_summary(found)))


@cache_app.command("clean")
def cache_clean(
    older: Annotated[str | None, typer.Option(help="Delete what was not used for so long: 12h, 30d, 4w.")] = None,
    limit: Annotated[
        str | None, typer.Option(help="Delete what was used longest ago until no more is left: 500MB, 100GB.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing, and say what would be.")] = False,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make room in the cache: oldest use first, never what somebody makes or has used within the last hour.

    All that is deleted is made again when it is asked for.

    Examples:

      cxrbench cache clean --older 30d --dry-run

      cxrbench cache clean --older 30d --limit 100GB
    """
    done = api.clean_cache(cache, older=older, limit=limit, dry_run=dry_run)
    if as_json:
        print(json.dumps({"before": done.before, "after": done.after, "items": _plain(done.items)}, indent=1))
        return
    for one in done.items:
        what = f"would be {one.fate}" if dry_run and one.fate == "deleted" else one.fate
        print(visible_lines(f"{what}: {one.kind}, {_size(one.bytes)}, used {_days(one.used)}: {one.path}"))
    freed = f"{'would free' if dry_run else 'freed'} {_size(done.before - done.after)}"
    print(f"{freed}: {_size(done.before)} before, {_size(done.after)} after")


def _summary(found: "Sequence[Cached]") -> str:
    """A row for each kind, and the whole."""
    if not found:
        return "the cache is empty"
    count, size = Counter[str](), Counter[str]()
    first, last = dict[str, float](), dict[str, float]()
    for one in found:
        count[one.kind] += 1
        size[one.kind] += one.bytes
        first[one.kind] = min(first.get(one.kind, one.used), one.used)
        last[one.kind] = max(last.get(one.kind, one.used), one.used)
    rows = [
        {"kind": kind, "items": str(count[kind]), "size": _size(size[kind]), "used longest ago": _days(first[kind]),
         "used last": _days(last[kind])}
        for kind in sorted(count, key=lambda kind: -size[kind])
    ]  # fmt: skip
    return f"{table(rows)}\n\n{_size(sum(size.values()))} in all"


def _plain(items: "Sequence[Cached]") -> list[dict[str, Any]]:
    return [asdict(one) | {"path": str(one.path), "files": [str(path) for path in one.files]} for one in items]


def _days(used: float) -> str:
    """``today``, ``12 days ago``."""
    days = int((time.time() - used) / 86400)
    return "today" if days < 1 else f"{days} day{'s' * (days > 1)} ago"


def _size(count: float) -> str:
    """Bytes, readable: ``4.1 GB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
