"""Values written as TOML are read back as they were by Python's own parser."""

import tomllib
from typing import Any

import pytest

from cxrbench.files.toml import toml_value

TEXTS = ['a "b" \\ c', "two\nlines\ttabbed", "\x00\x1f\x7f", "é ☢ \U0001f600"]


@pytest.mark.parametrize(
    "value", [*TEXTS, TEXTS, 3, 0.485, 1e-7, True, [], [0.1, 1], {}, {"kind": "local", "b c": [2]}]
)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert tomllib.loads(f"key = {toml_value(value)}") == {"key": value}


def test_a_tuple_is_a_list() -> None:
    assert tomllib.loads(f"key = {toml_value((1, 2))}") == {"key": [1, 2]}
