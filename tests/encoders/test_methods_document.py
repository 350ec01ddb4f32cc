"""docs/methods.md says what the code does: its tables of options and recipes are the code's, to the last default."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from support.option_tables import SETS, recipes_table, tables

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
