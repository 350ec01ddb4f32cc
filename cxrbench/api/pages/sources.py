"""What a page shows beside the board: read from the saved cells when it is asked for, and not held until then."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.api.saved import Saved, saved_cells
from cxrbench.errors import UserError
from cxrbench.progress import Bar

if TYPE_CHECKING:
    from cxrbench.leaderboard.board import Board
    from cxrbench.leaderboard.cells import Look
    from cxrbench.leaderboard.page.inside import Inside
    from cxrbench.predictions import Predictions


def cells_of(predictions: "Iterable[Predictions]") -> frozenset[str]:
    """What cells there are, each with the state of its encoder, data and head."""
    return frozenset(json.dumps(one.cell, sort_keys=True, default=str) for one in predictions)


@dataclass(frozen=True)
class PageSources:
    """Where a leaderboard came from: the arguments of ``api.leaderboard`` that a page has to repeat.

    ``cells``: those that it was made of, by ``cells_of``.
    """

    results: Saved
    tasks: tuple[str, ...] | None
    baseline: str | None
    metrics: tuple[str, ...]
    replicates: int
    seed: int
    cache: Path | str | None
    bar: Bar
    cells: frozenset[str]

    def inside(self, board: "Board", look: "Look", by: Sequence[str]) -> "Inside":
        """Cards, pictures, and the encoders within groups of patients (``by``: sex, age, view, site, scanner).

        Raises UserError, as ``by_group`` does, and where other cells are saved now than those of the board.
        """
        from cxrbench.api.tables import by_group
        from cxrbench.leaderboard.display import encoders_of, renamed, shown_names
        from cxrbench.leaderboard.page.cards import cards
        from cxrbench.leaderboard.page.inside import Inside
        from cxrbench.leaderboard.pictures.whole import of_page
        from cxrbench.metrics.kinds import KINDS

        names = shown_names(encoders_of(board), look.names)
        untested = {one.name for kind in KINDS.values() for one in kind.measures.values() if not one.tested}
        found = saved_cells(self.results, self.tasks, self.cache, aggregates=True)
        if cells_of(found.predictions) != self.cells:
            raise UserError("the results have changed since this leaderboard was made of them: make it anew")
        metrics = [name for name in self.metrics if name not in untested]
        groups = [
            by_group(
                one, self.results, baseline=self.baseline, tasks=self.tasks or (), metrics=metrics,
                replicates=self.replicates, seed=self.seed, cache=self.cache, bar=self.bar,
            ).found
            for one in by
        ]  # fmt: skip
        pictures = of_page(renamed(board, names), found.predictions, groups, names)
        return Inside(cards(found.predictions), groups, pictures)
