"""A row of all columns: each protocol's data sets in their order, bold where p is below the level."""

import columns
import pytest

from evidence.beside_untrained import Row
from evidence.marked import replaced

ROW = Row("fane", "", "random:cls")
EVERY = [(protocol, name) for protocol, (_, names) in columns.PROTOCOLS.items() for name in names]


def test_a_row_has_each_difference_in_its_place() -> None:
    found = {key: (k / 100, 0.049 if k % 2 else 0.05) for k, key in enumerate(EVERY)}
    assert columns.shown(ROW, found) == [
        "`fane`", "`random:cls`", "6 of 13",
        "+0.000 **+0.010** +0.020", "**+0.030** +0.040 **+0.050**", "+0.060 **+0.070** +0.080",
        "**+0.090** +0.100", "**+0.110** +0.120",
    ]  # fmt: skip


def test_a_column_without_a_result_is_no_empty_cell() -> None:
    with pytest.raises(KeyError):
        columns.shown(ROW, dict.fromkeys(EVERY[1:], (0.1, 0.01)))


def test_the_document_has_a_place_for_it() -> None:
    text = columns.DOCUMENT.read_text()
    assert replaced(text, columns.TABLE, "new") != text
