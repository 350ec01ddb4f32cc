"""All that the page's script knows, as one JSON: encoders, tables, subgroups, pictures, published figures."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from cxrbench.files.names import visible
from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.page.families import family_of
from cxrbench.leaderboard.page.groups import with_groups
from cxrbench.leaderboard.page.inside import Inside
from cxrbench.leaderboard.page.tables import tables
from cxrbench.leaderboard.render import code, escaped

DIGITS = 5
UNSAFE = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}
"""Letters with which a text could end the script element that it stands in, or a line of it."""


def payload(board: Board, shown: Mapping[str, str], inside: Inside, spread: str, latex: Callable[[str], str]) -> str:
    """The JSON of a board whose encoders have their shown names (``shown``: by whole text), safe within a script."""
    named = {name: encoder for encoder, name in sorted(shown.items(), key=lambda item: item[1])}
    places = {name: at for at, name in enumerate(named)}
    labels: dict[str, int] = {}
    found = with_groups(tables(board, places, labels, spread), inside.groups, places, shown, labels, spread)
    for table in found:
        for column in table["columns"]:
            column |= _forms(column["title"], escaped, latex)
    whole = {
        "row": board.row,
        "baseline": places.get(board.baseline or ""),
        "spread": spread,
        "encoders": [
            _forms(name, code, lambda text: f"\\texttt{{{latex(text)}}}")
            | {
                "spec": visible(encoder),
                "family": family_of(encoder, board.row),
                "facts": [[visible(fact), visible(value)] for fact, value in inside.cards.get(encoder, ())],
                "cost": dict(board.efficiency.get(name, {})),
            }
            for name, encoder in named.items()
        ],
        "tables": found,
        "labels": [_forms(label, escaped, latex) for label in labels],
        "published": [_published(one, latex) for one in inside.published],
        "pictures": {name: plain(data) for name, data in inside.pictures.items()},
    }
    return in_script(whole)


def in_script(value: object) -> str:
    """JSON that a script element may hold: no text in it ends the element; NaN and infinities are null."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(UNSAFE)


def plain(value: Any) -> Any:
    """Dataclasses as objects, tuples as lists, floats to five significant digits, NaN and infinities as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def _forms(name: str, markdown: Callable[[str], str], latex: Callable[[str], str]) -> dict[str, str]:
    """A name as it is read, and in Markdown and LaTeX, where nothing in it is markup."""
    return {"name": visible(name), "md": markdown(name), "tex": latex(visible(name))}


def _published(one: Any, latex: Callable[[str], str]) -> dict[str, Any]:
    """A figure of a paper; what is read in its row and in its cell."""
    spread = f" ± {one.spread}" if one.spread not in (None, "") else ""
    return _forms(f"{one.encoder} ({one.source})", escaped, latex) | {
        "task": one.task, "fraction": one.fraction, "metric": one.metric, "label": visible(one.label),
        "text": f"{one.value}{spread}", "source": visible(one.source),
        "differs": [visible(what) for what in one.differs],
    }  # fmt: skip
