"""``cxrbench data splits``: out and in again, and a run on it."""

from pathlib import Path

import pandas as pd
import pytest

from support import detection_layouts as layouts
from support.command import CommandLine


def test_what_is_exported_can_be_imported_and_run_on(
    tmp_path: Path, command_line: CommandLine, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXRBENCH_DATA", str(tmp_path / "data"))
    layouts.siim_fisabio(tmp_path / "data" / "siim-fisabio")
    code, out, _ = command_line("data", "splits", "export", "siim-fisabio", "-o", "ours.csv")
    assert (code, "21 images of siim-fisabio" in out) == (0, True)
    ours = pd.read_csv("ours.csv", dtype=str)
    assert list(ours) == ["image", "split", "patient", "study", "path"]
    assert len(ours) == 21
    code, _, err = command_line("data", "splits", "export", "siim-fisabio", "-o", "ours.csv")
    assert (code, "exists: give another name" in err) == (2, True)

    other = {"train": "test", "val": "valid", "test": "train"}
    turned = ours.assign(image=ours["image"] + "_image", split=[other[split] for split in ours["split"]])
    turned[["image", "split"]].to_csv("theirs.csv", index=False)
    code, out, _ = command_line("data", "splits", "import", "siim-fisabio", "theirs.csv")
    assert (code, out.startswith("siim-fisabio.theirs: train ")) == (0, True)
    code, out, _ = command_line("data", "splits", "import", "siim-fisabio", "theirs.csv")
    assert (code, "as it was" in out) == (0, True)
    command_line("data", "splits", "export", "siim-fisabio.theirs", "--only", "test", "-o", "test.csv")
    assert set(pd.read_csv("test.csv", dtype=str)["image"]) == set(ours.loc[ours["split"] == "train", "image"])

    code, out, _ = command_line("data", "list", "--data", "data")
    assert "another dataset in imported splits" in out
    tasks = "siim-fisabio:knn,siim-fisabio.theirs:knn"
    code, _, err = command_line("run", "--encoder", encoder, "--tasks", tasks)
    assert code == 0, err
    assert sum(int(n) for n in (tmp_path / "calls.txt").read_text().split()) == 21, "no image is encoded twice"
    assert len(list((tmp_path / "results").rglob("siim-fisabio.theirs*"))) > 0


def test_patients_in_two_splits_are_refused_in_one_line(
    tmp_path: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXRBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "cache"))
    layouts.siim_fisabio(tmp_path / "data" / "siim-fisabio")
    (tmp_path / "l.csv").write_text(f"image,split\n{0:012x},train\n{1:012x},test\n")
    code, _, err = command_line("data", "splits", "import", "siim-fisabio", str(tmp_path / "l.csv"))
    assert code == 2
    assert "1 patient(s) of siim-fisabio would be in two splits" in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "data" / "siim-fisabio.l").exists()
