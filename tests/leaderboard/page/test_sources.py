"""A page is of the cells that its board is of."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrbench import api
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.predictions import Predictions
from cxrbench.task import Cell


def save(results: Results, made: Predictions) -> None:
    encoder = str(made.cell["encoder"])
    known = {**made.encoder, "name": encoder, "fingerprint": encoder}
    results.save(Cell(encoder, "vindr", "classification"), replace(made, encoder=known))


def test_results_that_changed_since_the_board_was_made_give_no_page_of_two_states(tmp_path: Path, made_up: Any) -> None:
    results = Results(tmp_path / "results")
    for encoder in ("spcl", "random"):
        save(results, made_up(encoder))
    board = api.leaderboard(results.root, replicates=100, cache=tmp_path / "cache")
    assert board.to_page() == board.to_page()
    save(results, made_up("pixels"))
    with pytest.raises(UserError, match="the results have changed since this leaderboard was made of them"):
        board.to_page()
