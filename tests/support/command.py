"""The command line as a function."""

import sys
from collections.abc import Callable

import pytest

from cxrbench.cli import main as cli
from cxrbench.progress import Heartbeat

CommandLine = Callable[..., tuple[int, str, str]]
"""``cxrbench`` below, of the test that calls it: words of a command."""


def cxrbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command, in this process; no line a minute, however long it takes."""
    defaults = Heartbeat.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "every", 1e9)
    monkeypatch.setattr(sys, "argv", ["cxrbench", *words])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err
