"""Tables in a document, between markers: what is around them is kept."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from cxrbench.errors import UserError

SMALLEST = 0.0001
"""Below it a p is only said to be so."""


def replaced(text: str, name: str, body: str) -> str:
    """``text`` with ``body`` between ``<!-- NAME -->`` and ``<!-- /NAME -->``. Raises UserError without these, once."""
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(opening) != 1 or text.count(closing) != 1:
        raise UserError(f"the document has no place for it: one {opening} and one {closing}")
    between = re.compile(f"{re.escape(opening)}.*{re.escape(closing)}", re.DOTALL)
    return between.sub(lambda _: f"{opening}\n{body.strip()}\n{closing}", text)


def put(path: Path, tables: dict[str, str]) -> None:
    """Write each table into its place in a document."""
    text = path.read_text()
    for name, body in tables.items():
        text = replaced(text, name, body)
    path.write_text(text)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of texts."""
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def number(value: float, digits: int = 3, sign: bool = False) -> str:
    """A value, or – where there is none."""
    return "–" if math.isnan(value) else f"{value:{'+' if sign else ''}.{digits}f}"


def probability(p: float, level: float = 0.05) -> str:
    """A p-value to two digits, bold below the level: ``**<0.0001**``, ``**0.002**``, ``0.15``."""
    if math.isnan(p):
        return "–"
    text = "<0.0001" if p < SMALLEST else f"{p:.4f}" if p < 0.001 else f"{p:.3f}" if p < 0.01 else f"{p:.2f}"
    return f"**{text}**" if p < level else text
