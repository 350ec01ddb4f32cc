"""What a plugin says of itself where it is declared: its source is read (parsed, not run), so that a listing is quick.

Importing an encoder costs seconds, for it brings torch along; its summary is a constant in its source. Constants,
tuples, f-strings and the like are followed through names, imports, and functions that do no more than return; whatever
needs more than that is ``UNKNOWN``, and the caller imports the plugin if it must know.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

MOST_STEPS = 40  # names, imports and calls that are followed one after the other: more is a circle


class _Unknown:
    """A value that only running the code would tell; true, because something is said."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Any = _Unknown()


class UnreadableError(Exception):
    """The source of a plugin cannot be found or parsed; the message says why."""


@dataclass(frozen=True)
class Declaration:
    """What the source says of a plugin.

    ``facts``: attributes of the object by name, UNKNOWN where only running the code would tell. ``doc``: the docstring
    of the plugin (a class or function), or of the module that it is made in.
    """

    facts: Mapping[str, Any]
    doc: str


@dataclass(frozen=True)
class _Module:
    """A parsed module: where its names are bound, at its top level."""

    name: str
    tree: ast.Module
    package: str

    def bound(self, name: str) -> ast.stmt | None:
        """The one statement that binds a name; None if there are several, or one under a condition."""
        found = [statement for statement in self.tree.body if name in _names_bound(statement)]
        inner = (part for statement in self.tree.body if not _is_scope(statement) for part in ast.walk(statement))
        stored = sum(isinstance(p, ast.Name) and p.id == name and isinstance(p.ctx, ast.Store) for p in inner)
        return found[0] if len(found) == 1 and stored <= 1 else None


def read_declaration(value: str) -> Declaration | None:
    """What an entry point's value (``package.module:NAME``) declares, or None where its source does not show it.

    Nothing is imported, not even the packages around the module. Raises UnreadableError if there is no such module, or
    if its source is not Python.
    """
    module_name, _, name = value.partition(":")
    reader = _Reader({})
    module = reader.module(module_name)
    if module is None:  # compiled, or built in
        return None
    where = reader.follow(module, name.strip().partition(" ")[0], MOST_STEPS)
    if where is None:
        return None
    home, statement = where
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        facts = reader.attributes(home, statement, MOST_STEPS) if isinstance(statement, ast.ClassDef) else {}
        return Declaration(facts, ast.get_docstring(statement) or "")
    expression = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
    facts = reader.made(home, expression, {}, MOST_STEPS)
    return None if facts is None else Declaration(facts, ast.get_docstring(home.tree) or "")


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


def _names_bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement binds."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        yield statement.name
    elif isinstance(statement, ast.ImportFrom | ast.Import):
        yield from (alias.asname or alias.name for alias in statement.names)
    elif isinstance(statement, ast.Assign):
        yield from (target.id for target in statement.targets if isinstance(target, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        yield statement.target.id


@dataclass(frozen=True)
class _Reader:
    """Reads expressions in the modules that it has parsed so far."""

    modules: dict[str, _Module | None]

    def module(self, name: str) -> _Module | None:
        """A module, parsed once. Raises UnreadableError."""
        if name not in self.modules:
            path = find_source(name)
            if path is None:
                self.modules[name] = None
            else:
                try:
                    tree = ast.parse(path.read_bytes(), str(path))
                except (OSError, SyntaxError, ValueError) as error:
                    raise UnreadableError(f"{type(error).__name__}: {error}") from error
                package = name if path.name == "__init__.py" else name.rpartition(".")[0]
                self.modules[name] = _Module(name, tree, package)
        return self.modules[name]

    def follow(self, module: _Module, name: str, steps: int) -> tuple[_Module, ast.stmt] | None:
        """The statement that gives a name its value, and its module, through ``from x import name``."""
        statement = module.bound(name)
        if statement is None or steps <= 0 or isinstance(statement, ast.Import):
            return None
        if not isinstance(statement, ast.ImportFrom):
            return module, statement
        origin = "." * statement.level + (statement.module or "")
        target = importlib.util.resolve_name(origin, module.package)
        theirs = next(alias.name for alias in statement.names if (alias.asname or alias.name) == name)
        try:
            there = self.module(target)
        except UnreadableError:
            return None
        return self.follow(there, theirs, steps - 1) if there else None

    def made(
        self, module: _Module, expression: ast.expr | None, known: Mapping[str, Any], steps: int
    ) -> dict[str, Any] | None:
        """The attributes of what a call makes: of ``Class(...)``, or of ``function(...)`` that returns such a call."""
        if not isinstance(expression, ast.Call) or not isinstance(expression.func, ast.Name) or steps <= 0:
            return None
        where = self.follow(module, expression.func.id, steps)
        if where is None:
            return None
        home, callee = where
        if isinstance(callee, ast.FunctionDef):
            positional = [*callee.args.posonlyargs, *callee.args.args]
            names = [argument.arg for argument in positional]
            local = dict.fromkeys([*names, *(argument.arg for argument in callee.args.kwonlyargs)], UNKNOWN)
            given = local | self.arguments(module, expression, names, known, steps)
            return self.made(home, _only_returned(callee), given, steps - 1)
        if not isinstance(callee, ast.ClassDef):
            return None
        given = self.arguments(module, expression, self.fields(home, callee, steps), known, steps)
        return self.attributes(home, callee, steps, given)

    def arguments(
        self, module: _Module, call: ast.Call, names: list[str], known: Mapping[str, Any], steps: int
    ) -> dict[str, Any]:
        """A call's arguments by name."""
        pairs = [*zip(names, call.args, strict=False), *((k.arg, k.value) for k in call.keywords if k.arg)]
        return {name: self.value(module, expression, known, steps - 1) for name, expression in pairs}

    def bases(self, module: _Module, cls: ast.ClassDef, steps: int) -> Iterator[tuple[_Module, ast.ClassDef]]:
        """A class after its base classes, as far as their source is there."""
        for base in cls.bases:
            where = self.follow(module, base.id, steps) if isinstance(base, ast.Name) else None
            if where and isinstance(where[1], ast.ClassDef) and steps > 0:
                yield from self.bases(where[0], where[1], steps - 1)
        yield module, cls

    def fields(self, module: _Module, cls: ast.ClassDef, steps: int) -> list[str]:
        """What a dataclass is called with, in order."""
        names: dict[str, None] = {}
        for _, part in self.bases(module, cls, steps):
            for line in part.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    names[line.target.id] = None
        return list(names)

    def attributes(
        self, module: _Module, cls: ast.ClassDef, steps: int, given: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Attributes of a class: constants in its body or its bases', what it is called with, simple properties."""
        facts: dict[str, Any] = {}
        properties: dict[str, tuple[_Module, ast.expr | None]] = {}
        for home, part in self.bases(module, cls, steps):
            for line in part.body:
                if isinstance(line, ast.Assign | ast.AnnAssign) and line.value is not None:
                    for name in _names_bound(line):
                        facts[name] = self.value(home, line.value, {}, steps - 1)
                        properties.pop(name, None)
                elif isinstance(line, ast.FunctionDef) and _is_property(line):
                    properties[line.name] = (home, _only_returned(line))
        facts |= given or {}
        for name, (home, expression) in properties.items():
            facts[name] = UNKNOWN if expression is None else self.value(home, expression, {"self": facts}, steps - 1)
        return facts

    def value(self, module: _Module, expression: ast.expr, known: Mapping[str, Any], steps: int) -> Any:
        """What an expression is worth, or UNKNOWN. ``known``: local names (arguments, ``self``)."""
        if steps <= 0:
            return UNKNOWN

        def of(part: ast.expr) -> Any:
            return self.value(module, part, known, steps - 1)

        match expression:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name) if name in known:
                return known[name]
            case ast.Name(id=name):
                where = self.follow(module, name, steps)
                if where and isinstance(where[1], ast.Assign | ast.AnnAssign) and where[1].value is not None:
                    return self.value(where[0], where[1].value, {}, steps - 1)
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if "self" in known:
                return known["self"].get(name, UNKNOWN)
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
                values = tuple(of(part) for part in parts)
                return UNKNOWN if UNKNOWN in values else values
            case ast.Dict(keys=keys) if all(keys):  # as in joins: what counts are its keys
                return dict.fromkeys(of(key) for key in keys if key is not None)
            case ast.JoinedStr(values=parts):
                texts = [of(part) for part in parts]
                return UNKNOWN if UNKNOWN in texts else "".join(map(str, texts))
            case ast.FormattedValue(value=part, conversion=-1, format_spec=None):
                return of(part)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                both = of(left), of(right)
                return both[0] + both[1] if all(isinstance(one, str) for one in both) else UNKNOWN
            case ast.IfExp(test=test, body=body, orelse=orelse):
                chosen = of(test)
                return UNKNOWN if chosen is UNKNOWN else of(body if chosen else orelse)
            case ast.Call(func=ast.Attribute(value=separator, attr="join"), args=[parts], keywords=[]):
                glue, texts = of(separator), of(parts)
                if isinstance(glue, str) and texts is not UNKNOWN and all(isinstance(text, str) for text in texts):
                    return glue.join(texts)
            case ast.Call(func=ast.Name(id="frozenset"), args=parts, keywords=[]):
                members = of(parts[0]) if parts else ()
                return UNKNOWN if members is UNKNOWN else frozenset(members)
            case _:
                pass
        return UNKNOWN


def _is_scope(statement: ast.stmt) -> bool:
    """Whether names that are bound in a statement are its own."""
    return isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)


def _only_returned(function: ast.FunctionDef) -> ast.expr | None:
    """What a function returns that does nothing else."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None


def _is_property(function: ast.FunctionDef) -> bool:
    """Whether a function is decorated as a property and nothing else."""
    return [d.id for d in function.decorator_list if isinstance(d, ast.Name)] == ["property"]
