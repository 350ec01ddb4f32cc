"""Parquet files of ours, with a checksum."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from cxrbench.files.atomic import atomic_path
from cxrbench.files.seal import BLANK, seal

SEAL_KEY = b"cxrbench.seal"


def write_sealed_table(
    path: Path, table: pa.Table, metadata: Mapping[bytes, bytes], *, compression: Literal["zstd", "none"] = "zstd"
) -> None:
    """Write a table with these facts in its schema and a checksum of the file among them; atomically.

    ``seal.check`` tells whether the file is still the same. Raises UserError if the disk will not.
    """
    with atomic_path(path) as temporary:
        sealed = table.replace_schema_metadata({**metadata, SEAL_KEY: BLANK.encode()})
        pq.write_table(sealed, temporary, compression=compression)
        seal(temporary)
