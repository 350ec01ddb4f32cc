"""Predictions on disk: every bit counts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrbench.files.seal import DamagedError
from cxrbench.predictions import Predictions, read_header
from support.flips import unnoticed


def written(path: Path) -> Predictions:
    rng = np.random.default_rng(0)
    ids = [f"{i:03}" for i in range(60)]
    rows = pd.DataFrame({"image_id": ids, "patient_id": ids, "split": "test", "score:a": rng.random(60)})
    rows["target:a"] = (rng.random(60) < 0.5).astype(float)
    predictions = Predictions(rows, ("a",), "multilabel", {"macro": ("a",)}, synthetic=True, cell={"encoder": "x"})
    predictions.save(path)
    return predictions


def test_a_flipped_bit_is_noticed_by_whoever_reads_rows_or_header(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    whole = written(path)
    assert unnoticed(path, lambda: Predictions.load(path), 60) == []
    assert unnoticed(path, lambda: read_header(path), 60, seed=1) == []
    again = Predictions.load(path)
    pd.testing.assert_frame_equal(again.rows, whole.rows)
    assert (again.labels, again.cell) == (whole.labels, whole.cell)


def test_a_file_of_another_program_is_called_damaged(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(DamagedError, match=r"p\.parquet is damaged .*run again, and it is computed anew"):
        Predictions.load(tmp_path / "p.parquet")
