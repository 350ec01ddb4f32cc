"""Which source files decide what an encoder computes: a user's own ones, found by following their imports.

Libraries (the standard one, torch, timm, whatever else lies in site-packages) are left out: their versions are recorded
with every cell, and the features of the fixed images tell when one of them changes the output.
"""

import ast
import functools
import importlib.metadata
import importlib.util
import inspect
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cxrbench.plugins.versions import LIBRARIES

USER_FILE = "cxrbench_user_"  # begins the names of modules that are made of a user's file
HERE = "cxrbench"


class SourceFile(NamedTuple):
    """A module and its file. ``name`` is the dotted one; empty for a user's file, whose name and place do not count."""

    name: str
    path: Path


def factory_files(factory: Callable[..., Any], classes: Iterable[type]) -> list[SourceFile]:
    """The files of the factory (a class or function) and of the classes, base classes too; libraries' are left out."""
    things = {factory, *(base for cls in classes for base in cls.__mro__)}
    own = distribution_of(getattr(factory, "__module__", None) or "")
    found = {source for thing in things if (source := file_of(thing)) and is_own(source, own | {HERE})}
    return sorted(found)


def source_files(factory: Callable[..., Any], classes: Iterable[type]) -> list[SourceFile]:
    """``factory_files``, and every module of the user's (or of the plug-in's package) that they import, transitively.

    Of cxrbench's own encoders only the files that define them: what they import serves training, too.
    """
    own = distribution_of(getattr(factory, "__module__", None) or "")
    return followed(factory_files(factory, classes), lambda s: is_own(s, own) and top_of(s.name) != HERE)


def followed(
    starts: Iterable[SourceFile],
    wanted: Callable[[SourceFile], bool],
    find: Callable[[str, Path], SourceFile | None] | None = None,
) -> list[SourceFile]:
    """The files, and those of the ``wanted`` modules that these import, wherever in the code, transitively; sorted.

    ``find``: from a dotted name and a folder to a module's file (``locate``).
    """
    find = find or locate
    found = set(starts)
    waiting = [source for source in found if wanted(source)]
    while waiting:
        source = waiting.pop()
        for name in imports_of(source):
            there = find(name, root_of(source))
            if there is not None and there not in found and wanted(there):
                found.add(there)
                waiting.append(there)
    return sorted(found)


def helpers_of(path: Path) -> list[SourceFile]:
    """The modules beside a user's file, and in packages there, that it imports, transitively."""
    found = followed([SourceFile("", path)], lambda source: top_of(source.name) != HERE, beside)
    return [source for source in found if source.name]


def imports_of(source: SourceFile) -> Iterator[str]:
    """Dotted names that a file imports, anywhere in it, with the packages around them. Not all need be modules."""
    try:
        facts = source.path.stat()
        yield from _imports_of(source, (facts.st_mtime_ns, facts.st_size))
    except (OSError, SyntaxError, ValueError):  # compiled, or gone: it is hashed as it is, and leads nowhere
        return


@functools.lru_cache(maxsize=4096)
def _imports_of(source: SourceFile, stamp: tuple[int, int]) -> tuple[str, ...]:
    """Parsed once, while its time and size (``stamp``) are the same."""
    del stamp
    tree, found = ast.parse(source.path.read_bytes()), dict[str, None]()
    package = source.name if source.path.name == "__init__.py" else source.name.rpartition(".")[0]
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            try:
                base = importlib.util.resolve_name(origin, package or None) if node.level else origin
            except ImportError:  # beyond the top: Python refuses it as well
                continue
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                names = [node.args[0].value]
        for name in names:
            parts = name.split(".")
            found |= dict.fromkeys(".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return tuple(found)


def locate(name: str, folder: Path) -> SourceFile | None:
    """The file of a module: of the one that is loaded, else the one in ``folder``; None if neither is a file."""
    if not name or top_of(name) in sys.stdlib_module_names:
        return None
    loaded = sys.modules.get(name)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        return SourceFile(name, Path(file).resolve()) if file and Path(file).is_file() else None
    return beside(name, folder)


def beside(name: str, folder: Path) -> SourceFile | None:
    """The file of a module in ``folder``, whatever is loaded under its name; None if there is none."""
    base = folder.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
        if path.is_file():
            return SourceFile(name, path.resolve())
    return None


def root_of(source: SourceFile) -> Path:
    """The folder from which a module is imported by its dotted name."""
    depth = source.name.count(".") + (source.path.name == "__init__.py")
    return source.path.parents[depth]


def file_of(thing: Any) -> SourceFile | None:
    """The file that defines a class or function, or None if there is none."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(thing) if callable(thing) else type(thing))
    except (TypeError, OSError):  # OSError: a class that was typed into a notebook
        return None
    if not file or not Path(file).is_file():
        return None
    return SourceFile(module_name(thing), Path(file).resolve())


def module_name(thing: Any) -> str:
    """The module that defines a class or function; nothing for a user's file, whose path does not count."""
    name = getattr(thing, "__module__", None) or ""
    return "" if name.startswith(USER_FILE) else name


def qualified_name(thing: Any) -> str:
    """``package.module.Class.method``; ``:Class`` in a user's file."""
    name = getattr(thing, "__qualname__", None) or type(thing).__qualname__
    return f"{module_name(thing) or ''}:{name}"


def top_of(name: str) -> str:
    """The first part of a dotted name."""
    return name.partition(".")[0]


def is_own(source: SourceFile, own: frozenset[str]) -> bool:
    """Whether a file is no library's, or belongs to one of the top-level modules ``own``."""
    return top_of(source.name) in own or not is_library(source.path)


def is_library(path: Path) -> bool:
    """Whether a file lies in the standard library or in a folder of installed packages."""
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    return any(path.is_relative_to(folder) for folder in library_folders())


@functools.cache
def library_folders() -> tuple[Path, ...]:
    """Where Python keeps its own modules and installed ones."""
    paths = sysconfig.get_paths()
    folders = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.add(site.getusersitepackages())
    return tuple(Path(folder).resolve() for folder in folders)


@functools.cache
def distribution_of(module: str) -> frozenset[str]:
    """The top-level modules of the installed distribution that ``module`` belongs to, its own among them.

    None of a library whose version is recorded anyway: a ``torch.nn.Sequential`` that is given is not all of torch.
    """
    top = top_of(module)
    if not top or top.startswith(USER_FILE) or top == HERE:
        return frozenset()
    tops = importlib.metadata.packages_distributions()
    mine = set(tops.get(top, ()))
    if {name.lower().replace("-", "_") for name in mine} & set(LIBRARIES):
        return frozenset()
    return frozenset({top, *(other for other, names in tops.items() if mine & set(names))})
