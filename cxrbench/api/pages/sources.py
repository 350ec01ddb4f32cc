"""What a leaderboard may be asked for later: read from the saved cells by then, and not held until then."""

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
class BoardSources:
    """Where a leaderboard came from: the arguments of ``api.leaderboard`` that are repeated for more of it.

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

    def tested(self, against: str) -> "Board":
        """The board with its tests against another baseline. Raises UserError, also where other cells are saved now."""
        from cxrbench.api.tables import leaderboard

        self._read()
        return leaderboard(
            self.results, baseline=against, tasks=self.tasks or (), metrics=self.metrics, replicates=self.replicates,
            seed=self.seed, cache=self.cache, bar=self.bar,
        ).board  # fmt: skip

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
        predictions = self._read()
        metrics = [name for name in self.metrics if name not in untested]
        groups = [
            by_group(
                one, self.results, baseline=self.baseline, tasks=self.tasks or (), metrics=metrics,
                replicates=self.replicates, seed=self.seed, cache=self.cache, bar=self.bar,
            ).found
            for one in by
        ]  # fmt: skip
        pictures = of_page(renamed(board, names), predictions, groups, names)
        return Inside(cards(predictions), groups, pictures)

    def _read(self) -> "list[Predictions]":
        """The predictions. Raises UserError unless the cells are those of the board."""
        found = saved_cells(self.results, self.tasks, self.cache, aggregates=True).predictions
        if cells_of(found) != self.cells:
            raise UserError("the results have changed since this leaderboard was made of them: make it anew")
        return found
