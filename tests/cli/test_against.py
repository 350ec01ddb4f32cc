"""Which baseline a form has: --against is of the grid, and only of it."""

import re

import pytest

from cxrbench.cli.leaderboard import tested_against as baseline_of
from cxrbench.errors import UserError


def test_a_grid_is_tested_against_what_it_says() -> None:
    assert baseline_of("grid", "imagenet", None, "") == "imagenet"
    assert baseline_of("grid", "imagenet", "imagenet", "") == "imagenet"
    assert baseline_of("md", "", "pixels", "") == "pixels"
    assert baseline_of("csv", "", None, "sex") is None


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("grid", "", None, ""), "--format grid needs --against NAME"),
        (("md", "imagenet", None, ""), "--against is of --format grid"),
        (("grid", "imagenet", "random", ""), "leave out --baseline random"),
        (("grid", "imagenet", None, "sex"), "--by has no grid"),
        (("gird", "", None, ""), "--format"),
    ],
)
def test_what_does_not_fit_is_one_line(given: tuple, problem: str) -> None:
    with pytest.raises(UserError, match=re.escape(problem)) as told:
        baseline_of(*given)
    assert "\n" not in str(told.value)
