"""A metric of a whole cell, prepared once and applied to the weights of any number of resamples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from cxrbench.metrics.classification import Prepared


@dataclass(frozen=True)
class Measure:
    """A metric of a whole cell.

    ``prepare(rows, labels)``: from the test rows [n] of one cell to a function of weights [n, B] for each label, and
    for ``macro`` where that is not the mean over labels. A label that it leaves out has no such metric; where it gives
    nothing at all, the metric does not belong to this task.
    """

    name: str
    title: str
    prepare: Callable[[pd.DataFrame, Sequence[str]], Mapping[str, Prepared]]
    higher_is_better: bool = True
