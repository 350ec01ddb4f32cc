"""docs/presets.md: every setting of every preset, what the paper or its code says of it, and ours.

    python tests/support/preset_tables.py

writes the page again: values as the files have them, what papers and code say as the page has it, "?" where it is new.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "presets.md"
PRESETS = ROOT / "tasks" / "presets"
SECTIONS = ("run", "classification", "linear", "finetune", "segmentation", "detection")
CONDITIONS = ("dataset", "protocol", "variant", "fraction")
UNKNOWN = "?"
HEADER = ("| setting | paper or code | ours |", "|---|---|---|")
HEADING = re.compile(r"## (\w+)")


class Row(NamedTuple):
    """A setting of a table of a preset. ``where``: the table, with the condition under which it holds."""

    preset: str
    where: str
    setting: str
    value: str


def rows() -> Iterator[Row]:
    """Every setting of every file, in the files' order."""
    for path in sorted(PRESETS.glob("*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        for section in SECTIONS:
            of = table.get(section, {})
            yield from _rows(path.stem, section, {key: value for key, value in of.items() if key != "when"})
            for override in of.get("when", ()):
                yield from _rows(path.stem, section, override)
        for data in table.get("data", ()):
            yield from _rows(path.stem, "data", data)


def _rows(preset: str, section: str, table: Mapping[str, Any]) -> Iterator[Row]:
    held = ", ".join(f"{key} {table[key]}" for key in CONDITIONS if key in table)
    where = f"[{section}]" + (f", {held}" if held else "")
    for key, value in table.items():
        if key not in CONDITIONS:
            yield Row(preset, where, key, toml(value))


def toml(value: Any) -> str:
    """A value as a TOML file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(of)}" for key, of in value.items()) + " }"
    return f"{value:g}" if isinstance(value, float) and value == float(f"{value:g}") else str(value)


def page(old: str) -> str:
    """The page: its text as ``old`` has it, its tables from the files, with what ``old`` says of each setting.

    A preset's table stands where a line under its heading begins with ``|``.
    """
    said = sources(old)
    lines: list[str] = []
    preset, written = "", set[str]()
    for line in old.splitlines():
        if heading := HEADING.match(line):
            preset = heading[1]
        if not line.startswith("|"):
            lines.append(line)
        elif preset not in written:
            written.add(preset)
            lines += [*HEADER, *(_line(row, said) for row in rows() if row.preset == preset)]
    if missing := {row.preset for row in rows()} - written:
        raise ValueError(f"{PAGE.name} has no table under a heading of {', '.join(sorted(missing))}")
    return "\n".join(lines) + "\n"


def _line(row: Row, said: Mapping[tuple[str, str, str], str]) -> str:
    return f"| `{row.where}` `{row.setting}` | {said.get(row[:3], UNKNOWN)} | `{row.value}` |"


def sources(text: str) -> dict[tuple[str, str, str], str]:
    """What a page says of (preset, table, setting)."""
    found: dict[tuple[str, str, str], str] = {}
    preset = ""
    for line in text.splitlines():
        if heading := HEADING.match(line):
            preset = heading[1]
        if match := re.match(r"\| `(.+?)` `(.+?)` \| (.*?) \| `", line):
            found[preset, match[1], match[2]] = match[3]
    return found


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
