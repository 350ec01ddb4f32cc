"""A metric of a whole cell, prepared once and applied to the weights of any number of resamples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cxrbench.metrics.classification import Prepared

NO_MEAN = "no mean over numbers, whose units differ: see each by itself"


@dataclass(frozen=True)
class Measure:
    """A metric of a whole cell.

    ``prepare(rows, labels)``: from the test rows [n] of one cell to a function of weights [n, B] for each label, and
    for ``macro`` where that is not the mean over labels. A label that it leaves out has no such metric; where it gives
    nothing at all, the metric does not belong to this task.

    ``share``: values lie in [0, 1]. ``in_units``: they are in the unit of what is predicted, which labels do not share,
    so that there is no mean over several labels (``has_mean``). ``ranks``: rows are compared with each other, so that
    those which several models have scored must not be mixed. ``tested``: whether a better value is a claim that can be
    tested; if not, ``by_chance(rows, labels)`` says by label what to expect of scores that are right but for chance.

    ``read(rows, labels)``, where there is one, gives what several measures need of a cell, and ``of_read`` prepares
    from that: those with the same ``read`` share it (``prepare_all``).
    """

    name: str
    title: str
    prepare: Callable[[pd.DataFrame, Sequence[str]], Mapping[str, Prepared]]
    higher_is_better: bool = True
    share: bool = True
    in_units: bool = False
    ranks: bool = False
    tested: bool = True
    by_chance: Callable[[pd.DataFrame, Sequence[str]], Mapping[str, float]] | None = None
    read: Callable[[pd.DataFrame, Sequence[str]], Any] | None = None
    of_read: Callable[[Any], Mapping[str, Prepared]] | None = None

    @property
    def sign(self) -> int:
        """What turns values so that more is better."""
        return 1 if self.higher_is_better else -1

    def has_mean(self, labels: Iterable[str]) -> bool:
        """Whether values of these labels have a mean; else ``NO_MEAN`` says why not."""
        return not self.in_units or len({*labels}) < 2


def prepare_all(measures: Sequence[Measure], rows: pd.DataFrame, labels: Sequence[str]) -> list[Mapping[str, Prepared]]:
    """``prepare`` of each measure on the test rows of one cell."""
    read: dict[int, Any] = {}
    found = []
    for one in measures:
        if one.read is None or one.of_read is None:
            found.append(one.prepare(rows, labels))
            continue
        if id(one.read) not in read:
            read[id(one.read)] = one.read(rows, labels)
        found.append(one.of_read(read[id(one.read)]))
    return found
