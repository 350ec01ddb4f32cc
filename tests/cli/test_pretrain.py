"""``cxrbench pretrain`` and exit codes on the command line: names, folders, mistakes found before hours of work."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrbench.api import pretraining
from cxrbench.data.manifest import Manifest
from cxrbench.phantom import write as phantom
from support.command import cxrbench

QUICK = ["--arch", "nano-32", "--batch-size", "4", "--epochs", "1", "--accelerator", "cpu", "--precision", "32"]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXRBENCH_DATA", raising=False)


def write_csv(folder: Path, images: int = 8) -> Path:
    folder.mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for k in range(images):
        Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).save(folder / f"{k}.png")
        rows.append((f"{k}.png", f"p{k}", "train" if k < images - 2 else "val" if k < images - 1 else "test", k % 2))
    pd.DataFrame(rows, columns=["image", "patient", "split", "nodule"]).to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def prepared() -> list[Path]:
    return list(Path("cache").glob("pretraining/*.u8"))


def test_a_run_and_what_is_refused_before_an_image_is_decoded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write_csv(Path("a,b")))  # a comma in its path
    words = ["pretrain", "spcl", "--data", f"./{data}", *QUICK, "--out", "run"]
    code, out, err = cxrbench(monkeypatch, capsys, *words)
    assert (code, out.strip()) == (0, "run/encoder.safetensors"), err
    assert "SYNTHETIC" not in err
    assert Path("run/encoder.safetensors").stat().st_mode & 0o077 == Path("run/encoder.md").stat().st_mode & 0o077
    for file in prepared():
        file.unlink()
    Path("locked").write_text("")
    mistakes = {
        "already holds a run": [],
        "cannot write to locked/run": ["--out", "locked/run"],
        "lr is nan: it must be more than 0": ["--out", "new", "--lr", "nan"],
        "--init is empty: give a file of weights": ["--out", "new", "--init", ""],
        "--init a,b is a folder: give the file of weights in it": ["--out", "new", "--init", "a,b"],
        "batch size 4 cannot be shared by 3 devices": ["--out", "new", "--devices", "3"],
        "accelerator is auto, cpu or gpu, not 'tpu'": ["--out", "new", "--accelerator", "tpu"],
        "Invalid value for '--seed'": ["--out", "new", "--seed", "-1"],
        "pass --recipe official, not --option variant": ["--out", "new", "--option", "variant=official"],
        "spcl has no recipe 'ours': choose one of fixed, paper, official": ["--out", "new", "--recipe", "ours"],
        "--betas 0.9: give two numbers, e.g. --betas 0.9,0.95": ["--out", "new", "--betas", "0.9"],
        "--lr-rule is absolute or per-256, not 'linear'": ["--out", "new", "--lr-rule", "linear"],
        "--option ratio is given more than once": ["--out", "new", "--option", "ratio=0.1", "--option", "ratio=0.2"],
        "--list-options has the values of fixed": ["--recipe", "paper", "--list-options"],
        "--json is of --dry-run and --list-options": ["--out", "new", "--json"],
    }
    for message, more in mistakes.items():
        code, _, err = cxrbench(monkeypatch, capsys, *words, *more)
        assert code == 2, err
        assert message in err
        assert err.count("\n") == 1
    assert prepared() == []


def test_a_dry_run_prints_the_recipe_and_reads_no_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pretrain", "radjepa", "--data", "./nowhere.csv", "--recipe", "official", "--dry-run"]
    code, out, err = cxrbench(monkeypatch, capsys, *words)
    assert code == 0
    assert err.startswith("contexts are cut to one length within each process: the source has 16 of 128, this run 1 ")
    assert err.count("\n") == 1
    recipe, constants = out.split("\nConstants of the code, which no flag and no option sets:\n")
    assert "clip  " in recipe
    assert "tries  " in constants
    rows = [re.split(r"  +", line) for line in out.splitlines()]
    assert ["block_targets", "4", "ijepa:configs/in1k_vith14_ep300.yaml, mask"] in rows
    assert ["clip", "0", "ijepa:src/train.py does not cut"] in rows
    assert ["weight_decay", "0.04", "ijepa:configs/in1k_vith14_ep300.yaml"] in rows
    given = ["--weight-decay", "0.1", "--clip", "0.5", "--betas", "0.8,0.9", "--option", "momentum=0.9", "--json"]
    code, out, err = cxrbench(monkeypatch, capsys, *words, *given)
    assert code == 0
    assert err.startswith("weight decay goes from 0.1 to 0.4, as the recipe's does: pass --final-weight-decay 0.1")
    told = {row["name"]: (row["value"], row["source"]) for row in json.loads(out)}
    assert {row["name"] for row in json.loads(out) if row["constant"]} > {"block_targets", "min_keep", "token_std"}
    assert told["weight_decay"] == ("0.1", "given; the recipe has 0.04")
    assert told["clip"] == ("0.5", "given; the recipe has 0")
    assert told["betas"] == ("0.8,0.9", "given; the recipe has 0.9,0.999")
    assert told["momentum"] == ("0.9", "given; the recipe has 0.996")
    assert list(Path().iterdir()) == []


def test_names_that_mean_no_dataset_and_two_of_one_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = write_csv(Path("site1/cxr")), write_csv(Path("site2/cxr"))
    (Path("data") / "mimic").mkdir(parents=True)
    mistakes = {
        f"{one},{two}": "several of the datasets are called",
        "./no/mimic": "--data ./no/mimic: there is no such folder or file",
        "./data": "is a folder of datasets: name them, e.g. --data mimic --data-dir ./data",
    }
    for data, message in mistakes.items():
        code, _, err = cxrbench(monkeypatch, capsys, "pretrain", "spcl", "--data", data, *QUICK)
        assert (code, message in err) == (2, True), err


def test_a_link_has_the_name_of_its_dataset_and_relatives_are_found_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Symile-MIMIC's held-out patients are MIMIC's, wherever the two lie and whoever is named first."""
    phantom.write(tmp_path / "phantom", seed=5, images={"mimic": 40, "symile": 40}, workers=1)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "phantom/symile").rename(tmp_path / "elsewhere/1.0.0")
    (tmp_path / "elsewhere/symile").symlink_to("1.0.0")

    def excluded(*names: str, data_dir: Path | None) -> dict[str, int]:
        manifests: list[Manifest] = [pretraining.read(name, data_dir, None) for name in names]
        patients, notes = pretraining.held_out(manifests, data_dir, None)
        print(*notes, sep="\n")
        return {name: len(excluded) for name, excluded in patients.items()}

    mimic, symile = str(tmp_path / "phantom/mimic"), str(tmp_path / "elsewhere/symile")
    together = excluded(mimic, symile, data_dir=None)
    assert together["symile"] > 0
    assert excluded(mimic, "symile", data_dir=tmp_path / "elsewhere") == together
    assert excluded("mimic", symile, data_dir=tmp_path / "phantom") == together
    assert "are held out in mimic: excluded" in capsys.readouterr().out
    for table in (tmp_path / "elsewhere/symile").glob("*.csv"):
        table.unlink()
    assert set(excluded(mimic, symile, data_dir=None).values()) == {0}
    assert "but not the identifiers of patients" in capsys.readouterr().out


def test_phantom_data_are_named_on_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    phantom.write(tmp_path / "phantom", seed=5, images={"rsna": 20}, workers=1)
    words = ["pretrain", "spcl", "--data", "rsna", "--data-dir", "phantom", *QUICK, "--keep-held-out"]
    code, _, err = cxrbench(monkeypatch, capsys, *words, "--resume")
    assert code == 0, err
    assert "runs/spcl holds nothing to go on from" in err
    assert "SYNTHETIC DATA" in err
    assert "were **not** looked for (--keep-held-out)" in Path("runs/spcl/encoder.md").read_text()
    assert cxrbench(monkeypatch, capsys, *words, "--resume")[0] == 0
    assert "--resume\n" not in Path("runs/spcl/encoder.md").read_text()


def test_exit_codes_are_not_lost(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Typer returns them where it does not end the process itself."""
    path = write_csv(Path("mine"))
    assert cxrbench(monkeypatch, capsys, "data", "check", str(path))[0] == 0
    (path.parent / "3.png").write_bytes(b"\x89PNG not really")
    assert cxrbench(monkeypatch, capsys, "data", "check", str(path))[0] == 1

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "read", interrupted)
    code, _, err = cxrbench(monkeypatch, capsys, "pretrain", "spcl", "--data", str(path), *QUICK)
    assert code == 130
    assert "interrupted" in err
