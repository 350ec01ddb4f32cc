"""The floor plan: what pyproject promises is what lies in the tree, and imports between the folders go one way."""

import ast
import importlib
import os
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
FOLDERS = ("cxrbench", "encoders", "tasks", "leaderboard")
METHODS = ("spcl", "mae", "supervised", "mvmae", "pacx", "radjepa", "fane")
MOST_MODULES, MOST_LINES = 15, 300


def modules(root: Path = ROOT) -> Iterator[tuple[str, Path]]:
    """Every module of the package: its dotted name and its file. Links to folders are not followed."""
    for top in FOLDERS:
        for folder, _, files in os.walk(root / top):
            for file in sorted(files):
                if file.endswith(".py"):
                    path = Path(folder, file)
                    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
                    yield (name if top == "cxrbench" else f"cxrbench.{name}"), path


def imported(path: Path) -> set[str]:
    """Names of modules that a file imports, anywhere in it: of ``from a import b`` both ``a`` and ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(name: str, packages: Iterable[str]) -> bool:
    """Whether a module is one of ``packages`` (below ``cxrbench``) or lies in one of them."""
    return any(f"{name}.".startswith(f"cxrbench.{package}.") for package in packages)


def arrows(sources: Iterable[str], targets: Iterable[str], root: Path = ROOT) -> list[str]:
    """Every import from a module in ``sources`` of one in ``targets``."""
    targets = tuple(targets)
    return [
        f"{name} imports {target}"
        for name, path in modules(root)
        if inside(name, sources)
        for target in sorted(imported(path))
        if inside(target, targets)
    ]


CORE = (
    "api", "cli", "engine", "schedule", "executors", "plugins", "kit", "features", "metrics", "files", "data",
    "phantom", "looking", "encoder", "task", "predictions", "errors", "progress",
)  # fmt: skip
BELOW_API = tuple(name for name in CORE if name not in ("api", "cli"))
RULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "nothing imports the command line": ((*CORE[:1], *CORE[2:], "encoders", "tasks", "leaderboard"), ("cli",)),
    "the command line reaches the engine, tables and encoders through the api": (
        ("cli",),
        (
            "engine", "schedule", "executors", "leaderboard", "encoders", "tasks", "features", "plugins", "kit",
            "phantom", "looking", "metrics.kinds",
        ),
    ),
    "what computes a cell knows nothing of who shares the work, nor that of who starts the workers": (
        ("engine", "features"), ("schedule", "executors"),
    ),
    "work is shared in the same way by whatever workers are started": (("schedule",), ("executors",)),
    "what runs an evaluation does without the plugin kit": (
        ("engine", "plugins", "features", "metrics", "files", "data", "phantom", "encoders", "tasks", "leaderboard"),
        ("kit",),
    ),
    "the core knows no concrete encoder, task or table": (BELOW_API, ("api", "encoders", "tasks", "leaderboard")),
    "encoders import no task and no table": (("encoders",), ("tasks", "leaderboard", "engine", "api")),
    "tasks import no method and no table": (
        ("tasks",), (*(f"encoders.{method}" for method in METHODS), "leaderboard", "engine", "api"),
    ),
    "pretraining and backbones import no method": (
        ("encoders.pretraining", "encoders.backbones", "encoders.text", "encoders.ecg", "encoders.labs"),
        tuple(f"encoders.{method}" for method in METHODS),
    ),
    "tables need no data reader, model or task": (
        ("leaderboard",),
        ("data", "phantom", "encoder", "features", "plugins.loading", "engine", "encoders", "tasks", "api"),
    ),
    "data does not know the phantom": (("data",), ("phantom",)),
    **{
        f"{method} imports no other method": (
            (f"encoders.{method}",), tuple(f"encoders.{other}" for other in METHODS if other != method),
        )
        for method in METHODS
    },
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_imports_go_one_way(rule: str) -> None:
    assert arrows(*RULES[rule]) == []


@pytest.mark.parametrize("rule", RULES)
def test_an_import_against_the_rule_is_found(rule: str, tmp_path: Path) -> None:
    sources, targets = RULES[rule]
    top, *rest = sources[0].split(".")
    folder = tmp_path / (top if top in FOLDERS else "cxrbench")
    for part in rest if top in FOLDERS else [top]:
        folder = folder / part
    folder.mkdir(parents=True)
    (folder / "wrong.py").write_text(f"def late():\n    from cxrbench.{targets[0]} import thing\n    return thing\n")
    assert len(arrows(*RULES[rule], root=tmp_path)) >= 1


def crowded(root: Path) -> dict[str, int]:
    """Folders with more modules than one can look over."""
    count = Counter(str(path.parent.relative_to(root)) for _, path in modules(root) if path.name != "__init__.py")
    return {folder: number for folder, number in count.items() if number > MOST_MODULES}


def shared_prefixes(root: Path) -> list[tuple[str, str]]:
    """(folder, prefix) where three files begin alike and should be a folder."""
    heads = Counter(
        (str(path.parent.relative_to(root)), path.stem.partition("_")[0])
        for _, path in modules(root)
        if not path.stem.startswith("_")
    )
    return [place for place, number in heads.items() if number >= 3]


def repeated_classes(root: Path) -> dict[str, list[str]]:
    """Names that several classes of the package have."""
    where: dict[str, list[str]] = defaultdict(list)
    for name, path in modules(root):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(name)
    return {cls: names for cls, names in where.items() if len(names) > 1}


def long_modules(root: Path) -> dict[str, int]:
    """Modules with more lines than one sits through."""
    lines = {str(path.relative_to(root)): len(path.read_text().splitlines()) for _, path in modules(root)}
    return {path: number for path, number in lines.items() if number > MOST_LINES}


def test_a_folder_can_be_looked_over() -> None:
    assert (crowded(ROOT), shared_prefixes(ROOT), long_modules(ROOT)) == ({}, [], {})


def test_one_class_has_one_name() -> None:
    assert repeated_classes(ROOT) == {}


def test_what_is_crowded_long_or_named_twice_is_found(tmp_path: Path) -> None:
    for number in range(MOST_MODULES + 1):
        (tmp_path / "tasks").mkdir(exist_ok=True)
        (tmp_path / "tasks" / f"part_{number}.py").write_text("class Twice:\n    pass\n" + "\n" * MOST_LINES)
    assert crowded(tmp_path) == {"tasks": MOST_MODULES + 1}
    assert shared_prefixes(tmp_path) == [("tasks", "part")]
    assert len(repeated_classes(tmp_path)["Twice"]) == len(long_modules(tmp_path)) == MOST_MODULES + 1


def test_no_test_imports_from_another_test_module() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        wrong = [name for name in imported(path) if any(part.startswith("test_") for part in name.split(".")[:-1])]
        assert wrong == [], path


def test_packages_are_the_folders_with_python_in_them() -> None:
    there = {name for name, path in modules() if path.name == "__init__.py"}
    assert set(SETUPTOOLS["packages"]) == there
    for package, folder in SETUPTOOLS["package-dir"].items():
        assert (ROOT / folder / "__init__.py").is_file(), package
    for top in FOLDERS[1:]:  # what editors and type checkers follow
        assert (ROOT / "cxrbench" / top).resolve() == ROOT / top


def test_what_is_read_beside_python_is_package_data() -> None:
    """A wheel carries nothing that no pattern names."""
    for package, folder in SETUPTOOLS["package-dir"].items():
        patterns = {
            f"{name.removeprefix(package).strip('.').replace('.', '/')}/{pattern}".lstrip("/")
            for name, of in SETUPTOOLS["package-data"].items()
            if f"{name}.".startswith(f"{package}.")
            for pattern in of
        }
        carried = {path for pattern in patterns for path in (ROOT / folder).glob(pattern)}
        there = {path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        others = {path for path in there - carried if path.suffix != ".py" and not path.name.startswith(".")}
        assert others == set(), package


@pytest.mark.parametrize("group", ["encoders", "datasets", "tasks", "methods"])
def test_every_entry_point_loads(group: str) -> None:
    points = [p for p in entry_points(group=f"cxrbench.{group}") if p.value.startswith("cxrbench.")]
    assert points
    for point in points:
        module, _, name = point.value.partition(":")
        assert hasattr(importlib.import_module(module), name)


def test_the_project_stands_alone() -> None:
    for _, path in modules():
        assert "shared/" not in path.read_text(), path
