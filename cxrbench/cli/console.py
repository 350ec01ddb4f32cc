"""What a person sees while something runs: progress on stderr, nothing when it is piped."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from cxrbench.files.names import visible
from cxrbench.progress import Advance, Heartbeat, Progress, counted

STDERR = Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """One line on stderr, if a person is there to read it."""
    if sys.stderr.isatty():
        STDERR.print(visible(message), markup=False)


def warn(message: str) -> None:
    """One line on stderr that matters even when nobody watches."""
    print(visible(message), file=sys.stderr)


class SpeedColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """E.g. ``312/s``; nothing for what takes longer than a second each."""
        return Text(f"{task.speed:,.0f}/s" if task.speed and task.speed >= 1 else "")


class QuietBars(Bars):
    """Bars that nobody sees: what they would show is a line a minute on stderr instead."""

    def __init__(self) -> None:
        super().__init__(console=STDERR, disable=True)
        self.heartbeat = Heartbeat(self.line)

    def line(self) -> str:
        """What is going on: ``cells: 3 of 12; features: 1,200 of 5,000``."""
        shown = [task for task in self.tasks if task.visible and not task.finished]
        return "; ".join(counted(visible(task.description), task.completed, task.total) for task in shown) or "working"

    def start(self) -> None:
        """From here on, a line a minute."""
        self.heartbeat.__enter__()

    def stop(self) -> None:
        """No more lines."""
        self.heartbeat.__exit__(None, None, None)


def bar() -> Bars:
    """A progress bar on stderr: description, bar, counts, speed, time left. A line a minute if that is no terminal."""
    if not sys.stderr.isatty():
        return QuietBars()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        SpeedColumn(),
        TimeRemainingColumn(),
    )
    return Bars(*columns, console=STDERR, transient=True)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as an aligned plain table; names in it are shown as they are written, whatever is in them."""
    from tabulate import tabulate

    shown = [{visible(str(k)): visible(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows]
    names = list(dict.fromkeys(name for row in shown for name in row))
    texts = [i for i, name in enumerate(names) if any(isinstance(row.get(name), str) for row in shown)]
    return tabulate(shown, headers="keys", missingval="undefined", floatfmt=".10g", disable_numparse=texts)


def visible_lines(text: str) -> str:
    """Lines, each with whatever a name in it could do to a terminal written out."""
    return "\n".join(map(visible, text.split("\n")))


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Rows as JSON or as an aligned table, on stdout."""
    print(json.dumps(rows, indent=1) if as_json else table(rows))


@contextmanager
def counting(description: str) -> Iterator[Advance]:
    """A bar for work that says how many of how many are done."""
    with bar() as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def counting_late(description: str, after: float = 5.0) -> Iterator[Advance]:
    """``counting``, but nothing is shown of what is over within so many seconds."""
    progress, began, shown = bar(), time.monotonic(), False
    task = progress.add_task(description, total=None)

    def advance(done: int, total: int) -> None:
        nonlocal shown
        progress.update(task, completed=done, total=total)
        if not shown and time.monotonic() - began > after:
            shown = True
            progress.start()

    try:
        yield advance
    finally:
        if shown:
            progress.stop()


class RunBars(Progress):
    """Shows extraction and training on running bars; one that has ended is hidden."""

    def __init__(self, progress: Bars) -> None:
        self.progress = progress
        self.features = progress.add_task("features", total=None, visible=False)
        self.training = progress.add_task("training", total=None, visible=False)
        self.noted: set[str] = set()

    def start(self, total: int, done: int) -> None:
        """Extraction begins."""
        self.progress.reset(self.features, total=total, completed=done, visible=True)

    def advance(self, images: int) -> None:
        """Some images were embedded."""
        self.progress.advance(self.features, images)

    def train(self, what: str, step: int, steps: int) -> None:
        """Training of ``what`` has done ``step`` of at most ``steps``."""
        if self.progress.tasks[self.training].description != what:
            self.progress.reset(self.training, description=what, total=steps)
            self.progress.update(self.features, visible=False)
        self.progress.update(self.training, completed=step, total=steps, visible=step < steps)

    def done(self) -> None:
        """A cell is finished: only the bar of the cells stays."""
        for task in (self.features, self.training):
            self.progress.update(task, visible=False)

    def note(self, message: str) -> None:
        """Something that the user should know: said once."""
        if message not in self.noted:
            self.noted.add(message)
            warn(message)

    def wait(self, message: str) -> None:
        """Another process is at it."""
        warn(message)
