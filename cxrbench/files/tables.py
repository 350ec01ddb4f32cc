"""Parquet files of ours, with a checksum."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cxrbench.files.atomic import atomic_path
from cxrbench.files.seal import BLANK, seal

SEAL_KEY = b"cxrbench.seal"
TEXT = b"\x18"  # how a field of text begins that follows the one before it, in Thrift's compact protocol
LENGTH = 4  # bytes in which the footer's length stands, before the last four of a file


def write_sealed_table(path: Path, table: pa.Table, metadata: Mapping[bytes, bytes]) -> None:
    """Write a table with these facts in its schema and a checksum of the file among them; atomically.

    ``seal.check`` tells whether the file is still the same. Raises UserError if the disk will not.
    """
    with atomic_path(path) as temporary:
        pq.write_table(_with_place_for_seal(table, metadata), temporary, compression="zstd")
        seal(temporary)


def write_sealed_noise(path: Path, table: pa.Table) -> None:
    """The same for what cannot be compressed and can be made anew: nothing is tried, and no disk waited for."""
    with atomic_path(path, durable=False) as temporary:
        sealed = _with_place_for_seal(table, {})
        pq.write_table(sealed, temporary, compression="none", use_dictionary=False, write_statistics=False)
        seal(temporary)


def metadata_value(content: bytes, key: bytes) -> bytes | None:
    """What stands under ``key`` (of fewer than 128 bytes) in a Parquet file's metadata; None where it is not found.

    By its bytes, in a tenth of the time in which a library reads a footer with all that it says of columns: an entry is
    its key and its value, texts of Thrift's compact protocol, each after its length in groups of seven bits.
    """
    end = len(content) - 2 * LENGTH
    size = int.from_bytes(content[end : end + LENGTH], "little")
    begin = TEXT + bytes([len(key)]) + key + TEXT
    at = content.rfind(begin, max(0, end - size), max(0, end)) + len(begin)
    if at < len(begin):
        return None
    length = shift = 0
    while content[at] & 0x80:
        length, shift, at = length | (content[at] & 0x7F) << shift, shift + 7, at + 1
    length |= content[at] << shift
    return content[at + 1 : at + 1 + length]


def _with_place_for_seal(table: pa.Table, metadata: Mapping[bytes, bytes]) -> pa.Table:
    return table.replace_schema_metadata({**metadata, SEAL_KEY: BLANK.encode()})
