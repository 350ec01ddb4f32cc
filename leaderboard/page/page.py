"""The board as one HTML file: it opens from a mail attachment, and asks nobody for anything."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from cxrbench.files.names import visible
from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.display import encoders_of, key_to_names, renamed, shown_names
from cxrbench.leaderboard.legend import legend
from cxrbench.leaderboard.markdown import efficiency_table, heads_table, to_markdown
from cxrbench.leaderboard.notes import NOTHING, notes
from cxrbench.leaderboard.page.inside import Inside, Writers
from cxrbench.leaderboard.page.payload import in_script, payload
from cxrbench.leaderboard.render import escaped, remark, task_title
from cxrbench.leaderboard.shown.headline import headline_cells, sorted_columns
from cxrbench.leaderboard.subgroups.evaluate import ByGroup

PACKAGE = "cxrbench.leaderboard.page"
SCRIPTS = (
    "dom", "state", "cells", "view", "notes", "export", "tip", "table", "controls", "cards", "charts", "print", "main",
)  # fmt: skip
"""The page's own scripts, in this order; those of charts come before the last."""


class Section(NamedTuple):
    """What is said of the real, or of the synthetic, results: fragments of HTML."""

    synthetic: bool
    legend: str
    notes: str


def to_page(board: Board, look: Look, inside: Inside, writers: Writers) -> str:
    """The page. The same board gives the same bytes. Raises UserError for an encoder that ``look`` names in vain."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    shown = shown_names(encoders_of(board), look.names)
    whole = to_markdown(board, look)
    board = renamed(board, shown)
    script = _script()

    def html(markdown: str) -> Markup:
        return Markup(writers.html(markdown))

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(_file("page.html.j2")).render(
        title=f"Protocols of {visible(board.encoder)}" if board.encoder else "Chest X-ray encoder leaderboard",
        board=board,
        policy=_policy(script),
        style=Markup(_file("page.css")),
        script=Markup(script),
        payload=Markup(payload(board, shown, inside, look.spread, writers.latex)),
        pictures={name: Markup(in_script(data)) for name, data in inside.pictures.items()},
        remarks=html("\n".join(f"- {remark(one)}." for one in board.remarks)),
        sections=[
            section._replace(legend=html(section.legend), notes=html(section.notes))
            for section in _sections(board, look, inside.groups)
        ],
        efficiency=html(efficiency_table(board.efficiency)) if board.efficiency else "",
        heads=html(heads_table(board.row.title(), board.heads)) if board.heads else "",
        key=html(key_to_names(shown)),
        baseline=visible(board.baseline or ""),
        whole=html(whole),
    )


def _sections(board: Board, look: Look, groups: Sequence[ByGroup]) -> list[Section]:
    """Of the data that there are, the real ones first, in Markdown."""
    found = []
    for synthetic in (False, True):
        if columns := sorted_columns(board, synthetic):
            nowhere = [one for one in board.nowhere.items() if one[0].synthetic == synthetic]
            told = notes(columns, headline_cells(board, synthetic), nowhere)
            of_groups = [
                f"- {escaped(task_title(task))}, by {by.by}: {remark(note)}."
                for by in groups
                for task, of_task in by.notes.items()
                if task.synthetic == synthetic
                for note in of_task
            ]
            told = "\n".join([told, *of_groups] if told != NOTHING else of_groups) or NOTHING
            found.append(Section(synthetic, legend(board, (), look.spread), told))
    return found


def _policy(script: str) -> str:
    """The page's content security policy: nothing is fetched, and no script runs but its own."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _script() -> str:
    """All scripts within one function, so that they share their names with nobody."""
    *own, last = [_file(f"js/{name}.js") for name in SCRIPTS]
    charts: Any = files(PACKAGE).joinpath("charts")
    names = sorted(file.name for file in charts.iterdir() if file.name.endswith(".js"))
    parts = [*own, *(_file(f"charts/{name}") for name in names), last]
    return "\n".join(["(function () {", '"use strict";', *parts, "})();", ""])


def _file(name: str) -> str:
    return files(PACKAGE).joinpath(*name.split("/")).read_text(encoding="utf-8")
