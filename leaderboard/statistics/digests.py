"""What an evaluation is made of, to the bit: digests of predictions, test sets, code and libraries."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from cxrbench import metrics
from cxrbench.leaderboard.statistics.alignment import OF_IMAGES, TestSet


def content(rows: pd.DataFrame, tests: TestSet) -> str:
    """A digest of a cell's predictions, to the bit: of all columns, whatever they hold, but those that all cells share.

    These are in the name of the test set.
    """
    digest = hashlib.blake2b(digest_size=20)
    shared = {*OF_IMAGES, *(f"target:{label}" for label in tests.labels)}
    for name in rows.columns:
        if name in shared:
            continue
        column = rows[name]
        digest.update(f"{name}\n{column.dtype}\n{len(column)}\n".encode())
        if isinstance(column.dtype, np.dtype) and column.dtype != object:
            digest.update(column.to_numpy().tobytes())
            continue
        array = pa.array(column.tolist())
        digest.update(str(array.type).encode())
        for buffer in array.buffers():
            digest.update(b"-" if buffer is None else buffer)
    return digest.hexdigest()


def key(*parts: object) -> str:
    """A digest of plain values."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True, default=str).encode(), digest_size=20).hexdigest()


def of_test_set(tests: TestSet, measures: Iterable[str]) -> str:
    """A digest of all that is the same for all encoders of a test set."""
    digest = hashlib.blake2b(digest_size=20)
    digest.update(
        key(_version(), tests.key, tests.labels, tests.kind, sorted(tests.groups.items()), [*measures]).encode()
    )
    digest.update("\n".join(tests.patients.tolist()).encode())
    digest.update(tests.targets.tobytes())
    return digest.hexdigest()


@cache
def _version() -> Mapping[str, str]:
    """The code that evaluates, and the libraries that it computes with."""
    import scipy

    digest = hashlib.blake2b(digest_size=20)
    for folder in (Path(__file__).parent, Path(metrics.__path__[0])):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return {"code": digest.hexdigest(), "numpy": np.__version__, "scipy": scipy.__version__}
