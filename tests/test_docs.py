"""The documentation says what is there: commands and options that exist, Python that parses, links that lead on."""

import ast
import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import typer

import cxrbench
from cxrbench import __version__, api, list_tasks
from cxrbench.cli.main import app
from cxrbench.errors import UserError
from cxrbench.plugins.entry_points import METHODS, load_plugin
from support.option_tables import SETS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
INLINE = re.compile(r"`(cxrbench [^`]+)`")


def commands(page: Path) -> list[str]:
    """Every ``cxrbench ...`` line of a page, in fences and in the text."""
    text = page.read_text()
    fenced = [line.strip() for language, code in FENCE.findall(text) if language in ("", "bash", "sh")
              for line in code.replace("\\\n", " ").splitlines()]  # fmt: skip
    plain = [" ".join(found.split()) for found in INLINE.findall(FENCE.sub("", text))]
    return [line for line in (*fenced, *plain) if line.startswith("cxrbench ")]


def problem(line: str) -> str:
    """What is wrong with a command: a word that is no command, an option that it does not have; "" if nothing."""
    line = re.split(r" [|>#] ?|\s#\s", line)[0]
    words = shlex.split(line.replace("[", "").replace("]", "").replace("...", ""))[1:]
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        if words and words[0].startswith("--"):
            break
        if not words:
            return ""  # `cxrbench data`: the group itself
        names = words.pop(0).split("|")
        if missing := [name for name in names if name not in command.commands]:
            return f"{missing[0]!r} is no command"
        command = command.commands[names[0]]
    known = {option for one in command.params for option in one.opts} | {"--help"}
    for word in words:
        option = word.partition("=")[0]
        if re.fullmatch(r"-[a-z]|--[a-z][a-z-]*", option) and option not in known:
            return f"no option {option}"
    return pretraining_problem(words) if command.name == "pretrain" else ""


def pretraining_problem(words: list[str]) -> str:
    """What a method refuses of its recipe, its architecture and its own options; "" if nothing."""
    given: dict[str, str] = {one: word for one, word in pairwise(words) if one.startswith("--") and one != "--option"}
    own: dict[str, str] = dict(word.split("=", 1) for one, word in pairwise(words) if one == "--option" and "=" in word)
    if not words or words[0] not in SETS:
        return ""  # METHOD, of any
    method = load_plugin(METHODS, words[0], "method")
    recipe = given.get("--recipe", "fixed").split("|")[0]
    try:
        method.configure((given.get("--arch") or method.recipes[recipe].arch).split("|")[0], own | {"variant": recipe})
    except UserError as error:
        return str(error)
    return ""


def test_commands_by_which_the_encoders_of_papers_are_made_are_true() -> None:
    found = [line for file in (ROOT / "cxrbench/papers").glob("*.toml") for line in commands(file)]
    assert len(found) > 20
    assert [(line, what) for line in found if (what := problem(line))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_python_and_links_of_a_page_are_true(page: Path) -> None:
    assert [(line, what) for line in commands(page) if (what := problem(line))] == []
    for language, code in FENCE.findall(page.read_text()):
        if language == "python":
            ast.parse(code)
    for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text()):
        target = (page.parent / link).resolve()
        made = page.parent.name in ("docs", "protocols") and link in MADE
        assert made or target.exists(), f"{page.name} links to {link}"


MADE = ("encoders.md", "datasets.md", "index.md", "changelog.md", "contributing.md", "protocols/index.md")
"""Pages that docs/site/pages.py makes."""


def test_commands_are_found_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Say `cxrbench data list` or\n\n```\ncxrbench run --encodr x \\\n  --tasks y\nls\n```\n")
    assert [problem(line) for line in commands(page)] == ["no option --encodr", ""]
    assert problem("cxrbench laederboard") == "'laederboard' is no command"
    assert problem("cxrbench pretrain pacx --option init=X").startswith("PaCX-MAE has no option init")
    assert problem("cxrbench pretrain mae --recipe paper --arch huge").startswith("unknown architecture 'huge'")
    assert len([line for one in PAGES for line in commands(one)]) > 60


def test_every_protocol_and_page_of_the_navigation_is_there() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    pages = re.findall(r"(\S+\.md)$", text, re.M)
    made = set(MADE) | {"reference/commands.md"}
    assert [name for name in pages if name not in made and not (ROOT / "docs" / name).is_file()] == []
    assert {f"protocols/{one.name}.md" for one in list_tasks() if not one.problem} <= set(pages)
    written = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert written - set(pages) == set()


def test_sections_that_pages_take_from_elsewhere_are_there() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for file, heading in re.findall(r"^\{include ([^#}]+)#([^}]+)\}$", page.read_text(), re.M):
            assert re.search(rf"^#+ {re.escape(heading)}$", (ROOT / file).read_text(), re.M), (page, file, heading)


def test_the_notebook_is_kept_without_outputs_and_its_code_parses() -> None:
    notebook = json.loads((ROOT / "docs" / "phantom.ipynb").read_text())
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in codes)
    for cell in codes:
        ast.parse("".join(cell["source"]))


def test_each_picture_of_the_gallery_is_below_the_command_that_makes_it() -> None:
    page = (ROOT / "docs" / "gallery.md").read_text()
    made = re.findall(r"^```\n([^`]*?)^```\n\n!\[[^\]]+\]\(gallery/([^)]+)\)$", page, re.M)
    pictures = sorted(path.name for path in (ROOT / "docs" / "gallery").iterdir())
    assert sorted(name for _, name in made) == pictures
    assert [name for line, name in made if not line.endswith(f" -o {name}\n") or line.count("\n") != 1] == []
    script = run_path(str(ROOT / "docs" / "site" / "gallery.py"))
    assert [script["written"](command) for command in script["commands"](page)] == ["", "", *(name for _, name in made)]
    shown = {line.split()[2] for line, _ in made if line.startswith("cxrbench plot ")}
    assert shown == {one.name for one in api.list_plots()}
    assert sum(path.stat().st_size for path in (ROOT / "docs" / "gallery").iterdir()) < 600_000


def test_what_is_cited_is_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_python_names_in_pages_are_there() -> None:
    for page in PAGES:
        text = page.read_text()
        for module, names in ((cxrbench, r"\bcxrbench\.(\w+)\("), (api, r"\bapi\.(\w+)\(")):
            missing = [name for name in re.findall(names, text) if not hasattr(module, name)]
            assert missing == [], f"{page.name}: {module.__name__} has no {missing}"
