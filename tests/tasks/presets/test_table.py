"""docs/presets.md against the papers' files: every setting stands in the page, with its value and with a source."""

from support.preset_tables import PAGE, UNKNOWN, page, rows, sources

HOW = "run `python tests/support/preset_tables.py`, then write what paper or code says in the place of ?"


def test_the_page_has_every_setting_of_every_file_as_the_file_has_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), HOW
    assert len(list(rows())) == len(sources(text)) > 200


def test_every_setting_has_a_source() -> None:
    said = sources(PAGE.read_text(encoding="utf-8"))
    assert [where for where, source in said.items() if source.strip() in ("", UNKNOWN)] == [], HOW


def test_a_change_of_a_file_changes_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    first = next(row for row in rows() if row.setting == "learning_rate")
    assert page(text.replace(f"`{first.setting}` | ", "`rate` | ", 1)) != text
    assert page(text.replace(f"`{first.value}` |\n", "`7` |\n")) == text
