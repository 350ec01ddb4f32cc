"""Which papers there are, and what each of their tables needs and has here."""

from dataclasses import dataclass
from pathlib import Path

from cxrbench.api.papers.places import NOT_HERE, published_places, to_download
from cxrbench.api.papers.typed import data_there
from cxrbench.papers.paper import Paper, PaperEncoder, PaperTable, cells, datasets, encoders
from cxrbench.papers.read import paper_names, read_paper
from cxrbench.papers.values import published


@dataclass(frozen=True)
class TableNeeds:
    """A table: the ``data`` and ``encoders`` that it needs, each with what is here; ``command``: what runs it."""

    table: PaperTable
    data: tuple[str, ...]
    encoders: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class PaperOverview:
    """A paper's tables, what is here of its ``data`` and ``encoders`` (by name), how many figures are known."""

    paper: Paper
    tables: tuple[TableNeeds, ...]
    data: dict[str, str]
    encoders: dict[str, str]
    published: int


def list_papers() -> list[Paper]:
    """Every paper, by name. Raises UserError."""
    return [read_paper(name) for name in paper_names()]


def paper_overview(name: str, *, data: Path | str | None = None) -> PaperOverview:
    """A paper's tables and figures, and what is here. Builds nothing and reads no data. Raises UserError."""
    paper, folder = read_paper(name), data_there(data)
    needed = list(dict.fromkeys(dataset for table in paper.tables for dataset in datasets(table)))
    here = {dataset: _data_here(dataset, folder) for dataset in needed}
    asked = {encoder for table in paper.tables for encoder in encoders(table)}
    places = published_places(paper.encoders[encoder] for encoder in asked)
    known = {e: _encoder_here(one, places, folder) for e, one in paper.encoders.items() if e in asked}
    tables = tuple(
        TableNeeds(table, tuple(datasets(table)), tuple(encoders(table)), _command(paper, table))
        for table in paper.tables
    )
    return PaperOverview(paper, tables, here, known, len(published(name)))


def _command(paper: Paper, table: PaperTable) -> str:
    return f"cxrbench paper {paper.name} --table {table.number}" if cells(table) else table.command


def _data_here(dataset: str, folder: Path | None) -> str:
    """In words: real images, the phantom, or what is missing."""
    from cxrbench.engine.registry import PHANTOM_MARK
    from cxrbench.phantom.layouts.registry import WRITERS
    from cxrbench.plugins.entry_points import DATASETS, found

    if dataset not in found(DATASETS):
        return "no reader yet"
    if folder is None:
        return "phantom" if dataset in WRITERS else "no phantom of it: give --data"
    if not (folder / dataset).is_dir():
        return f"not in {folder}"
    return "phantom, in the data folder" if (folder / dataset / PHANTOM_MARK).is_file() else "in the data folder"


def _encoder_here(one: PaperEncoder, places: dict[str, str], folder: Path | None) -> str:
    """In words: ready, to be downloaded, on phantom images alone, or not to be had."""
    if one.spec:
        where = places.get(one.spec, "")
        here = f"{one.spec}, {where}" if where else one.spec
        ready = to_download(one.spec) if where == NOT_HERE else here
        return ready if not one.phantom else f"{one.phantom} on phantom images; else {ready}"
    if one.phantom:
        return f"{one.phantom} on phantom images; else {one.absence.partition(': ')[2]}"
    return one.absence
