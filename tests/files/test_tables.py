"""What stands in the metadata of a Parquet file, found by its bytes: the same as a library finds."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cxrbench.files.seal import read_checked
from cxrbench.files.tables import SEAL_KEY, metadata_value, write_sealed_table

KEY = b"cxrbench"


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 300_000])
def test_values_of_every_length_are_those_that_a_library_reads(length: int, tmp_path: Path) -> None:
    """Where lengths take one, two and three groups of bits; beside another key that begins alike."""
    rng, path = np.random.default_rng(length), tmp_path / "table.parquet"
    value = rng.integers(32, 127, length, np.uint8).tobytes()
    rows = pa.table({"name": ["a\x18\x08cxrbench\x18\x01x", "b"], "number": [1.0, 2.0]})
    write_sealed_table(path, rows, {b"cxrbench.other": b"other", KEY: value, b"cxrbenc": b"short"})
    content = read_checked(path)
    said = pq.read_metadata(path).metadata
    assert metadata_value(content, KEY) == said[KEY] == value
    assert metadata_value(content, SEAL_KEY) == said[SEAL_KEY]
    assert metadata_value(content, b"cxrbench.other") == b"other"


def test_what_is_not_there_and_what_is_no_table_has_no_value(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_sealed_table(path, pa.table({"name": [KEY.decode()]}), {})
    for content in (path.read_bytes(), b"", b"PAR1", b"x" * 100, KEY * 20):
        assert not metadata_value(content, KEY)
