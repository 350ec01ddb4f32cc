"""``--protocols`` on the command line and in Python."""

import json
from dataclasses import replace

import pytest

from cxrbench import api
from cxrbench.errors import UserError
from support.command import cxrbench as command

TWO = ("classification", "classification+views2")


@pytest.fixture
def results(made_up, tmp_path, monkeypatch):
    """A results folder of one encoder under two protocols on a data set that came from a CSV."""
    monkeypatch.chdir(tmp_path)
    for protocol, strength in zip(TWO, (0.5, 2.0), strict=True):
        one = made_up(protocol, "clinic", strength)
        one = replace(one, cell={**one.cell, "encoder": "a", "protocol": protocol})
        one.save(tmp_path / "results" / "cells" / "clinic" / protocol / "a" / "fraction-1-seed-0.parquet")
    return tmp_path / "results"


@pytest.mark.usefixtures("results")
def test_it_prints_what_python_returns(monkeypatch, capsys):
    words = ["--protocols", ",".join(TWO), "--tasks", "./clinic/labels.csv", "--replicates", "100"]
    asked = {"datasets": "./clinic/labels.csv", "replicates": 100}
    text = api.compare_protocols("a", TWO, **asked, margin=0.1).to_markdown()
    assert command(monkeypatch, capsys, "compare", "a", *words, "--margin", "0.1") == (0, text, "")
    whole = api.compare_protocols("a", ",".join(TWO), **asked).to_json()
    assert command(monkeypatch, capsys, "compare", "a", *words, "--json") == (0, whole, "")
    assert json.loads(whole)["encoder"] == "a"
    names = f"{TWO[1]}=two views"
    board = ["leaderboard", "--encoder", "a", *words, "--baseline", TWO[1], "--names", names, "--metrics", "auroc"]
    found = str(api.leaderboard_of_protocols("a", TWO, **asked, baseline=TWO[1], names=names, metrics="auroc"))
    with pytest.raises(UserError, match="a board of protocols has no groups of patients"):
        api.leaderboard_of_protocols("a", TWO, **asked).to_page("sex")
    assert command(monkeypatch, capsys, *board) == (0, found, "")
    assert "better than the baseline `two views`" in found
    assert f"- `two views`: `{TWO[1]}`" in found
    for form in ("csv", "json"):
        code, text, _ = command(monkeypatch, capsys, *board, "--format", form)
        assert (code, TWO[1] in text, "two views" in text) == (0, True, False)


@pytest.mark.usefixtures("results")
def test_half_a_question_is_one_clear_line(monkeypatch, capsys):
    for words, message in (
        (["compare", "a"], "compare A B asks of two encoders, compare A --protocols P,Q of two protocols of one"),
        (["compare", "a", "b", "--protocols", "c,d"], "compare A B asks of two encoders"),
        (["leaderboard", "--protocols", "c,d"], "--encoder NAME and --protocols A,B,... go together"),
        (["leaderboard", "--encoder", "a"], "--encoder NAME and --protocols A,B,... go together"),
        (["leaderboard", "--encoder", "a", "--protocols", ",".join(TWO), "--by", "sex"], "--by and --protocols"),
    ):
        code, out, said = command(monkeypatch, capsys, *words)
        assert (code, out, message in said, said.count("\n")) == (2, "", True, 1)
