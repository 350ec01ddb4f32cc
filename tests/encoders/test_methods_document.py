"""docs/methods.md says what the code does: its tables of options and recipes are the code's, to the last default."""

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from support.option_tables import SETS, recipes, recipes_table, tables

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "methods.md"


def table_after(marker: str, text: str) -> str:
    """The table that stands behind a marker."""
    return text.split(marker)[1].strip().split("\n\n")[0]


@pytest.mark.parametrize(("marker", "table"), list(tables()), ids=lambda text: text[5:30] if "<!--" in text else "")
def test_tables_are_those_of_the_code(marker: str, table: str) -> None:
    text = DOCUMENT.read_text()
    assert text.count(marker) == 1, f"{DOCUMENT.name} has no {marker}"
    assert table_after(marker, text) == table, "cd tests && python -m support.option_tables prints the tables"


def test_no_method_is_left_out() -> None:
    methods = {point.name for point in entry_points(group="cxrbench.methods") if "cxrbench." in point.value}
    assert set(SETS) == methods
    assert all(f"`{name}` fixed" in recipes_table() for name in methods)


def test_a_value_or_an_option_that_is_not_the_codes_is_found() -> None:
    text = DOCUMENT.read_text()
    for marker, table in tables():
        last = table.splitlines()[-1]
        for wrong in (text.replace(last, f"{last[:-2]}0{last[-2:]}"), text.replace(f"\n{last}", "")):
            assert table_after(marker, wrong) != table == table_after(marker, text)


@pytest.mark.parametrize("name", SETS)
def test_a_method_is_told_with_its_variants(name: str) -> None:
    told = DOCUMENT.read_text().split(f"<!-- options of {name} -->")[0].rpartition("\n## ")[2]
    assert len(told) > 500
    assert all(f"**{variant}**" in told for variant in SETS[name].variants if len(SETS[name].variants) > 1)


def test_public_codes_are_those_that_the_golden_numbers_are_from() -> None:
    """Repository and commit; and every repository that a recipe cites is one of them."""
    rows = [
        row.strip("| ").split(" | ") for row in table_after("<!-- public codes -->", DOCUMENT.read_text()).split("\n")
    ]
    told = {name.strip("`"): (repository, commit) for name, repository, commit, _ in rows[2:]}
    golden = sorted((Path(__file__).parent / "golden").glob("test_*.py"))
    found = [re.findall(r"([\w-]+/[\w-]+) at ([0-9a-f]{40})", path.read_text()) for path in golden]
    assert all(found), "a golden test does not say of which commit it is"
    assert set(told.values()) == {pair for pairs in found for pair in pairs}
    cited = {word for name in SETS for recipe in recipes(name).values() for text in recipe.sources.values()
             for word in re.findall(r"\b([\w-]+):(?=[\w.]+[/.])", text)}  # fmt: skip
    assert cited
    assert cited <= set(told)
