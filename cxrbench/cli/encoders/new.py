"""``cxrbench encoders new``, ``tasks new`` and ``data new``: a package to begin a plugin with."""

from pathlib import Path
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.files.names import visible

NameArgument = Annotated[str, typer.Argument(help="Its name: small letters, digits and hyphens.")]
OutOption = Annotated[Path, typer.Option(help="Folder to put the package's folder into.")]


def encoders_new(
    name: NameArgument,
    out: OutOption = Path("."),
    text: Annotated[bool, typer.Option("--text-tower", help="With a text tower.")] = False,
) -> None:
    """Write a package with an encoder: pyproject with its entry point, the encoder with maps, its test.

    Example: cxrbench encoders new my-encoder --text-tower
    """
    _written(api.new_plugin("encoder", name, out, text=text), f"cxrbench encoders check {name}")


def tasks_new(name: NameArgument, out: OutOption = Path(".")) -> None:
    """Write a package with a protocol of one's own, and its test.

    Example: cxrbench tasks new nearest-mean
    """
    _written(api.new_plugin("task", name, out), f"cxrbench run --encoder imagenet --tasks siim:{name}")


def data_new(name: NameArgument, out: OutOption = Path(".")) -> None:
    """Write a package with the adapter of a data set, and its test. A CSV of your own needs none: --tasks ./labels.csv.

    Example: cxrbench data new my-hospital
    """
    _written(api.new_plugin("data", name, out), f"cxrbench data check {name} --data /data")


def _written(files: list[Path], following: str) -> None:
    for path in files:
        print(visible(str(path)))
    print(visible(f"Next: pip install -e {files[0].parent} && pytest {files[0].parent}; {following}"))
