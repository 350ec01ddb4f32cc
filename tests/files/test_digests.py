"""Digests of files: what a sample sees, and what a whole digest is."""

import hashlib
from pathlib import Path

from cxrbench.files.digests import file_sha256, sampled_digest


def digest_of(content: bytes) -> str:
    return sampled_digest(len(content), lambda at, count: content[at : at + count], blocks=3, block=4)


def test_the_sample_is_of_the_first_middle_and_last_block_and_of_the_size() -> None:
    expected = hashlib.blake2b(b"21" + b"abcd" + b"ijkl" + b"rstu", digest_size=12).hexdigest()
    assert digest_of(b"abcdefghijklmnopqrstu") == expected


def test_every_byte_of_what_is_short_counts() -> None:
    short = b"abc"
    changed = {digest_of(short[:at] + b"X" + short[at + 1 :]) for at in range(3)}
    assert len(changed | {digest_of(short), digest_of(b"ab"), digest_of(b"")}) == 6


def test_the_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "some"
    path.write_bytes(b"abc")
    assert file_sha256(path) == hashlib.sha256(b"abc").hexdigest()
