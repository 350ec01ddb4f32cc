"""``cxrbench bundle``: everything that a hospital without a network needs, in one folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.cli.console import say, visible_lines, warn
from cxrbench.cli.options import JsonOption


def bundle(
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    encoder: Annotated[
        str, typer.Option(help="Encoders whose files go along, as in a run, separated by commas [default: none].")
    ] = "",
    python: Annotated[
        str | None,
        typer.Option(help="Interpreter whose pip fetches wheels, for its version [default: this one]."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="Checkout or wheel of cxrbench [default: where it was installed from].")
    ] = None,
    extras: Annotated[str, typer.Option(help="Extras of cxrbench that are needed there, by commas.")] = "baselines",
    no_torch: Annotated[
        bool, typer.Option("--no-torch", help="Leave torch out, which is gigabytes: somebody else brings it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """For a place without a network: wheels, weights with cards, documentation and a check, in one folder.

    There, `python3 check.py` compares all files with their sums, installs into a fresh environment from the folder
    alone, and runs the demo on the phantom. Wheels are for this platform and this version of Python.

    Examples:

      cxrbench bundle -o for-the-hospital --encoder cxr:rad-dino,spcl@runs/x/encoder.safetensors

      cxrbench bundle -o small --no-torch
    """
    made = api.bundle(
        output, encoder, python=python, source=source,
        extras=tuple(name.strip() for name in extras.split(",") if name.strip()), torch=not no_torch, told=say,
    )  # fmt: skip
    if made.without:
        warn(f"not in it: {', '.join(made.without)}; {output / 'README.md'} says what to do about it")
    if as_json:
        print(json.dumps(asdict(made), indent=1, default=str))
        return
    carried = f", {len(made.encoders)} encoders" if made.encoders else ""
    print(
        visible_lines(f"{output}: {made.wheels} wheels{carried}, {made.bytes / 1e6:,.0f} MB; there: python3 check.py")
    )
