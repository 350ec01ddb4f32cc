"""A line a minute where nobody watches a bar."""

import io

from cxrbench.cli.console import QuietBars
from cxrbench.progress import Heartbeat, counted, tracked


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_line_a_minute_and_none_within_the_first() -> None:
    clock, out = Clock(), io.StringIO()
    heart = Heartbeat(lambda: "reading", clock=clock, out=out)
    for seconds in (30, 29, 2, 30, 29, 61):  # at 30, 59, 61, 91, 120 and 181 s
        clock.now += seconds
        heart.beat()
    assert out.getvalue().splitlines() == ["reading, 1 min so far", "reading, 3 min so far"]


def test_a_step_that_says_nothing_is_told_by_a_thread_of_its_own() -> None:
    clock, out = Clock(), io.StringIO()
    with Heartbeat(lambda: "thinking", every=0.0, clock=clock, out=out) as heart:
        while not out.getvalue():  # the thread beats without being asked
            pass
        assert not heart.over.is_set()
    assert heart.over.is_set()


def test_no_line_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with Heartbeat(lambda: "x", every=0.0, out=out):
        pass
    assert out.getvalue() == ""


def test_tracked_items_are_the_items() -> None:
    assert list(tracked("abc", "letters", 5, done=2)) == ["a", "b", "c"]


def test_what_bars_would_show_is_one_line() -> None:
    bars = QuietBars()
    assert bars.line() == "working"
    cells = bars.add_task("cells", total=12, completed=3)
    bars.add_task("features\x1b[2J", total=5000, completed=1200)
    bars.add_task("training", total=None, visible=False)
    assert bars.line() == "cells: 3 of 12; features\\x1b[2J: 1,200 of 5,000"
    bars.update(cells, completed=12)
    assert bars.line() == "features\\x1b[2J: 1,200 of 5,000"
    assert counted("x", 1, None) == "x: 1"
