"""What is read of a plugin's source is what its import would give, and reading it runs nothing."""

import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from cxrbench.plugins import listing
from cxrbench.plugins.declared import UNKNOWN, read_declaration
from cxrbench.plugins.entry_points import DATASETS, ENCODERS, TASKS
from cxrbench.plugins.listing import Listing, every_encoder, list_encoders, list_tasks
from cxrbench.plugins.parsed import UnreadableError

FACTS = ("summary", "title", "usage", "opt_in", "complete", "source", "licence", "name", "lineage")
BOOM = 'raise RuntimeError("this module was run")\n'


@pytest.mark.parametrize("group", [ENCODERS, DATASETS, TASKS])
def test_every_built_in_plugin_says_in_its_source_what_its_import_says(group: str) -> None:
    points = [point for point in entry_points(group=group) if point.value.startswith("cxrbench.")]
    assert points
    for point in points:
        declared, plugin = read_declaration(point.value), point.load()
        assert declared is not None, point.value
        for name in FACTS:
            if hasattr(plugin, name):
                assert declared.facts[name] == getattr(plugin, name), (point.value, name)
        line = listing.listing(group, point.name)
        assert line == listing.listing(group, point.name, check=True)
        assert (line.problem, bool(line.summary)) == ("", True)


def test_all_means_the_encoders_that_need_no_more_than_a_name() -> None:
    plugins = {p.name: p.load() for p in entry_points(group=ENCODERS) if p.value.startswith("cxrbench.")}
    shipped = {name for name, plugin in plugins.items() if plugin.phantom_weights}
    complete = {spec for plugin in plugins.values() for spec in plugin.complete}
    assert set(every_encoder(synthetic=True)) == shipped | complete
    assert set(every_encoder(synthetic=False)) == complete


def install(folder: Path, group: str, points: dict[str, str]) -> None:
    """What pip leaves of a package: its metadata beside its modules."""
    info = folder / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {value}" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")


THEIRS = '''"""Their module."""
from cxrbench.encoder import EncoderPlugin
from .words import SUMMARY as SAID, make
{boom}
KINDS = {{"a": load(), "b": 2}}
PLUGIN = EncoderPlugin(load, SAID, f"theirs[:{{'|'.join(KINDS)}}]", complete=("theirs:a",))
FIRST, SECOND = make("one", usage="first"), make("two", usage="second")
LEFT, RIGHT = make_two("pair")

class Plain:
    """Rows of pixels.

    More of it.
    """
    usage = "plain"

def build():
    """Builds one."""
    return Plain()

if load():
    SOMETIMES = EncoderPlugin(load, "then", "u")
TWICE = EncoderPlugin(load, "first", "u")
TWICE = EncoderPlugin(load, "second", "u")
COMPUTED = EncoderPlugin(load, summary=load(), usage="u")
'''
WORDS = '''
from cxrbench.encoder import EncoderPlugin
SUMMARY = "what it is" + ", in words"
def make(summary, usage, weights=None):
    """No more than a call."""
    return EncoderPlugin(load=load, summary=summary, usage=usage, phantom_weights=weights)
'''


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that cannot be imported: whoever runs any module of it hears of it."""
    package = tmp_path / "their_package"
    package.mkdir()
    (package / "__init__.py").write_text(BOOM)
    (package / "encoders.py").write_text(THEIRS.format(boom=BOOM))
    (package / "words.py").write_text(WORDS + BOOM)
    (package / "broken.py").write_text("def f(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def facts(name: str) -> dict[str, object]:
    declared = read_declaration(f"their_package.encoders:{name}")
    assert declared is not None
    return dict(declared.facts)


def test_constants_are_followed_through_names_imports_and_functions(theirs: Path) -> None:
    plugin = facts("PLUGIN")
    assert (plugin["summary"], plugin["usage"]) == ("what it is, in words", "theirs[:a|b]")
    assert (plugin["complete"], plugin["phantom_weights"]) == (("theirs:a",), None)
    assert [facts("SECOND")[name] for name in ("summary", "usage")] == ["two", "second"]
    assert facts("SECOND")["phantom_weights"] is UNKNOWN  # the function's default is not looked at
    plain, build = (read_declaration(f"their_package.encoders:{name}") for name in ("Plain", "build"))
    assert plain is not None
    assert build is not None
    assert (plain.facts["usage"], plain.doc.splitlines()[0], build.doc) == ("plain", "Rows of pixels.", "Builds one.")
    assert "their_package" not in sys.modules


@pytest.mark.parametrize("name", ["SOMETIMES", "TWICE", "LEFT", "ABSENT"])
def test_what_is_not_said_once_and_for_all_is_not_guessed(name: str, theirs: Path) -> None:
    assert read_declaration(f"their_package.encoders:{name}") is None


@pytest.mark.parametrize("value", ["their_package.nowhere:X", "no_such_package.x:X", "their_package.broken:X"])
def test_what_cannot_be_found_or_parsed_says_so(value: str, theirs: Path) -> None:
    with pytest.raises(UnreadableError, match=r"No module named|SyntaxError"):
        read_declaration(value)


def test_a_listing_reports_what_it_cannot_read_and_imports_what_is_not_said(theirs: Path) -> None:
    points = {"good": "PLUGIN", "computed": "COMPUTED", "sometimes": "SOMETIMES"}
    values = {name: f"their_package.encoders:{attribute}" for name, attribute in points.items()}
    install(theirs, ENCODERS, {**values, "gone": "their_package.gone:P", "broken": "their_package.broken:P"})
    lines = {line.name: line for line in list_encoders()}
    assert lines["good"] == Listing(
        "good", "what it is, in words", "theirs[:a|b]", complete=("theirs:a",), has_phantom_weights=False
    )
    assert "gone (their_package.gone:P) cannot be imported: ModuleNotFoundError" in lines["gone"].problem
    assert "SyntaxError" in lines["broken"].problem
    for name in ("computed", "sometimes"):  # they had to be imported, and the package's own code says no
        assert "this module was run" in lines[name].problem
    checked = {line.name: line for line in list_encoders(check=True)}
    assert "this module was run" in checked["good"].problem
    assert all("\n" not in line.problem for line in checked.values())


def test_a_task_of_somebody_elses_is_read_through_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = BOOM + (
        "from dataclasses import dataclass\nfrom cxrbench.task import Task\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Odd(Task):\n"
        '    name: str = "odd"\n    summary: str = "odd things"\n    opt_in: bool = True\nTASK = Odd()\n'
    )
    (tmp_path / "odd_task.py").write_text(source)
    install(tmp_path, TASKS, {"odd": "odd_task:TASK"})
    monkeypatch.syspath_prepend(str(tmp_path))
    line = {line.name: line for line in list_tasks()}["odd"]
    assert (line.summary, line.opt_in, line.problem) == ("odd things", True, "")
