"""Which runs a table needs: its cells by task and settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxrbench.papers.paper import PaperCell, PaperTable, cells


@dataclass(frozen=True)
class TableRun:
    """One run of a table: a task under settings, and the cells that come of it."""

    task: str
    settings: Mapping[str, Any]
    cells: tuple[PaperCell, ...]

    @property
    def dataset(self) -> str:
        """What is tested on."""
        return self.cells[0].dataset

    @property
    def trained_on(self) -> tuple[str, ...]:
        """The datasets that are read: those that are trained on, where these are others."""
        return tuple(self.settings.get("train", (self.dataset,)))

    @property
    def fractions(self) -> tuple[float, ...]:
        """Label fractions, each once, ascending."""
        return tuple(sorted({cell.share for cell in self.cells}))

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of the encoders, each once, in the order of the table."""
        return tuple(dict.fromkeys(cell.encoder for cell in self.cells))


def table_runs(table: PaperTable) -> list[TableRun]:
    """The runs of a table in the order of its cells; what differs in a setting, or in a count of labels, is another."""
    by_run: dict[tuple[str, str], list[PaperCell]] = {}
    for cell in cells(table):
        by_run.setdefault((cell.task, repr(_settings(cell))), []).append(cell)
    return [TableRun(of[0].task, _settings(of[0]), tuple(of)) for of in by_run.values()]


def _settings(cell: PaperCell) -> dict[str, Any]:
    """A cell's settings, a count of labelled studies among them."""
    counted = {"budget": (int(cell.fraction),), "budget_unit": "study"} if cell.fraction > 1 else {}
    return {**counted, **dict(cell.settings)}


def run_command(task: str, encoders: Sequence[str], settings: Mapping[str, Any]) -> str:
    """The ``cxrbench run`` that does the same."""
    words = ["cxrbench run", f"--encoder {_quoted(','.join(encoders))}", f"--tasks {_quoted(task)}"]
    for name, value in settings.items():
        if value in (None, False, (), 0):
            continue
        option = f"--{name.replace('_', '-')}"
        joined = "+" if name == "train" else ","
        several = joined.join(map(_text, value)) if isinstance(value, (list, tuple)) else _text(value)
        words.append(option if value is True else f"{option} {_quoted(several)}")
    return " ".join(words)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _quoted(text: str) -> str:
    return f"'{text}'" if set(text) & set(" ;&*?#()|<>") else text
