"""``cxrbench requests``: what was asked of the runs of a results folder."""

from pathlib import Path
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.cli.console import show, visible_lines
from cxrbench.cli.options import JsonOption, ResultsOption
from cxrbench.errors import UserError


def requests(
    sha256: Annotated[str, typer.Argument(help="Print this one as a run file: its hash, or how it begins.")] = "",
    results: ResultsOption = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """What was asked of the runs of a results folder, or one of them as a run file.

    The hash is of the encoders, the tasks and the options, whatever the machine and its folders.

    Examples:

      cxrbench requests

      cxrbench requests 3f9a > board.toml
    """
    found = [one for one in api.requests(results) if one["sha256"].startswith(sha256)]
    if not sha256:
        rows = [
            {"request": one["sha256"][:12], "date": one["date"], "encoders": ", ".join(one["encoders"]),
             "tasks": ", ".join(one["tasks"])}
            for one in found
        ]  # fmt: skip
        return show(found if as_json else rows, as_json)
    if len(found) != 1:
        raise UserError(f"{len(found)} requests of {results} begin with {sha256!r}: `cxrbench requests` lists them")
    if as_json:
        return show(found, as_json)
    (one,) = found
    print(f"# request {one['sha256']}, cxrbench {one['version']}, {one['date']}\n{visible_lines(one['toml'])}", end="")
