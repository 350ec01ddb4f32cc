"""What a person sees while something runs: progress on stderr, nothing when it is piped."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

from cxrbench.progress import Progress

STDERR = Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """One line on stderr, if a person is there to read it."""
    if sys.stderr.isatty():
        STDERR.print(message, markup=False)


def warn(message: str) -> None:
    """One line on stderr that matters even when nobody watches."""
    print(message, file=sys.stderr)


class SpeedColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """E.g. ``312/s``."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


def bar() -> Bars:
    """A progress bar on stderr: description, bar, counts, speed, time left. Disabled when stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        SpeedColumn(),
        TimeRemainingColumn(),
    )
    return Bars(*columns, console=STDERR, transient=True, disable=not sys.stderr.isatty())


@contextmanager
def counting(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for work that reports (done, total)."""
    with bar() as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class ExtractionBar(Progress):
    """Shows the extraction of features on a running bar."""

    def __init__(self, progress: Bars) -> None:
        self.progress = progress
        self.task = progress.add_task("features", total=None, visible=False)

    def begin(self, description: str) -> None:
        """Name what comes next."""
        self.progress.update(self.task, description=description, visible=False)

    def start(self, total: int, done: int) -> None:
        """Extraction begins."""
        self.progress.reset(self.task, total=total, completed=done, visible=True)

    def advance(self, images: int) -> None:
        """Some images were embedded."""
        self.progress.advance(self.task, images)

    def wait(self, message: str) -> None:
        """Another process is at it."""
        warn(message)
