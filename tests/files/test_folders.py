"""What lies in a folder that other processes change."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cxrbench.files.folders import below


def test_a_folder_that_goes_between_two_looks_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_text("")
    look = os.scandir

    def gone(place: Any) -> Any:
        if not isinstance(place, int) and Path(place) == tmp_path / "b":
            shutil.rmtree(place)
        return look(place)

    monkeypatch.setattr(os, "scandir", gone)
    found = sorted(str(path.relative_to(tmp_path)) for path in below(tmp_path))
    assert found == ["a", "a/deep", "a/deep/file", "b"]
    assert below(tmp_path / "b") == []
