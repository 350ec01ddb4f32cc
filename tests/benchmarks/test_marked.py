"""Tables go between their markers; the text around them stays."""

from pathlib import Path

import numpy as np
import pytest
import real
import shipped

from cxrbench.encoders.backbones.encoder import WEIGHTS
from cxrbench.errors import UserError
from evidence.beside_untrained import DATASETS, FRACTIONS, ROWS, TABLES, Beside, Measured, Tests, tables
from evidence.embeddings import Directions
from evidence.marked import number, probability, put, replaced

TEXT = "before\n<!-- a -->\nold\n<!-- /a -->\nbetween\n<!-- b -->\n<!-- /b -->\nafter\n"


def test_only_what_is_between_the_markers_changes(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(TEXT)
    put(document, {"a": r"new \1 | row", "b": "second"})
    assert document.read_text() == (
        "before\n<!-- a -->\nnew \\1 | row\n<!-- /a -->\nbetween\n<!-- b -->\nsecond\n<!-- /b -->\nafter\n"
    )
    put(document, {"a": "old", "b": ""})
    assert document.read_text() == TEXT.replace("<!-- b -->\n<", "<!-- b -->\n\n<")


@pytest.mark.parametrize("text", ["nothing", "<!-- a -->", TEXT + TEXT])
def test_a_document_without_one_place_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no place"):
        replaced(text, "a", "new")


def test_numbers_that_are_none_are_a_dash_and_significant_ones_bold() -> None:
    assert (number(np.nan), number(0.12345), number(0.1, 2, sign=True)) == ("–", "0.123", "+0.10")
    assert [probability(p) for p in (np.nan, 0.00012, 0.0123, 0.2)] == ["–", "**0.0001**", "**0.01**", "0.20"]
    assert probability(0.0499) == "**0.05**"
    assert probability(3e-6) == "**<0.0001**"


def test_the_documents_have_a_place_for_every_table() -> None:
    for document, names in ((shipped.DOCUMENT, TABLES), (real.DOCUMENT, real.TABLES)):
        text = document.read_text()
        for name in names:
            assert replaced(text, name, "new") != text


def test_a_seed_stands_beside_the_untrained_backbone_of_that_seed() -> None:
    (row,) = [row for row in ROWS if row.name == "mae"]
    assert [(row.spec(seed), row.untrained(seed)) for seed in (0, 2)] == [
        ("mae@mae-seed0/encoder.safetensors", "random:cls"),
        ("mae@mae-seed2/encoder.safetensors", "random:cls@2"),
    ]


def invented(ready: dict[str, list[int]]) -> Measured:
    """AUROC 0.9 - seed / 10 against 0.6, p 0.01 at all labels and 0.3 below."""
    rows = tuple(row for row in ROWS if row.method in ready)

    def everywhere(value: float) -> Tests:
        return {name: {f: Beside(value, 0.6, 0.01 if f == 1 else 0.3) for f in FRACTIONS} for name in DATASETS}

    tests = {row.key(seed): everywhere(0.9 - seed / 10) for row in rows for seed in ready[row.method]}
    tests["imagenet"] = everywhere(0.95)
    return Measured(tests, {key: Directions(6.4, 0.33) for key in (*tests, *(row.baseline for row in rows))})


def test_rows_stand_above_the_untrained_backbone_that_they_are_compared_with() -> None:
    found = tables(invented({"spcl": [0, 1], "mae": [0]}), WEIGHTS)
    first = [line.split("|")[1].strip() for line in found["all labels"].splitlines()[2:]]
    assert first == ["`mae`", "*`random:cls`*", "`spcl`", "`mae:mean`", "*`random`*", "`imagenet`"]
    (line,) = [line for line in found["all labels"].splitlines() if line.startswith("| `spcl`")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:6] == ["mean", "0.900", "0.900", "0.900", "0.900"]
    assert cells[6:9] == ["**0.01**, **0.01**, **0.01**", "6.4", "33%"]
    assert cells[9].startswith("2,760 images x ")
    assert "0.30, 0.30, 0.30" in found["label fractions"]
    assert "+0.300, +0.200: +0.250 ± 0.071 (2 of 2)" in found["pretraining seeds"]
    assert "mae" not in found["pretraining seeds"]
