"""Results that were saved: all of a folder's, or those of one run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from cxrbench.errors import UserError
from cxrbench.files.folders import cache_folder
from cxrbench.progress import Bar

if TYPE_CHECKING:
    from cxrbench.api.forms import Leaderboard
    from cxrbench.engine.results import Results
    from cxrbench.leaderboard.statistics.kept import Evaluations
    from cxrbench.predictions import NotApplicable, Predictions

log = logging.getLogger(__name__)


class LeaderboardOptions(TypedDict, total=False):
    """What may be said of a leaderboard: the arguments of ``api.leaderboard`` but for the results."""

    baseline: str | None
    tasks: str | Sequence[str]
    metrics: str | Sequence[str]
    replicates: int
    seed: int
    rope: float
    names: str | Sequence[str]
    labels: str | Sequence[str]
    spread: Literal["interval", "sd"]
    published: bool
    cache: Path | str | None
    bar: Bar


@dataclass(frozen=True)
class SavedResults:
    """The finished cells of a results folder."""

    folder: Path

    def leaderboard(self, **options: Unpack[LeaderboardOptions]) -> "Leaderboard":
        """The leaderboard of these results and no others: see ``api.leaderboard``. Raises UserError."""
        from cxrbench.api.tables import leaderboard

        return leaderboard(self, **options)

    def has(self, cell: Mapping[str, Any]) -> bool:
        """Whether a cell of the folder is one of these results."""
        del cell
        return True


Saved = Path | str | SavedResults
"""Whose results: all of a folder's, or those of one run."""


def load_results(folder: Path | str = "results") -> SavedResults:
    """The results folder of earlier runs. Raises UserError if it is not there::

    cxrbench.load_results("results").leaderboard(baseline="imagenet").to_pandas()
    """
    place = _folder(folder)
    if not place.is_dir():
        raise UserError(f"no results folder {folder} (looked from {Path.cwd()}): `cxrbench run` makes one")
    return SavedResults(place)


@dataclass(frozen=True)
class SavedCells:
    """What is finished of a store: predictions (of other tasks than those wanted the header alone), and who was not
    asked.
    """

    store: "Results"
    predictions: "list[Predictions]"
    not_applicable: "list[NotApplicable]"
    aggregates: list[dict[str, Any]]


def saved_cells(
    results: Saved, tasks: tuple[str, ...] | None, cache: Path | str | None = None, *, aggregates: bool = False
) -> SavedCells:
    """The finished cells of a folder, as far as they are meant. Raises UserError if there are none.

    ``cache``: where is remembered what stands in the heads of files that are not needed whole. ``aggregates``: columns
    of which sufficient statistics are all that is there will do as well.
    """
    from cxrbench.engine.results import Results

    meant = results if isinstance(results, SavedResults) else SavedResults(_folder(results))
    store = Results(meant.folder)
    columns = store.load_aggregates() if type(meant) is SavedResults else []  # of one run there are none
    none = columns and not any((meant.folder / "cells").glob("*/*/*/fraction-*-seed-*.parquet"))
    if none and not aggregates:
        raise UserError(f"{meant.folder} has aggregates and no cells: a leaderboard is all that can be drawn")
    headers = store.headers(cache_folder(cache))
    found = SavedCells(
        store,
        [] if none else [one for one in store.load_predictions(tasks or (), headers) if meant.has(one.cell)],
        [one for one in store.load_not_applicable(headers) if meant.has(one.cell)],
        columns,
    )
    headers.keep()
    return found


def saved_names(given: str | Sequence[str], what: str) -> tuple[str, ...] | None:
    """Tasks or data sets as results name them; None where none was named. ``what``: the argument, for messages."""
    from cxrbench.engine.registry import saved_task
    from cxrbench.engine.settings import names

    return tuple(map(saved_task, names(given, what))) or None


def _folder(results: object) -> Path:
    """A results folder's path. Raises UserError for what is none."""
    if not isinstance(results, (str, Path)):
        raise UserError(f"results are a {type(results).__name__}: give a folder, or what cxrbench.run gave")
    return Path(results).expanduser()


def kept_in(cache: Path | str | None) -> "Evaluations":
    """Evaluations of before, in the cache folder."""
    from cxrbench.leaderboard.statistics.kept import Evaluations

    return Evaluations(cache_folder(cache) / "evaluations", log.warning)
