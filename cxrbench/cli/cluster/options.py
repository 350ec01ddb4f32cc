"""What the options of work that several processes share stand for."""

import re
import signal
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from cxrbench import api
from cxrbench.errors import UserError

ExecutorOption = Annotated[
    str | None,
    typer.Option(
        help="Have workers compute: local or local:N processes [default: one per GPU, else one], slurm:N jobs, ray or "
        "ray:N tasks."
    ),
]
ExecutorOptionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--executor-option",
        help="KEY=VALUE for the executor, e.g. threads=2; repeatable, with one KEY a list.",
    ),
]
RetriesOption = Annotated[
    int | None,
    typer.Option(min=0, help="Try a cell that failed again, so often [default: 2 with workers, else 0]."),
]
ShardOption = Annotated[
    str | None,
    typer.Option(help="i/N: be the i-th of N such commands, wherever they run; its share first, then of the rest."),
]
LONGEST_LEASE = 86400.0  # seconds, a day: whoever waits longer for the dead waits for ever


def _lease(seconds: float) -> float:
    """Raises UserError for what is no sensible number, ``nan`` and ``inf`` among it."""
    if not 1 <= seconds <= LONGEST_LEASE:
        raise UserError(f"--lease {seconds:g}: give seconds from 1 to {LONGEST_LEASE:.0f}, a day")
    return seconds


LeaseOption = Annotated[
    float,
    typer.Option(
        "--lease", callback=_lease, help="Seconds (1 to 86400) after which a worker that gives no sign of life is dead."
    ),
]


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """``2/3`` as two numbers. Raises UserError."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {text!r}: give i/N with i from 1 to N, e.g. 1/3")
    return int(match[1]), int(match[2])


def executor_table(executor: str | Mapping[str, Any] | None, options: Sequence[str]) -> dict[str, Any] | str | None:
    """An executor, by name or as a run file's table, with options that were typed. Raises UserError."""
    if not options:
        return dict(executor) if isinstance(executor, Mapping) else executor
    if executor is None:
        raise UserError(f"--executor-option {options[0]}: there is no --executor, nor a run file's [executor]")
    table, typed = api.executor_table(executor), set[str]()
    for option in options:
        name, equals, value = option.partition("=")
        if not name or not equals:
            raise UserError(f"--executor-option {option!r}: give KEY=VALUE, e.g. threads=2")
        if name in typed:
            table[name] = [*(table[name] if isinstance(table[name], list) else [table[name]]), value]
        else:
            table[name] = value
        typed.add(name)
    return table


def interruptible() -> None:
    """SIGTERM, a scheduler's word for the end, is as Ctrl-C: what is at hand is kept, and leases are given back."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # schedulers say it again while we end
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
