"""Pages of the documentation site that are made of something else: the README, registries, docstrings, the commands.

A hook of mkdocs (``mkdocs.yml``). Nothing here computes, and torch is not imported.
"""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
MOVED = {
    r"docs/": "", r"\.\./benchmarks/results/": "results/", r"benchmarks/results/": "results/",
    r"CONTRIBUTING\.md": "contributing.md", r"CHANGELOG\.md": "changelog.md", r"\.\./README\.md": "index.md",
}  # fmt: skip
"""Where links of the repository lead to on the site."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made."""
    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.md")):
        files.append(File.generated(config, f"results/{path.name}", content=_moved(path.read_text())))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put in what a page takes from elsewhere: ``{include FILE#Heading}`` is a section of a file of the repository."""
    depth = page.file.src_uri.count("/")
    include = re.compile(r"^\{include ([^#}]+)#([^}]+)\}$", re.M)
    text = include.sub(lambda found: _moved(section(ROOT / found[1], found[2]), depth), markdown)
    return _moved(text, depth) if "/" not in page.file.src_uri else text


def section(path: Path, heading: str) -> str:
    """What stands under a heading of a Markdown file, up to the next one of its level."""
    text = path.read_text()
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,6}} |\Z)", text, re.M | re.S)
    if found is None:
        raise ValueError(f"{path} has no heading {heading!r}")
    return found[2].strip()


def _moved(text: str, depth: int = 0) -> str:
    """The text with links to files of the repository leading to their pages."""
    for old, new in MOVED.items():
        text = re.sub(rf"\]\({old}", f"]({'../' * depth}{new}", text)
    return text


def _encoders() -> str:
    """The tables of installed encoders and of published ones, as the registries have them."""
    from cxrbench import api

    rows = ["| name | what it is | spec |", "|---|---|---|"]
    for one in api.list_encoders():
        rows.append(f"| `{one.name}` | {_cell(one.problem or one.summary)} | {_code(one.usage or one.name)} |")
    lead = "What is installed; `cxrbench encoders list` prints the same."
    parts = ["# Encoders", "", lead, "", *rows, "", "{include README.md#Your own encoder}", ""]
    return "\n".join(parts + _published([line.entry for line in api.list_published()]))


def _published(entries: Sequence[Any]) -> list[str]:
    """The table of published encoders."""
    lead = "`cxrbench encoders list --published` says which are here, `encoders download NAME` how to get one."
    rows = ["| spec | what it is | pixels | pretrained on | licence | unverified |", "|---|---|---|---|---|---|"]
    for one in entries:
        seen = ", ".join([*one.pretrained_on, *([one.seen] if one.seen else [])])
        what = f"{one.title}. {one.citation} ({one.year})"
        cells = [what, str(one.preprocess.size), seen, one.licence, ", ".join(one.unverified)]
        rows.append(f"| {_code(one.spec)} | {' | '.join(map(_cell, cells))} |")
    return ["## Published encoders", "", lead, "", *rows, ""]


def _datasets() -> str:
    """A section per dataset: where it comes from, its terms, and what its reader says."""
    from cxrbench import list_datasets

    points = {point.name: point.value.partition(":")[0] for point in entry_points(group="cxrbench.datasets")}
    lead = "Unpack each download as it is, in a folder of its name; `cxrbench data check NAME` says what is there."
    parts = ["# Datasets", "", lead, ""]
    for one in list_datasets():
        parts += [f"## {one.summary or one.name} {{#{one.name}}}", "", f"`{one.name}`. From {one.source}", ""]
        parts += [f"Terms: {one.licence}", ""] if one.licence else []
        parts += [f"{text}\n" for text in _docstrings(points[one.name])]
    return "\n".join([*parts, "## Your own", "", "{include README.md#Your own data}", ""])


def _docstrings(module: str) -> Iterator[str]:
    """The docstring of a reader's module, without its first line where it is a title, and of its ``read``."""
    parts = module.split(".")[1:]
    path = next(p for p in (ROOT.joinpath("cxrbench", *parts).with_suffix(".py"),) if p.is_file())
    tree = ast.parse(path.read_text())
    reads = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "read"]
    for node in (tree, *reads):
        if text := ast.get_docstring(node):
            yield text.replace("``", "`")


def _protocols() -> str:
    """The table of protocols, as the registry has it."""
    from cxrbench import list_tasks

    rows = ["| protocol | what it is | |", "|---|---|---|"]
    for one in list_tasks():
        page = (
            f"[`{one.name}`]({one.name}.md)" if (ROOT / f"docs/protocols/{one.name}.md").is_file() else f"`{one.name}`"
        )
        rows.append(f"| {page} | {_cell(one.summary)} | {'run when named' if one.opt_in else ''} |")
    text = section(ROOT / "README.md", "Tasks").partition("\n\n")[0]
    return "\n".join(["# Tasks", "", text, "", *rows, "", "What concerns all of them:", "",
                      section(ROOT / "docs/design.md", "Runs and tables of many kinds"), ""])  # fmt: skip


def _commands() -> str:
    """Every command with its options, as ``--help`` has them."""
    import typer

    from cxrbench.cli.main import app

    parts = ["# Command line", ""]
    for words, command in _walk(typer.main.get_command(app), ["cxrbench"]):
        doc = re.sub(r"\n(?=\S)", " ", (command.help or "").strip())
        parts += [f"## {' '.join(words)}", "", *_with_examples(command.help or doc), ""]
        rows = [_option(one) for one in command.params if one.name != "help"]
        parts += ["| option | default | |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join(parts)


def _walk(command: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    """The commands below a command, with the words that name each."""
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
        return
    for name, one in sorted(below.items()):
        yield from _walk(one, [*words, name])


def _with_examples(text: str) -> list[str]:
    """The help of a command; its examples as code."""
    head, _, examples = text.partition("Examples:")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    return [head.strip(), *(["", "```", *lines, "```"] if lines else [])]


def _option(one: Any) -> str:
    names = " ".join(one.opts) if one.param_type_name == "option" else str(one.name).upper()
    said = one.param_type_name == "option" and one.default not in (None, "", ()) and one.default is not False
    default = f"`{one.default}`" if said else ""
    return f"| `{names}` | {default} | {_cell(getattr(one, 'help', None) or '')} |"


def _cell(text: str) -> str:
    return re.sub(r"([<>*_])", r"\\\1", text).replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _file(name: str) -> Callable[[], str]:
    return lambda: _moved((ROOT / name).read_text())


PAGES: dict[str, Callable[[], str]] = {
    "index.md": _file("README.md"),
    "contributing.md": _file("CONTRIBUTING.md"),
    "changelog.md": _file("CHANGELOG.md"),
    "encoders.md": _encoders,
    "datasets.md": _datasets,
    "protocols/index.md": _protocols,
    "reference/commands.md": _commands,
}
