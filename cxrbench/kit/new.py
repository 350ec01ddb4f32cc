"""Packages to begin a plugin with: written from templates, whole, and passing their own tests."""

import keyword
import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Literal

from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path
from cxrbench.plugins.entry_points import DATASETS, ENCODERS, TASKS, found

PluginKind = Literal["encoder", "task", "data"]
GROUPS: Mapping[PluginKind, str] = {"encoder": ENCODERS, "task": TASKS, "data": DATASETS}
WHAT: Mapping[PluginKind, str] = {"encoder": "An encoder", "task": "A protocol", "data": "A data set"}
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
TEMPLATES = {
    "pyproject.toml.tmpl": "pyproject.toml",
    "README.md.tmpl": "README.md",
    "module.py.tmpl": "${package}.py",
    "test.py.tmpl": "test_${package}.py",
}


def new_plugin(kind: PluginKind, name: str, out: Path, *, text: bool = False) -> list[Path]:
    """Write a package in ``out/NAME`` and return its files.

    ``text``: an encoder with a text tower. Raises UserError for a name that is taken or none, and for a folder that is
    there.
    """
    package = _checked(kind, name)
    folder = out / name
    if folder.exists():
        raise UserError(f"{folder} is there already: choose another name or --out, or delete it")
    words = {
        "name": name, "package": package, "distribution": name, "what": WHAT[kind],
        "cls": "".join(part.capitalize() for part in name.split("-")),
    }  # fmt: skip
    written = []
    for template, target in TEMPLATES.items():
        source = files("cxrbench.kit").joinpath("templates", kind, template).read_text(encoding="utf-8")
        path = folder / Template(target).substitute(words)
        with atomic_path(path) as temporary:
            temporary.write_text(Template(_parts(source, {"text"} if text else set())).substitute(words), "utf-8")
        written.append(path)
    return written


def _checked(kind: PluginKind, name: str) -> str:
    """The module's name. Raises UserError if it, or the plugin's, cannot be had."""
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r} cannot be a plugin's name: small letters, digits and single hyphens, a letter first")
    if name in found(GROUPS[kind]):
        raise UserError(f"{name!r} is installed already: choose another name")
    package = name.replace("-", "_")
    if keyword.iskeyword(package) or find_spec(package) is not None:
        raise UserError(f"{name!r} would shadow Python's module {package}: choose another name, e.g. my-{name}")
    return package


def _parts(source: str, wanted: set[str]) -> str:
    """The text without the parts between ``#if NAME`` and ``#end`` that are not wanted."""
    lines, shown = [], True
    for line in source.splitlines(keepends=True):
        if line.startswith("#if "):
            shown = line.split()[1] in wanted
        elif line.startswith("#end"):
            shown = True
        elif shown:
            lines.append(line)
    return "".join(lines)
