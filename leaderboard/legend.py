"""What stands under every table: what was resampled, what was tested, how many tests, by which policy."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.cells import Spread
from cxrbench.leaderboard.render import ABSENT, NOT_APPLICABLE, code
from cxrbench.leaderboard.statistics.significance import ALPHA


class Tests(NamedTuple):
    """How many tests against the baseline a headline table holds: of its ``cells``, and of its ``means``."""

    cells: int
    means: int

    def __str__(self) -> str:
        return f"{self.cells} of cells and {self.means} of means" if self.means else str(self.cells)


def legend(board: Board, tests: Sequence[Tests], spread: Spread) -> str:
    """What was resampled and tested, and what the marks cannot say.

    ``tests``: of each headline table; empty where each table says its own.
    """
    what = "value [95% interval]"
    if spread == "sd":
        what = (
            "mean ± SD over training seeds, or over folds where one seed was cross-validated; a value alone where "
            "neither was done. The SD says how far runs lie apart, nothing of the patients; intervals are in the CSV"
        )
    row = board.row
    lines = [
        f"Cells: {what}. Patients were resampled, {board.replicates:,} times, alike for all {row}s; "
        "intervals are Student's t on that standard error, on the logit scale for values between 0 and 1, and cover "
        "training seeds where several were run. With one seed they are conditional on what it trained. **Best**, "
        "<u>second</u>.",
        f"Letters: {row}s of a column that share a letter are not separated by any paired test (two-sided, Holm over "
        f"all pairs of a table, 5%). {ABSENT} in their place: not tested, see the notes.",
        "Smallest detectable difference: what the strictest of a table's tests against the baseline finds with 80% "
        f"power, median over {row}s: how sensitive the test set is, not what to believe of a difference.",
        f"{ABSENT}: no result or undefined; {NOT_APPLICABLE}: the encoder cannot be asked this (see the notes); "
        f"{'a protocol' if board.encoder else 'an encoder'} with such a cell gets no mean.",
    ]
    if board.baseline is None:
        lines.insert(1, f"No baseline was declared, so no {row} is tested against one (`--baseline NAME`).")
    else:
        count = ", ".join(map(str, tests)) + " (tables from the top)" * (len(tests) > 1)
        made = f" Tests made: {count}." * bool(tests)
        family = "a metric and label fraction" if board.encoder else "a metric, protocol and label fraction"
        means = any(of.means for of in tests) or (not tests and board.overall)
        apart = " among the cells, and of at most 5% among the means" if means else ""
        lines.insert(
            1,
            f"`*`: better than the baseline {code(board.baseline)}, p < {ALPHA:g}, one-tailed, paired. Policy: in each "
            f"table ({family}) a false `*` has a probability of at most 5%{apart} (Holm).{made} "
            "The 90% interval of a gain ends where its one-tailed test does.",
        )
    if board.overall:
        lines.append(
            "Over all columns: each test set's patients resampled by themselves, as if no patient were in two of them; "
            "ranks and shares with the training seeds as they are. Ranks, shares and means are about these test sets, "
            "not about data sets that are not here."
        )
    if any(not math.isnan(one.better) for encoders in board.overall.values() for one in encoders):
        lines.append(
            f"Elsewhere: posterior probabilities that on data sets at large the {row} is better than the baseline by "
            f"more than {board.rope:g}, within that of it, or worse by more (Bayesian signed-rank test; each column "
            "counts as one data set of many that are alike)."
        )
    return "\n".join(f"- {line}" for line in lines)
