"""A printed figure that has a place beside a board's cells."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cxrbench.leaderboard.statistics.alignment import AlignedTask

CAUTION = (
    "In italics: as published, in our unit; never tested, ranked or averaged. Test set, training and choice of the "
    "checkpoint are the paper's, so a higher or a lower number is no evidence"
)


@dataclass(frozen=True)
class PublishedFigure:
    """``encoder``: the method as the paper prints it; ``paper``: its title, ``table``: the table, or several.

    ``task``, ``metric``, ``label``: the board's own cell that it stands beside (``macro``: the headline). ``value``: in
    our unit, NaN where the paper prints no number; ``printed``: the same as text, with as many digits as the paper has.
    ``spread``, ``n``: as printed, "" where it says none. ``ours``: encoders of the board that it may be of.
    ``differs``: what is other here, or not known, one phrase each. ``source``: where it stands.
    """

    paper: str
    table: str
    encoder: str
    task: AlignedTask
    metric: str
    label: str
    value: float
    printed: str
    spread: str
    n: str
    source: str
    differs: tuple[str, ...]
    ours: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        """What a row of a table calls it: the method, whose paper prints it, and which encoder of ours it is of."""
        here = f"; here {self.ours[0]}" if len(self.ours) == 1 else ""
        return f"{self.encoder} ({self.paper}{here})"


@dataclass(frozen=True)
class Published:
    """The figures beside a board, and a line for those of its data sets that have no place in it."""

    figures: tuple[PublishedFigure, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What must be known of the whole, a line each."""
        return (*([f"{CAUTION}. Its cell says what differs"] if self.figures else []), *self.left_out)

    def renamed(self, names: Mapping[str, str]) -> "Published":
        """With the board's encoders by their names."""
        figures = (replace(one, ours=tuple(names.get(e, e) for e in one.ours)) for one in self.figures)
        return replace(self, figures=tuple(figures))


NOTHING_PUBLISHED = Published()
