"""What a plugin says of itself where it is declared: its source is read (parsed, not run), so that a listing is quick.

Importing an encoder costs seconds, for it brings torch along; its summary is a constant in its source. Constants,
tuples, f-strings and the like are followed through names, imports, and functions that do no more than return; whatever
needs more than that is ``UNKNOWN``, and the caller imports the plugin if it must know.
"""

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cxrbench.plugins.parsed import (
    ParsedModule,
    UnreadableError,
    given_to,
    is_property,
    names_bound,
    only_returned,
    parse_module,
)

MOST_STEPS = 40  # names, imports and calls that are followed one after the other: more is a circle


class _Unknown:
    """A value that only running the code would tell; true, because something is said."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Any = _Unknown()


@dataclass(frozen=True)
class Declaration:
    """What the source says of a plugin.

    ``facts``: attributes of the object by name, UNKNOWN where only running the code would tell. ``doc``: the docstring
    of the plugin (a class or function), or of the module that it is made in.
    """

    facts: Mapping[str, Any]
    doc: str


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
    home, statement, name = where
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        facts = reader.attributes(home, statement, MOST_STEPS) if isinstance(statement, ast.ClassDef) else {}
        return Declaration(facts, ast.get_docstring(statement) or "")
    expression, position = given_to(statement, name)
    facts = reader.made(home, expression, {}, MOST_STEPS, position)
    return None if facts is None else Declaration(facts, ast.get_docstring(home.tree) or "")


@dataclass(frozen=True)
class _Reader:
    """Reads expressions in the modules that it has parsed so far."""

    modules: dict[str, ParsedModule | None]

    def module(self, name: str) -> ParsedModule | None:
        """A module, parsed once. Raises UnreadableError."""
        if name not in self.modules:
            self.modules[name] = parse_module(name)
        return self.modules[name]

    def follow(self, module: ParsedModule, name: str, steps: int) -> tuple[ParsedModule, ast.stmt, str] | None:
        """The statement that gives a name its value, its module, and its name there, through ``from x import name``."""
        statement = module.bound(name)
        if statement is None or steps <= 0 or isinstance(statement, ast.Import):
            return None
        if not isinstance(statement, ast.ImportFrom):
            return module, statement, name
        origin = "." * statement.level + (statement.module or "")
        target = importlib.util.resolve_name(origin, module.package)
        theirs = next(alias.name for alias in statement.names if (alias.asname or alias.name) == name)
        try:
            there = self.module(target)
        except UnreadableError:
            return None
        return self.follow(there, theirs, steps - 1) if there else None

    def made(
        self,
        module: ParsedModule,
        expression: ast.expr | None,
        known: Mapping[str, Any],
        steps: int,
        position: int | None = None,
    ) -> dict[str, Any] | None:
        """The attributes of what a call makes: of ``Class(...)``, or of ``function(...)`` that returns such a call.

        ``position``: which part of the tuple that the function returns is meant.
        """
        if not isinstance(expression, ast.Call) or not isinstance(expression.func, ast.Name) or steps <= 0:
            return None
        where = self.follow(module, expression.func.id, steps)
        if where is None:
            return None
        home, callee, _ = where
        if isinstance(callee, ast.FunctionDef):
            positional = [*callee.args.posonlyargs, *callee.args.args]
            names = [argument.arg for argument in positional]
            local = dict.fromkeys([*names, *(argument.arg for argument in callee.args.kwonlyargs)], UNKNOWN)
            given = local | self.arguments(module, expression, names, known, steps)
            returned = only_returned(callee)
            if position is not None:
                returned = returned.elts[position] if isinstance(returned, ast.Tuple) else None
            return self.made(home, returned, given, steps - 1)
        if not isinstance(callee, ast.ClassDef) or position is not None:
            return None
        given = self.arguments(module, expression, self.fields(home, callee, steps), known, steps)
        return self.attributes(home, callee, steps, given)

    def arguments(
        self, module: ParsedModule, call: ast.Call, names: list[str], known: Mapping[str, Any], steps: int
    ) -> dict[str, Any]:
        """A call's arguments by name."""
        pairs = [*zip(names, call.args, strict=False), *((k.arg, k.value) for k in call.keywords if k.arg)]
        return {name: self.value(module, expression, known, steps - 1) for name, expression in pairs}

    def bases(self, module: ParsedModule, cls: ast.ClassDef, steps: int) -> Iterator[tuple[ParsedModule, ast.ClassDef]]:
        """A class after its base classes, as far as their source is there."""
        for base in cls.bases:
            where = self.follow(module, base.id, steps) if isinstance(base, ast.Name) else None
            if where and isinstance(where[1], ast.ClassDef) and steps > 0:
                yield from self.bases(where[0], where[1], steps - 1)
        yield module, cls

    def fields(self, module: ParsedModule, cls: ast.ClassDef, steps: int) -> list[str]:
        """What a dataclass is called with, in order."""
        names: dict[str, None] = {}
        for _, part in self.bases(module, cls, steps):
            for line in part.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    names[line.target.id] = None
        return list(names)

    def attributes(
        self, module: ParsedModule, cls: ast.ClassDef, steps: int, given: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Attributes of a class: constants in its body or its bases', what it is called with, simple properties."""
        facts: dict[str, Any] = {}
        properties: dict[str, tuple[ParsedModule, ast.expr | None]] = {}
        for home, part in self.bases(module, cls, steps):
            for line in part.body:
                if isinstance(line, ast.Assign | ast.AnnAssign) and line.value is not None:
                    for name in names_bound(line):
                        facts[name] = self.value(home, line.value, {}, steps - 1)
                        properties.pop(name, None)
                elif isinstance(line, ast.FunctionDef) and is_property(line):
                    properties[line.name] = (home, only_returned(line))
        facts |= given or {}
        for name, (home, expression) in properties.items():
            facts[name] = UNKNOWN if expression is None else self.value(home, expression, {"self": facts}, steps - 1)
        return facts

    def value(self, module: ParsedModule, expression: ast.expr, known: Mapping[str, Any], steps: int) -> Any:
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
                given, position = given_to(*where[1:]) if where else (None, None)
                if where and given is not None and position is None:
                    return self.value(where[0], given, {}, steps - 1)
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
