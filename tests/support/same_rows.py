"""Whether two manifests have the same rows, whatever the sizes of the files behind them."""

import pandas as pd

from cxrbench.data.manifest import Manifest


def assert_same_rows(found: Manifest, expected: Manifest) -> None:
    """Labels, groups, notes and all tables of two manifests are equal, but for what is said of the files' bytes."""
    assert (found.labels, found.groups, found.notes) == (expected.labels, expected.groups, expected.notes)
    for name in ("images", "boxes", "masks", "reports", "signals"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        if theirs is None:
            assert mine is None, name
            continue
        drop = [column for column in ("bytes", "stamp") if column in theirs]
        pd.testing.assert_frame_equal(mine.drop(columns=drop), theirs.drop(columns=drop))
