"""``cxrbench encoders check``: does an encoder keep the contract, and what is to be mended?"""

import json
from pathlib import Path
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.cli.console import visible_lines
from cxrbench.cli.options import JsonOption


def encoders_check(
    encoder: Annotated[str, typer.Argument(help="An encoder, e.g. ./mine.py:Mine, or the name of an installed one.")],
    golden: Annotated[
        Path | None, typer.Option(help="Compare with this file of --store [default: what ships for the encoder].")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Write golden features here: features of eight phantom images, and versions.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:1, ..., or auto: the first GPU if there is one.")
    ] = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Build an encoder, show it phantom images, and say what passes and what to mend.

    Contract, shapes, determinism, eval mode, batch independence, NaN, gradients, maps, preprocessing, text tower, card;
    and whether it gives what it gave elsewhere (golden features), and if not, which library's version differs. Exits
    with 1 if there is something to mend; remarks alone are no reason to.

    Examples:

      cxrbench encoders check ./mine.py:Mine

      cxrbench encoders check ./mine.py:Mine --store mine.json
    """
    report = api.check_encoder(encoder, golden=golden, device=device)
    if store is not None:
        api.store_golden(encoder, store)
    if as_json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        print(visible_lines(str(report)))
        for name, value in report.facts.items():
            said = "unknown" if value is None else value if isinstance(value, str) else f"{value:,}"
            print(f"{name:>24}  {said}")
    if not report.ok:
        raise typer.Exit(1)
