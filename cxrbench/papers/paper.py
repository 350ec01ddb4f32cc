"""What a paper's file says: encoders, tables as two axes of facts, figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

MACRO = "macro"
Statistic = Literal["run", "seeds", "folds", "resamples"]
"""What a paper prints: one run; the mean over training seeds; the mean over folds; the median of bootstrap samples."""
Kind = Literal["values", "marks", "none"]
"""What a table holds: values; check marks of one-tailed tests; nothing that a run could give."""


@dataclass(frozen=True)
class PaperEncoder:
    """A row of a paper (a column, where encoders stand there), and how it can be had.

    ``name``: as the paper prints it. ``spec``: what anybody can have under a name; ``phantom``: what stands for it on
    phantom images, where that is another. ``yours``: the form of a spec with one's own file, ``how``: the command that
    makes such a file, or where it is. ``why``: why it cannot be had.
    """

    name: str
    spec: str = ""
    phantom: str = ""
    yours: str = ""
    how: str = ""
    why: str = ""

    def on(self, *, synthetic: bool) -> str:
        """The spec for phantom or for real images; empty where none is known."""
        return (self.phantom or self.spec) if synthetic else self.spec

    @property
    def absence(self) -> str:
        """One line: why no spec is known, and what to do."""
        if self.why:
            return self.why
        form = self.yours or "SPEC"
        made = f" ({self.how})" if self.how else ""
        no_weights = "the weights that ship are for phantom images only" if self.phantom else "no weights are public"
        return f"{no_weights}: give your own by --encoder '{self.name}={form}'{made}"


@dataclass(frozen=True)
class TablePlace:
    """A row or a column: what its cells have in common. Empty texts and None: the other axis or the table says it.

    ``group``: the heading above several. ``settings``: of the run, as ``cxrbench run`` has them. ``facts``: what the
    paper prints beside the name and no run gives. ``published``: what the published figures call it, where that is not
    ``name``. ``members``: the labels of our data set that ``label`` is the mean over, where it has no group of that
    name. ``printed``: the paper alone has its cells (costs, counts, differences); ``split``: of counts, what they
    are of. ``only``: the one place of the other axis that it has a cell with. ``scale``, ``digits``: as of the
    table, where they are others.
    """

    name: str
    group: str = ""
    encoder: str = ""
    dataset: str = ""
    protocol: str = ""
    metric: str = ""
    label: str = ""
    fraction: float | None = None
    published: str = ""
    members: Sequence[str] = ()
    printed: bool = False
    split: str = ""
    only: str = ""
    scale: float | None = None
    digits: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PaperTable:
    """A table: its cells are the products of ``rows`` and ``columns``, with what ``common`` says of all.

    ``corner``: the heading of the rows. ``scale``: the paper's unit in ours (100: per cent), ``digits`` after its
    point. ``statistic``: what it prints; ``says``: in its own words. ``baseline``: of check marks, the encoder that is
    tested against; ``phantom_baseline``: its stand-in there. ``why``, ``command``: of kind ``none``, why a run gives
    nothing, and what command does. ``unmeasured``: what the paper prints in it and a run cannot give, one line.
    """

    number: str
    title: str
    kind: Kind = "values"
    rows: tuple[TablePlace, ...] = ()
    columns: tuple[TablePlace, ...] = ()
    common: TablePlace = field(default_factory=lambda: TablePlace(""))
    corner: str = "Method"
    scale: float = 1.0
    digits: int = 3
    statistic: Statistic = "run"
    says: str = ""
    baseline: str = ""
    phantom_baseline: str = ""
    why: str = ""
    command: str = ""
    note: tuple[str, ...] = ()
    unmeasured: str = ""

    @property
    def name(self) -> str:
        """``Table 3``."""
        return f"Table {self.number}"


@dataclass(frozen=True)
class PaperFigure:
    """A figure, and the command that gives what it shows; ``command`` is empty where there is none yet."""

    number: str
    title: str
    command: str = ""
    note: str = ""


@dataclass(frozen=True)
class Paper:
    """A paper: ``preset`` names its evaluation recipe; ``encoders`` by the names that its tables use."""

    name: str
    title: str
    source: str
    preset: str
    encoders: Mapping[str, PaperEncoder]
    tables: tuple[PaperTable, ...]
    figures: tuple[PaperFigure, ...]
    note: tuple[str, ...] = ()

    def table(self, number: str) -> PaperTable | None:
        """The table of this number, or None."""
        return next((table for table in self.tables if table.number == number), None)


@dataclass(frozen=True)
class PaperCell:
    """One cell of a table, all that is needed to run it.

    ``row``, ``column``: where it stands. ``fraction``: of labels; a count of labelled studies from 2 on. ``settings``:
    pairs, sorted by name. ``named``: what published figures call it. ``scale``, ``digits``: of its unit. ``split``: of
    counts of data. ``members``: the labels that ``label`` is the mean over, where the data have no such group.
    """

    row: int
    column: int
    encoder: str
    dataset: str
    protocol: str
    metric: str
    label: str
    fraction: float
    settings: tuple[tuple[str, Any], ...]
    named: str
    scale: float
    digits: int
    split: str = ""
    members: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """``DATASET:PROTOCOL``."""
        return f"{self.dataset}:{self.protocol}"

    @property
    def share(self) -> float:
        """The label fraction of its run: 1 where ``fraction`` is a count, which is a budget."""
        return min(self.fraction, 1.0)


def cells(table: PaperTable) -> list[PaperCell]:
    """The cells of a table that a run can give, row by row."""
    found = _pairs(table, printed=False)
    return [cell for cell in found if cell.encoder and cell.dataset and cell.protocol and cell.metric]


def printed_cells(table: PaperTable) -> list[PaperCell]:
    """The cells that the paper alone has, row by row."""
    return _pairs(table, printed=True)


def _pairs(table: PaperTable, *, printed: bool) -> list[PaperCell]:
    """Rows by columns; none where one of them is ``only`` for another."""
    found = []
    for i, row in enumerate(table.rows):
        for j, column in enumerate(table.columns):
            places = (row, column, table.common)
            if (row.only or column.name) != column.name or any(place.printed for place in places) != printed:
                continue
            facts = {name: _first(places, name) for name in ("encoder", "dataset", "protocol", "metric", "label")}
            said = {**table.common.settings, **column.settings, **row.settings}
            settings = {name: tuple(one) if isinstance(one, list) else one for name, one in said.items()}
            of_encoder = row if row.encoder or row.published else column if column.encoder or column.published else row
            found.append(
                PaperCell(
                    i, j, facts["encoder"], facts["dataset"], facts["protocol"], facts["metric"],
                    facts["label"] or MACRO, _number(places, "fraction", 1.0), tuple(sorted(settings.items())),
                    of_encoder.published or of_encoder.name,
                    _number(places, "scale", table.scale), int(_number(places, "digits", table.digits)),
                    _first(places, "split"), tuple(_first(places, "members")),
                )
            )  # fmt: skip
    return found


def datasets(table: PaperTable) -> list[str]:
    """What a table is tested on, and trained on, each once."""
    found: list[str] = []
    for cell in cells(table):
        trained = dict(cell.settings).get("train", ())
        found += [*([] if cell.dataset == "all" else [cell.dataset]), *trained]
    return list(dict.fromkeys(found))


def encoders(table: PaperTable) -> list[str]:
    """Whom a table asks, each once."""
    return list(dict.fromkeys(cell.encoder for cell in cells(table)))


def _number(places: Sequence[TablePlace], name: str, default: float) -> float:
    return next((value for place in places if (value := getattr(place, name)) is not None), default)


def _first(places: Sequence[TablePlace], name: str) -> Any:
    return next((value for place in places if (value := getattr(place, name))), "")
