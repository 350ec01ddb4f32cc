"""A run off a terminal is not silent for long, and says nothing where it is short."""

import re
from pathlib import Path

import pytest

from cxrbench.cli import console
from cxrbench.progress import Heartbeat
from support.command import cxrbench

PART = r"[a-z ]+: [\d,]+( of [\d,]+)?"
LINE = re.compile(rf"(working|{PART}(; {PART})*), \d+ min so far")


@pytest.mark.usefixtures("folders")
def test_a_run_says_where_it_is_when_a_minute_has_passed(
    encoder: str, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10**9, 61))

    def heartbeat(line: object) -> Heartbeat:
        return Heartbeat(line, every=0.001, clock=lambda: float(next(clock)))  # type: ignore[arg-type]

    words = ["run", "--encoder", encoder, "--tasks", f"{dataset}:classification", "--batch-size", "4"]
    code, _, err = cxrbench(monkeypatch, capsys, *words, "--results", "quick")
    assert (code, err) == (0, "")
    monkeypatch.setattr(console, "Heartbeat", heartbeat)
    code, _, err = cxrbench(monkeypatch, capsys, *words, "--results", "slow", "--cache", "other")
    assert code == 0
    assert err
    assert [line for line in err.splitlines() if not LINE.fullmatch(line)] == []
