"""Parquet files of ours, with a checksum."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cxrbench.files.atomic import atomic_path
from cxrbench.files.seal import BLANK, seal

SEAL_KEY = b"cxrbench.seal"


def write_sealed_table(
    path: Path, table: pa.Table, metadata: Mapping[bytes, bytes], permit: Callable[[], None] = lambda: None
) -> None:
    """Write a table with these facts in its schema and a checksum of the file among them; atomically.

    ``seal.check`` tells whether the file is still the same. ``permit``: as for ``atomic_path``. Raises UserError if the
    disk will not.
    """
    with atomic_path(path, permit=permit) as temporary:
        pq.write_table(_with_place_for_seal(table, metadata), temporary, compression="zstd")
        seal(temporary)


def write_sealed_noise(path: Path, table: pa.Table) -> None:
    """The same for what cannot be compressed and can be made anew: nothing is tried, and no disk waited for."""
    with atomic_path(path, durable=False) as temporary:
        sealed = _with_place_for_seal(table, {})
        pq.write_table(sealed, temporary, compression="none", use_dictionary=False, write_statistics=False)
        seal(temporary)


def _with_place_for_seal(table: pa.Table, metadata: Mapping[bytes, bytes]) -> pa.Table:
    return table.replace_schema_metadata({**metadata, SEAL_KEY: BLANK.encode()})
