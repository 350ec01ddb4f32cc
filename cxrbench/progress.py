"""What long work tells whoever waits for it: bars on a terminal, elsewhere a line a minute."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TextIO, TypeVar

Item = TypeVar("Item")
MINUTE = 60.0
Advance = Callable[[int, int], None]
"""Is told how many of how many are done."""
Bar = Callable[[str], AbstractContextManager[Advance]]
"""Given what is being done, a context in which it is done and shown, and which gives what is to be told of it."""


def unheard(done: int, total: int) -> None:
    """The Advance of who need not be told."""


@contextmanager
def unseen(what: str) -> Iterator[Advance]:
    """The Bar of who shows nothing."""
    yield unheard


class Count:
    """Tells an ``Advance`` of what is done bit by bit, in any thread."""

    def __init__(self, advance: Advance, total: int) -> None:
        self.advance, self.total, self.done, self.lock = advance, total, 0, threading.Lock()

    def __call__(self, more: int) -> None:
        """So much more is done."""
        with self.lock:
            self.done += more
            self.advance(self.done, self.total)


class Progress:
    """What a caller may show while features are extracted; this one shows nothing."""

    def start(self, total: int, done: int) -> None:
        """Extraction begins; ``done`` rows are there already."""

    def advance(self, images: int) -> None:
        """Some images were embedded."""

    def wait(self, message: str) -> None:
        """Another process is doing the same work."""

    def note(self, message: str) -> None:
        """Something that the user should know, once."""

    def train(self, what: str, step: int, steps: int) -> None:
        """Training of a decoder or a head goes on: ``step`` of at most ``steps`` is done."""


class Heartbeat:
    """A line a minute on stderr while something goes on: what ``line`` says, and how long it has taken.

    Nothing within the first minute; never where ``out`` is a terminal, for there is a bar. A thread of its own prints,
    so that a step that says nothing for an hour is seen to be alive.
    """

    def __init__(
        self,
        line: Callable[[], str],
        *,
        every: float = MINUTE,
        clock: Callable[[], float] = time.monotonic,
        out: TextIO | None = None,
    ) -> None:
        self.line, self.every, self.clock, self.out = line, every, clock, out
        self.began = self.last = clock()
        self.over, self.beating = threading.Event(), threading.Thread(target=self._run)

    def __enter__(self) -> "Heartbeat":
        self.began = self.last = self.clock()
        self.over.clear()
        if not (self.out or sys.stderr).isatty():
            self.beating = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self.beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        if self.beating.is_alive():  # no line comes after the end
            self.beating.join()

    def beat(self) -> None:
        """Print the line if none has been printed for a minute."""
        now = self.clock()
        if now - self.last >= self.every:
            self.last = now
            minutes = int((now - self.began) / MINUTE)
            print(f"{self.line()}, {minutes} min so far", file=self.out or sys.stderr, flush=True)

    def _run(self) -> None:
        while not self.over.wait(self.every):
            self.beat()


def counted(what: str, done: float, total: float | None) -> str:
    """``preparing images: 1,200 of 5,000``."""
    return f"{what}: {done:,.0f}" + (f" of {total:,.0f}" if total else "")


def tracked(items: Iterable[Item], what: str, total: int, *, done: int = 0) -> Iterator[Item]:
    """The items, with a bar on stderr, or a line a minute where that is no terminal. ``done``: of ``total``, before."""
    from rich.console import Console
    from rich.progress import track

    count = done
    console = Console(stderr=True)
    with Heartbeat(lambda: counted(what, count, total)):
        for item in track(items, what, total, completed=done, console=console, disable=not console.is_terminal):
            yield item
            count += 1
