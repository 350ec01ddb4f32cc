"""All prepared metrics of one cell as one function: what several of them need is computed once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cxrbench.metrics.prepared import Array, OfSums, Prepared, SumsTogether, Weights
from cxrbench.metrics.ranking import OfRanks, Ranking, RankSums


@dataclass(frozen=True)
class Together:
    """Of weights [n, B] to values [metrics, B]. Cells with the same predictions have the same numbers, to the bit.

    ``sums``, ``ranks``, ``others``: which of the metrics (``places``) are computed how.
    """

    metrics: int
    places: tuple[int, ...]
    sums: SumsTogether | None
    ranks: tuple[tuple[Ranking, tuple[tuple[int, Callable[[RankSums], Array]], ...]], ...]
    others: tuple[tuple[int, Prepared], ...]

    @staticmethod
    def of(prepared: Sequence[Prepared]) -> "Together":
        """Of metrics in the order of their values; at least one."""
        of_sums = [(i, one) for i, one in enumerate(prepared) if isinstance(one, OfSums)]
        ranks: dict[int, list[tuple[int, OfRanks]]] = {}
        for i, one in enumerate(prepared):
            if isinstance(one, OfRanks):
                ranks.setdefault(id(one.ranking), []).append((i, one))
        return Together(
            len(prepared),
            tuple(i for i, _ in of_sums),
            SumsTogether.of([one for _, one in of_sums]) if of_sums else None,
            tuple((same[0][1].ranking, tuple((i, one.finish) for i, one in same)) for same in ranks.values()),
            tuple((i, one) for i, one in enumerate(prepared) if not isinstance(one, OfSums | OfRanks)),
        )

    def __call__(self, weights: Weights) -> Array:
        """Values [metrics, B]."""
        values = np.empty((self.metrics, weights.sums.shape[1]))
        if self.sums is not None:
            values[list(self.places)] = self.sums(weights)
        for ranking, metrics in self.ranks:
            sums = ranking(weights)
            for i, finish in metrics:
                values[i] = finish(sums)
        for i, one in self.others:
            values[i] = one(weights)
        return values
