"""All that the page's script knows, as one JSON: encoders, tables, subgroups, published figures.

Each picture has a JSON of its own, which is read when it is looked at.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from cxrbench.files.names import visible
from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.page.families import family_of
from cxrbench.leaderboard.page.groups import with_groups
from cxrbench.leaderboard.page.inside import Inside
from cxrbench.leaderboard.page.tables import tables
from cxrbench.leaderboard.pictures.plain import plain
from cxrbench.leaderboard.published.figure import PublishedFigure
from cxrbench.leaderboard.render import code, escaped

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
    }
    return in_script(whole)


def in_script(value: object) -> str:
    """JSON that a script element may hold: ``plain``, and no text in it ends the element."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(UNSAFE)


def _forms(name: str, markdown: Callable[[str], str], latex: Callable[[str], str]) -> dict[str, str]:
    """A name as it is read, and in Markdown and LaTeX, where nothing in it is markup."""
    return {"name": visible(name), "md": markdown(name), "tex": latex(visible(name))}


def _published(one: PublishedFigure, latex: Callable[[str], str]) -> dict[str, Any]:
    """A figure of a paper; what is read in its row and in its cell."""
    spread = f" ± {one.spread}" if one.spread else ""
    return _forms(f"{one.encoder} ({one.paper}, {one.table})", escaped, latex) | {
        "task": one.task.title, "fraction": one.task.fraction, "metric": one.metric, "label": visible(one.label),
        "text": f"{one.printed}{spread}", "source": visible(one.source),
        "differs": [visible(what) for what in one.differs],
    }  # fmt: skip
