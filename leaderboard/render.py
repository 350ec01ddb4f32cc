"""The board as CSV and JSON, and what all renderings share. The same board gives the same bytes."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from operator import attrgetter
from typing import Any

from tabulate import tabulate

from cxrbench.files.names import visible
from cxrbench.leaderboard.board import Board, Record
from cxrbench.leaderboard.published.figure import Published
from cxrbench.leaderboard.statistics.alignment import AlignedTask

ABSENT, NOT_APPLICABLE = "–", "n/a"
SYNTHETIC = (
    "> **SYNTHETIC DATA.** These X-rays were drawn by a program. The numbers show that the pipeline works; they say\n"
    "> nothing about how good an encoder is on patients."
)
MARKUP = re.compile(r"[\\`*~$<>\[\]]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown would read as markup; an underscore within a word is none."""
COMMAND = re.compile(r"(`cxrbench [^`]*`)")
"""The code that notes have in them."""


def to_csv(board: Board) -> str:
    """One row per encoder, dataset, protocol, fraction, metric and label; empty where undefined or not tested."""
    return dump_csv(Record, board.records)


def to_json(board: Board, published: Published | None = None) -> str:
    """The board whole: records, tasks with their notes and detectable differences, efficiency, heads. NaN is null.

    ``published``: printed figures, in a list of their own.
    """
    tasks = [
        {**column.task._asdict(), "kind": column.kind, "headline": column.metrics[0], "images": column.rows,
         "patients": column.patients, "smallest_detectable_difference": dict(column.detectable),
         "not_applicable": dict(column.not_applicable), "notes": list(column.notes)}
        for column in board.columns
    ]  # fmt: skip
    whole = {
        **({"encoder": board.encoder} if board.encoder else {}),
        "baseline": board.baseline, "replicates": board.replicates, "seed": board.seed, "rope": board.rope,
        "tasks": tasks,
        "records": [vars(record) for record in board.records], "efficiency": board.efficiency,
        "heads": [head._asdict() for head in board.heads],
        "remarks": list(board.remarks),
        "overall": [
            {"metric": metric, "protocol": protocol, "fraction": fraction, "synthetic": synthetic, **asdict(one)}
            | ({"encoder": board.encoder, "protocol": one.encoder} if board.encoder else {})
            for (metric, protocol, fraction, synthetic), encoders in board.overall.items()
            for one in encoders
        ],
        "nowhere_applicable": [{**task._asdict(), "not_applicable": why} for task, why in board.nowhere.items()],
        **(_of_papers(published) if published else {}),
    }  # fmt: skip
    return dump_json(whole)


def _of_papers(published: Published) -> dict[str, Any]:
    figures = [{**vars(one), "task": one.task._asdict()} for one in published.figures]
    return {"published": figures, "published_left_out": list(published.left_out)}


def dump_csv(kind: type, records: Sequence[Any]) -> str:
    """Dataclass instances of one kind as CSV, a column per field; floats to six decimals, NaN and None empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [f.name for f in fields(kind)]
    of = attrgetter(*names)
    writer.writerow(names)
    text = cache(_text)  # the same few names in every row
    writer.writerows([csv_field(value, text) for value in of(record)] for record in records)
    return out.getvalue()


def dump_json(value: object) -> str:
    """JSON with null for NaN, indented, ending in a newline."""
    return json.dumps(_without_nan(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def markdown_table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """A GitHub table of strings, as they are: a bar or a line break inside a cell does not end it."""
    safe = [[visible(cell).replace("|", "\\|") for cell in row] for row in rows]
    return tabulate(safe, [visible(h).replace("|", "\\|") for h in headers], tablefmt="github", disable_numparse=True)


def number(value: float) -> str:
    """Three digits after the point; a dash for NaN."""
    return ABSENT if math.isnan(value) else f"{value:.3f}"


def escaped(text: str) -> str:
    """Text of others (names of labels and datasets) in Markdown: nothing in it is markup."""
    return MARKUP.sub(r"\\\g<0>", visible(text))


def code(name: str) -> str:
    """A name in Markdown as code; one with backticks in it gets a longer fence."""
    shown = visible(name)
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {shown} {fence}" if longest else f"`{shown}`"


def remark(note: str) -> str:
    """A note in Markdown: its commands are code; names of others in it are as they are written."""
    parts = COMMAND.split(visible(note.rstrip(".")))
    return "".join(part if COMMAND.fullmatch(part) else escaped(part) for part in parts)


def percent(fraction: float) -> str:
    """A label fraction for people: ``1%``."""
    return f"{100 * fraction:g}%"


def task_title(task: AlignedTask) -> str:
    """``DATASET:PROTOCOL``, and the label fraction where it is not all of them; NaN is no one fraction."""
    return task.title if task.fraction == 1 or math.isnan(task.fraction) else f"{task.title} @ {percent(task.fraction)}"


def _text(value: str) -> str:
    """A string in a CSV field."""
    shown = visible(value)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown  # a spreadsheet would compute it


def csv_field(value: Any, text: Callable[[str], str] = _text) -> str:
    """A CSV field: floats to six decimals, NaN and None empty, strings as ``text`` has them."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
