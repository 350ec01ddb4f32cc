"""The board as Markdown, CSV and JSON. The same board gives the same bytes."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from tabulate import tabulate

from cxrbench.leaderboard.alignment import Task
from cxrbench.leaderboard.board import HEADLINE, Board, Column, Record
from cxrbench.leaderboard.significance import ALPHA
from cxrbench.metrics import METRICS

ABSENT = "–"
SYNTHETIC = (
    "> **SYNTHETIC DATA.** These X-rays were drawn by a program. The numbers show that the pipeline works; they say\n"
    "> nothing about how good an encoder is on patients."
)
Cells = dict[tuple[Task, str, str], Record]  # by task, metric and encoder


def to_markdown(board: Board) -> str:
    """The leaderboard: real results first, synthetic ones in a section of their own under a line that says so."""
    parts = ["# Chest X-ray encoder leaderboard"]
    for synthetic in (False, True):
        columns = [c for c in board.columns if c.task.synthetic == synthetic]
        if columns:
            parts += _section(board, columns, synthetic)
    if board.efficiency:
        parts += ["## Efficiency", _efficiency(board.efficiency)]
    return "\n\n".join(parts) + "\n"


def to_csv(board: Board) -> str:
    """One row per encoder, dataset, protocol, fraction, metric and label; empty where undefined or not tested."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [f.name for f in fields(Record)]
    writer.writerow(names)
    writer.writerows([_plain(getattr(record, name)) for name in names] for record in board.records)
    return out.getvalue()


def to_json(board: Board) -> str:
    """The board whole: records, tasks with their notes and detectable differences, efficiency. NaN is null."""
    tasks = [
        {**column.task._asdict(), "images": column.images, "patients": column.patients,
         "smallest_detectable_difference": dict(column.detectable), "notes": list(column.notes)}
        for column in board.columns
    ]  # fmt: skip
    whole = {
        "baseline": board.baseline, "replicates": board.replicates, "seed": board.seed, "tasks": tasks,
        "records": [asdict(record) for record in board.records], "efficiency": board.efficiency,
    }  # fmt: skip
    return dump_json(whole)


def dump_json(value: object) -> str:
    """JSON with null for NaN, indented, ending in a newline."""
    return json.dumps(_without_nan(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def markdown_table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """A GitHub table of strings, as they are: a bar inside a cell does not end it."""
    safe = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return tabulate(safe, [h.replace("|", "\\|") for h in headers], tablefmt="github", disable_numparse=True)


def percent(fraction: float) -> str:
    """A label fraction for people: ``1%``."""
    return f"{100 * fraction:g}%"


def _section(board: Board, columns: Sequence[Column], synthetic: bool) -> list[str]:
    cells: Cells = {
        (Task(r.synthetic, r.dataset, r.protocol, r.fraction), r.metric, r.encoder): r
        for r in board.records
        if r.label == HEADLINE and r.synthetic == synthetic
    }
    encoders = sorted({encoder for _, _, encoder in cells})
    columns = sorted(columns, key=lambda c: (c.task.dataset, c.task.protocol, -c.task.fraction))
    fractions = sorted({c.task.fraction for c in columns}, reverse=True)
    main, *others = board.metrics
    parts = ["## Results on synthetic data", SYNTHETIC] if synthetic else ["## Results"]
    for fraction in fractions:
        shown = [c for c in columns if c.task.fraction == fraction]
        labels = "" if fractions == [1.0] else f", {percent(fraction)} of the training labels"
        parts += [f"### {METRICS[main].title}, mean over labels{labels}", _headline(main, shown, encoders, cells)]
    parts.append(_legend(board, sum(not math.isnan(r.p) for (_, m, _), r in cells.items() if m == main)))
    if others:
        parts += ["### Other metrics, mean over labels", _other_metrics(others, columns, encoders, cells)]
        parts.append("Marks as above, for each metric in its own right; intervals and p are in the CSV and JSON.")
    parts += ["### Notes", _notes(columns, cells, main)]
    return parts


def _headline(metric: str, columns: Sequence[Column], encoders: Sequence[str], cells: Cells) -> str:
    """Encoders x tasks; the mean only for encoders with every cell; below, each test set's size and sensitivity."""
    sign = -1 if METRICS[metric].higher_is_better else 1
    rows = {e: [cells.get((c.task, metric, e)) for c in columns] for e in encoders}
    rows = {e: row for e, row in rows.items() if any(row)}
    means = {e: _mean(row) for e, row in rows.items()}
    order = sorted(rows, key=lambda e: (math.isnan(means[e]), sign * means[e] if not math.isnan(means[e]) else 0.0, e))
    ranks = [_ranks({e: r.value for e, row in rows.items() if (r := row[i])}, metric) for i in range(len(columns))]
    mean_ranks = _ranks(means, metric)
    show_mean = len(columns) > 1
    body = []
    for e in order:
        line = [_cell(r, ranks[i].get(e)) if r else ABSENT for i, r in enumerate(rows[e])]
        mean = [_ranked(_number(means[e]), mean_ranks.get(e))] if show_mean else []
        body.append([f"`{e}`", *line, *mean])
    blank = [""] if show_mean else []
    detectable = [_number(c.detectable[metric]) for c in columns]
    body.append(["*smallest detectable difference*", *(f"*{d}*" if d != ABSENT else d for d in detectable), *blank])
    body.append(["*test images (patients)*", *(f"*{c.images:,} ({c.patients:,})*" for c in columns), *blank])
    return markdown_table(body, ["Encoder", *(c.task.title for c in columns), *(["Mean"] if show_mean else [])])


def _other_metrics(metrics: Sequence[str], columns: Sequence[Column], encoders: Sequence[str], cells: Cells) -> str:
    """Tasks and encoders x metrics, values only."""
    body = []
    for column in columns:
        here = [e for e in encoders if any((column.task, m, e) in cells for m in metrics)]
        ranks = {m: _ranks({e: cells[column.task, m, e].value for e in here}, m) for m in metrics}
        for e in here:
            of = [cells[column.task, m, e] for m in metrics]
            line = [_ranked(_number(r.value), ranks[r.metric].get(e)) + _significant(r) for r in of]
            body.append([task_title(column.task), f"`{e}`{_dagger(of[0])}", *line])
    arrows = [f"{METRICS[m].title} {'↑' if METRICS[m].higher_is_better else '↓'}" for m in metrics]
    return markdown_table(body, ["Task", "Encoder", *arrows])


def _legend(board: Board, tests: int) -> str:
    """What the marks mean, and what they cannot say."""
    lines = [
        f"Cells: value [95% interval]; percentile bootstrap over patients, {board.replicates:,} replicates shared by "
        "all encoders. **Best**, <u>second</u>.",
        "Letters: encoders of a column that share a letter are not separated by any paired test (two-sided, Holm over "
        "all pairs, 5%).",
        "Smallest detectable difference: (z₀.₉₅ + z₀.₈₀) × standard error of the paired difference, median over "
        "pairs of encoders: what a one-tailed 5% test finds with 80% power.",
        f"{ABSENT}: no result or undefined; an encoder with a missing cell gets no mean.",
    ]
    if board.baseline is None:
        lines.insert(1, "No baseline was declared, so no encoder is tested against one (`--baseline NAME`).")
    else:
        lines.insert(
            1,
            f"`*`: better than the baseline `{board.baseline}` at p < {ALPHA:g} (one-tailed paired bootstrap, "
            f"Holm over the {tests} tests of this metric).",
        )
        if tests / (board.replicates + 1) >= ALPHA:
            lines.insert(2, f"With {board.replicates:,} replicates and {tests} tests no p can fall below 5%: use more.")
    return "\n".join(f"- {line}" for line in lines)


def _notes(columns: Sequence[Column], cells: Cells, main: str) -> str:
    """What must be told of each task, and for the main metric where its uncertainty comes from."""
    lines = [f"- {task_title(c.task)}: {note.rstrip('.')}." for c in columns for note in c.notes]
    for c in columns:
        for (task, metric, encoder), r in sorted(cells.items()):
            if (task, metric) == (c.task, main) and r.seeds > 1:
                lines.append(
                    f"- {task_title(task)}, {METRICS[metric].title}, `{encoder}`: standard error from patients "
                    f"{r.se_patients:.4f}, from {r.seeds} training seeds {r.se_seeds:.4f}; the interval covers both."
                )
    return "\n".join(lines) or "None."


def _efficiency(efficiency: Mapping[str, Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for facts in efficiency.values() for name in facts))
    body = [[f"`{e}`", *(_quantity(efficiency[e].get(name)) for name in names)] for e in sorted(efficiency)]
    return markdown_table(body, ["Encoder", *(name.replace("_", " ").replace("gflops", "GFLOPs") for name in names)])


def _cell(r: Record, rank: int | None) -> str:
    if math.isnan(r.value):
        return ABSENT
    limits = "" if math.isnan(r.lower) else f" [{r.lower:.3f}, {r.upper:.3f}]"
    group = f" {r.tie_group}" if r.tie_group else ""
    return f"{_ranked(_number(r.value), rank)}{_dagger(r)}{limits}{_significant(r)}{group}"


def _significant(r: Record) -> str:
    return " \\*" if r.p_holm < ALPHA else ""


def _dagger(r: Record) -> str:
    return "†" if r.contaminated else ""


def task_title(task: Task) -> str:
    """``DATASET:PROTOCOL``, and the label fraction where it is not all of them."""
    return task.title if task.fraction == 1 else f"{task.title} @ {percent(task.fraction)}"


def _mean(row: Sequence[Record | None]) -> float:
    values = [r.value if r else math.nan for r in row]
    return sum(values) / len(values)


def _ranks(values: Mapping[str, float], metric: str) -> dict[str, int]:
    """Ranks by the printed value, so that encoders that read the same are marked the same. None with one encoder."""
    printed = {e: round(v, 3) for e, v in values.items() if not math.isnan(v)}
    order = sorted(set(printed.values()), reverse=METRICS[metric].higher_is_better)
    return {e: order.index(v) + 1 for e, v in printed.items()} if len(printed) > 1 else {}


def _ranked(text: str, rank: int | None) -> str:
    return {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(rank or 0, text)


def _number(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{value:.3f}"


def _quantity(value: Any) -> str:
    if value is None:
        return ABSENT
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> str:
    """A CSV field: floats to six decimals, NaN and None empty."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6f}".rstrip("0").rstrip(".")
    return "" if value is None else str(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
