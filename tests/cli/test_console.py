"""Names on the terminal: whatever is in them, they stay in their place."""

from pathlib import Path

import pytest

from cxrbench.cli import console
from cxrbench.cli.console import table, visible_lines
from support.command import cxrbench

EVIL = "a\nb\x1b[31m\u202ec\u200b"
SHOWN = "a\\nb\\x1b[31m\\u202ec\\u200b"


def test_a_name_in_a_table_stays_in_its_cell() -> None:
    lines = table([{"encoder": EVIL, EVIL: 1.5}, {"encoder": "b", EVIL: None}]).splitlines()
    assert len(lines) == 4
    assert lines[2].split() == [SHOWN, "1.5"]
    assert SHOWN in lines[0]
    assert lines[3].endswith("undefined")
    assert visible_lines(f"x\ny{EVIL[3:]}") == "x\ny\\x1b[31m\\u202ec\\u200b"


@pytest.mark.usefixtures("folders")
def test_an_error_is_one_line_whatever_was_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = cxrbench(monkeypatch, capsys, "run", "--encoder", EVIL, "--tasks", "rsna")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "\x1b" not in err
    assert "\u202e" not in err


@pytest.mark.usefixtures("folders")
def test_labels_of_a_table_cannot_move_the_cursor(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.write_text(dataset.read_text().replace("coin", "coin\x1b[2J", 1))
    _, out, _ = cxrbench(monkeypatch, capsys, "data", "check", str(dataset))
    assert "coin" in out
    assert "\x1b" not in out


def test_a_table_shows_names_that_look_like_numbers_and_fractions_to_their_last_digit() -> None:
    shown = table([{"task": "007:knn", "dataset": "007", "fraction": 0.3000001}, {"dataset": "1e3", "fraction": 1.0}])
    assert [line.split() for line in shown.splitlines()[2:]] == [
        ["007:knn", "007", "0.3000001"],
        ["undefined", "1e3", "1"],
    ]


def test_short_work_shows_nothing_and_long_work_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[str] = []
    monkeypatch.setattr(console.QuietBars, "start", lambda self: began.append(self.line()))
    with console.counting_late("evaluating") as advance:
        advance(1, 2)
    assert began == []
    with console.counting_late("evaluating", after=-1) as advance:
        advance(1, 2)
        advance(2, 2)
    assert began == ["evaluating: 1 of 2"]
