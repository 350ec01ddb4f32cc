"""Tables in every form: Markdown when printed, HTML in a notebook, LaTeX for a paper, pandas to compute with."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cxrbench.errors import UserError, chosen

if TYPE_CHECKING:
    import pandas as pd

    from cxrbench.api.pages.sources import BoardSources
    from cxrbench.leaderboard.board import Board, Record
    from cxrbench.leaderboard.calibration.report import CalibrationRecord, CalibrationReport
    from cxrbench.leaderboard.calibration.variants import Variants
    from cxrbench.leaderboard.cells import Look
    from cxrbench.leaderboard.comparison.compare import Comparison, ComparisonRow
    from cxrbench.leaderboard.published.figure import Published
    from cxrbench.leaderboard.subgroups.evaluate import ByGroup, GroupRecord

Form = Literal["md", "csv", "json", "html", "latex"]


class Tables(ABC):
    """What saved predictions say, in the form that is asked for. ``print`` shows Markdown."""

    @property
    @abstractmethod
    def records(self) -> Sequence[Any]:
        """Dataclass instances, one per row of the CSV; their class says what each field is."""

    @abstractmethod
    def to_markdown(self) -> str:
        """Tables, their legend and their notes."""

    @abstractmethod
    def to_csv(self) -> str:
        """A row per record, a column per field; empty where a value is undefined or was not tested."""

    @abstractmethod
    def to_json(self) -> str:
        """All of it; NaN is null."""

    def to_pandas(self) -> "pd.DataFrame":
        """A row per record, a column per field; NaN where a value is undefined or was not tested."""
        import pandas as pd

        return pd.DataFrame([asdict(record) for record in self.records])

    def to_html(self) -> str:
        """What ``to_markdown`` says as a fragment of HTML."""
        from cxrbench.api.markup import to_html

        return to_html(self.to_markdown())

    def to_latex(self) -> str:
        """What ``to_markdown`` says as LaTeX; its tables need ``\\usepackage{booktabs}``."""
        from cxrbench.leaderboard.latex.markdown import latex_of_markdown

        return latex_of_markdown(self.to_markdown())

    def text(self, form: Form = "md") -> str:
        """The form that a word names: ``md``, ``csv``, ``json``, ``html`` or ``latex``. Raises UserError."""
        forms = {"md": self.to_markdown, "csv": self.to_csv, "json": self.to_json, "html": self.to_html}
        return (forms | {"latex": self.to_latex})[chosen("--format", Form, form)]()

    def __str__(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self.to_html()


@dataclass(frozen=True)
class Leaderboard(Tables):
    """Encoders on tasks: values, 95% intervals, tests against a baseline, tie groups. ``records``: see ``Record``.

    ``as_saved``: the same board for programs, where that has other names than the one for people. ``sources``: where
    more is read that a page shows, or a grid against another encoder. ``published``: printed figures beside it, where
    they were asked for.
    """

    board: "Board"
    look: "Look"
    as_saved: "Board | None" = None
    sources: "BoardSources | None" = None
    published: "Published | None" = None

    @property
    def records(self) -> "Sequence[Record]":
        """One per encoder, task, metric and label (``macro``: the mean over labels, the headline)."""
        return (self.as_saved or self.board).records

    def to_markdown(self) -> str:
        """The tables as the README shows them."""
        from cxrbench.leaderboard.markdown import to_markdown

        return to_markdown(self.board, self.look, self.published)

    def to_csv(self) -> str:
        """A row per record; with published figures a row for each, and two columns that tell them from ours."""
        from cxrbench.leaderboard.published.plain import to_csv_beside
        from cxrbench.leaderboard.render import to_csv

        board = self.as_saved or self.board
        return to_csv_beside(board, self.published) if self.published else to_csv(board)

    def to_json(self) -> str:
        """Records, tasks with their notes and detectable differences, efficiency; NaN is null."""
        from cxrbench.leaderboard.render import to_json

        return to_json(self.as_saved or self.board, self.published)

    def to_latex(self) -> str:
        """Its tables for a paper; what their preamble needs stands in a comment at the top."""
        from cxrbench.leaderboard.latex.document import to_latex

        return to_latex(self.board, self.look, self.published)

    def to_grid(self, against: str | None = None) -> str:
        """Check marks in Markdown: who is better than ``against`` (default: the baseline), by data set and metric.

        ``against``: an encoder as the results name it. Of tests alone: figures of papers have no part in it. Raises
        UserError for one that is not there.
        """
        from cxrbench.leaderboard.marks.markdown import to_grid

        if against in (None, self.board.baseline):
            return to_grid(self.board, self.look)
        if self.sources is None:
            raise UserError(
                f"this board is tested against {self.board.baseline}: ask for one with baseline={against!r}"
            )
        return to_grid(self.sources.tested(against), self.look)

    def to_page(self, by: str | Sequence[str] = ()) -> str:
        """One self-contained HTML file: sort, filter, point at; ``to_html`` is a fragment for notebooks.

        ``by``: groups of patients that it shows as well: sex, age, view, site, scanner. Raises UserError.
        """
        from cxrbench.api.markup import to_html
        from cxrbench.data.attributes import check_ways
        from cxrbench.engine.settings import names
        from cxrbench.leaderboard.latex.text import latex_text
        from cxrbench.leaderboard.page.inside import Inside, Writers
        from cxrbench.leaderboard.page.page import to_page

        groups = names(by, "by")
        if groups:
            check_ways(groups)
            if self.sources is None:
                raise UserError("a board of protocols has no groups of patients: leave out by")
        inside = self.sources.inside(self.board, self.look, groups) if self.sources else Inside()
        board = self.board
        if self.published:
            inside = replace(inside, published=self.published.figures)
            board = replace(board, remarks=(*board.remarks, *self.published.remarks))
        return to_page(board, self.look, inside, Writers(to_html, latex_text))


@dataclass(frozen=True)
class Grouped(Tables):
    """Encoders within groups of patients: values, tests, the worst group and its gap to the best."""

    found: "ByGroup"
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def records(self) -> "Sequence[GroupRecord]":
        """One per encoder, task, metric and group."""
        return self.found.records

    def to_markdown(self) -> str:
        """A table per task and metric."""
        from cxrbench.leaderboard.subgroups.tables import to_markdown

        return to_markdown(self.found, self.names)

    def to_csv(self) -> str:
        """A row per record."""
        from cxrbench.leaderboard.subgroups.tables import to_csv

        return to_csv(self.found)

    def to_json(self) -> str:
        """All of it; NaN is null."""
        from cxrbench.leaderboard.subgroups.tables import to_json

        return to_json(self.found)


@dataclass(frozen=True)
class Compared(Tables):
    """Whether one encoder is better than another, per task and label: differences, 90% intervals, one-tailed p."""

    comparison: "Comparison"
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def records(self) -> "Sequence[ComparisonRow]":
        """One per task, metric and label."""
        return self.comparison.rows

    def to_markdown(self) -> str:
        """A table for each metric."""
        from cxrbench.leaderboard.comparison.tables import comparison_to_markdown

        return comparison_to_markdown(self.comparison, self.names)

    def to_csv(self) -> str:
        """A row per record."""
        from cxrbench.leaderboard.comparison.compare import ComparisonRow
        from cxrbench.leaderboard.render import dump_csv

        return dump_csv(ComparisonRow, self.records)

    def to_json(self) -> str:
        """All of it; NaN is null."""
        from cxrbench.leaderboard.comparison.tables import comparison_to_json

        return comparison_to_json(self.comparison)


@dataclass(frozen=True)
class Calibrated(Tables):
    """Calibration of encoders, as given and recalibrated. ``variants``: the scores themselves, by task."""

    report: "CalibrationReport"
    variants: "Sequence[Variants]"
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def records(self) -> "Sequence[CalibrationRecord]":
        """One per encoder, task, method, metric and label."""
        return self.report.records

    def to_markdown(self) -> str:
        """Means before and after, and their parts."""
        from cxrbench.leaderboard.calibration.tables import to_markdown

        return to_markdown(self.report, self.names)

    def to_csv(self) -> str:
        """A row per record."""
        from cxrbench.leaderboard.calibration.tables import to_csv

        return to_csv(self.report)

    def to_json(self) -> str:
        """All of it; NaN is null."""
        from cxrbench.leaderboard.calibration.tables import to_json

        return to_json(self.report)

    def draw(self, folder: Path) -> list[Path]:
        """Write reliability diagrams (PNG), one per task and label, into a folder; returns the files written."""
        from cxrbench.leaderboard.calibration.reliability import draw

        return draw(self.variants, folder)
