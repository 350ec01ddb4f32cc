"""The source of a module, found and parsed without running it, and which of its statements binds a name."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any


class UnreadableError(Exception):
    """The source of a plugin cannot be found or parsed; the message says why."""


@dataclass(frozen=True)
class ParsedModule:
    """A parsed module: where its names are bound, at its top level."""

    name: str
    tree: ast.Module
    package: str

    def bound(self, name: str) -> ast.stmt | None:
        """The one statement that binds a name; None if there are several, or one under a condition."""
        found = [statement for statement in self.tree.body if name in names_bound(statement)]
        inner = (part for statement in self.tree.body if not _is_scope(statement) for part in ast.walk(statement))
        stored = sum(isinstance(p, ast.Name) and p.id == name and isinstance(p.ctx, ast.Store) for p in inner)
        return found[0] if len(found) == 1 and stored <= 1 else None


def parse_module(name: str) -> ParsedModule | None:
    """A module of Python source; None if it is of another kind. Raises UnreadableError."""
    path = find_source(name)
    if path is None:
        return None
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableError(f"{type(error).__name__}: {error}") from error
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return ParsedModule(name, tree, package)


def find_source(name: str) -> Path | None:
    """The file of a module, without importing it or its packages; None if it is not of Python source.

    Raises UnreadableError if there is no such module.
    """
    spec: ModuleSpec | None = None
    path: Any = None
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        whole = ".".join(parts[:depth])
        spec = next(filter(None, (_asked(finder, whole, path) for finder in sys.meta_path)), None)
        if spec is None or (depth < len(parts) and spec.submodule_search_locations is None):
            raise UnreadableError(f"ModuleNotFoundError: No module named {whole!r}")
        path = spec.submodule_search_locations
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _asked(finder: Any, name: str, path: Any) -> ModuleSpec | None:
    """What one of Python's finders knows of a module."""
    return finder.find_spec(name, path) if hasattr(finder, "find_spec") else None


def names_bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement binds."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        yield statement.name
    elif isinstance(statement, ast.ImportFrom | ast.Import):
        yield from (alias.asname or alias.name for alias in statement.names)
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            yield from (part.id for part in parts if isinstance(part, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        yield statement.target.id


def given_to(statement: ast.stmt, name: str) -> tuple[ast.expr | None, int | None]:
    """What an assignment gives to a name, and, of ``a, b = ...``, the name's place."""
    if isinstance(statement, ast.AnnAssign):
        return statement.value, None
    if not isinstance(statement, ast.Assign):
        return None, None
    target = statement.targets[0]
    if not isinstance(target, ast.Tuple):
        return statement.value, None
    place = [part.id if isinstance(part, ast.Name) else "" for part in target.elts].index(name)
    value = statement.value
    return (value.elts[place], None) if isinstance(value, ast.Tuple) else (value, place)


def only_returned(function: ast.FunctionDef) -> ast.expr | None:
    """What a function returns that does nothing else."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None


def is_property(function: ast.FunctionDef) -> bool:
    """Whether a function is decorated as a property and nothing else."""
    return [d.id for d in function.decorator_list if isinstance(d, ast.Name)] == ["property"]


def _is_scope(statement: ast.stmt) -> bool:
    """Whether names that are bound in a statement are its own."""
    return isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
