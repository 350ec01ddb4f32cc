"""What pyproject promises is what lies in the tree, and arrows between the folders point one way."""

import ast
import importlib
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
FOLDERS = ("cxrbench", "encoders", "tasks", "leaderboard")


def test_packages_are_the_folders_with_python_in_them() -> None:
    there = {
        ".".join(part.parent.relative_to(ROOT).parts)
        for folder in FOLDERS
        for part in (ROOT / folder).rglob("__init__.py")
    }
    installed = {name if name.startswith("cxrbench") else f"cxrbench.{name}" for name in there}
    assert set(SETUPTOOLS["packages"]) == installed
    for package, folder in SETUPTOOLS["package-dir"].items():
        assert (ROOT / folder / "__init__.py").is_file(), package


@pytest.mark.parametrize("group", ["encoders", "datasets", "tasks", "methods"])
def test_every_entry_point_loads(group: str) -> None:
    points = [p for p in entry_points(group=f"cxrbench.{group}") if p.value.startswith("cxrbench.")]
    assert points
    for point in points:
        module, _, name = point.value.partition(":")
        assert hasattr(importlib.import_module(module), name)


def imported(path: Path) -> set[str]:
    """Names of modules that a file imports, anywhere in it."""
    tree = ast.parse(path.read_text())
    found = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return found | {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}


def test_the_core_knows_no_concrete_encoder_task_or_table() -> None:
    outer = ("cxrbench.encoders", "cxrbench.tasks", "cxrbench.leaderboard")
    for path in (ROOT / "cxrbench").rglob("*.py"):
        if not path.name.startswith("cli"):
            assert not [name for name in imported(path) if name.startswith(outer)], path


def test_the_leaderboard_needs_no_images_and_no_models() -> None:
    for path in (ROOT / "leaderboard").glob("*.py"):
        forbidden = ("cxrbench.data", "cxrbench.encoder", "cxrbench.features.pooled", "cxrbench.tasks", "timm", "PIL")
        assert not [name for name in imported(path) if name.startswith(forbidden)], path


def test_the_project_stands_alone() -> None:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            assert "shared/" not in path.read_text(), path
