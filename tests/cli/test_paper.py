"""``cxrbench paper``: what there is, what a table would run, and a table run whole on tiny data."""

import json
from pathlib import Path

import pytest

from cxrbench.api import list_papers, paper_table, plan_table
from cxrbench.engine.registry import PHANTOM_MARK
from cxrbench.engine.settings import Settings
from cxrbench.papers.paper import cells
from cxrbench.phantom import write as phantom
from cxrbench.plugins.entry_points import DATASETS, found
from support import layouts
from support.command import CommandLine


@pytest.fixture(autouse=True)
def small_phantom(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is planned on a phantom finds one of a few images, drawn in this process."""
    monkeypatch.setattr(phantom, "IMAGES", dict.fromkeys(phantom.IMAGES, 8))
    monkeypatch.setattr(phantom, "cores", lambda: 1)


@pytest.fixture
def tiny(tmp_path: Path, folders: None) -> Path:
    """A data folder with a phantom's mark in VinDr-CXR and RSNA, of 20 images each, 16 pixels wide."""
    for name, write in (("vindr", layouts.vindr), ("rsna", layouts.rsna)):
        write(tmp_path / "data" / name)
        (tmp_path / "data" / name / PHANTOM_MARK).write_text("{}")
    return tmp_path / "data"


def test_a_table_is_run_and_printed_in_the_papers_shape(tiny: Path, command_line: CommandLine) -> None:
    words = ("paper", "radjepa", "--table", "3", "--data", str(tiny), "--epochs", "1", "--seeds", "2")
    code, out, err = command_line(*words, "--replicates", "200", "-o", "table.md")
    assert (code, out) == (0, ""), err
    text = Path("table.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert [row[0] for row in rows[2:]] == [
        "CLIP@224", "CLIP@336", "BioViL-T", "BiomedCLIP", "CheXzero", "MRM", "RAD-DINO", "RAD-DINO\\*", "I-JEPA",
        "RadJEPA",
    ]  # fmt: skip
    assert rows[0][1:3] == ["VinDr-CXR (AP) LO", "VinDr-CXR (AP) CM"]
    assert rows[0][-2:] == ["RSNA AP", "RSNA AUC"]
    ours = rows[-1]
    assert " ± " in ours[2]  # Cardiomegaly, the one finding of this data that has a positive test image
    assert 0 < float(ours[2].split()[0]) <= 100
    for said in (
        "SYNTHETIC",
        "--epochs 1",
        "the paper has 5",
        "SD over 2 training seeds",
        "encoders download cxr:rad-dino",
    ):
        assert said in text, said
    assert "≠" not in text

    code, out, _ = command_line(*words, "--replicates", "200", "--json")  # nothing is computed again
    records = json.loads(out)["records"]
    mine = {(r["row"], r["column"]): r for r in records}["RadJEPA", "VinDr-CXR (AP) CM"]
    assert f"{mine['value']:.1f}" == ours[2].split()[0]
    assert (mine["seeds"], mine["synthetic"], mine["differs"], len(records)) == (2, True, False, 90)


def test_on_real_images_a_row_needs_a_file_of_ones_own(tiny: Path, encoder: str) -> None:
    (tiny / "rsna" / PHANTOM_MARK).unlink()
    plan = plan_table("fane", "2", data=tiny, dry_run=True)
    (line,) = [line for line in plan.why_not() if line.startswith("FaNe (ResNet-50)")]
    assert "for phantom images only" in line
    assert "--encoder 'FaNe (ResNet-50)=fane@FILE'" in line
    table = paper_table(
        "radjepa", "3", data=tiny, encoders=[f"radj={encoder}"], epochs=1, seeds=1, results="results", replicates=200
    )
    ours = {record.column: record for record in table.records if record.row == "RadJEPA"}
    assert ours["RSNA AUC"].value > 0
    assert (ours["RSNA AUC"].encoder, ours["RSNA AUC"].synthetic) == (encoder, False)
    assert not ours["VinDr-CXR (AP) CM"].is_ours  # a phantom's values have no place beside those of patients
    assert any(line.startswith("vindr:") and "phantom" in line for line in table.lines)


def test_every_table_plans_on_a_phantom_or_says_why_not(folders: None, command_line: CommandLine) -> None:
    for paper in list_papers():
        for table in paper.tables:
            plan = plan_table(paper.name, table.number, dry_run=True)
            if table.kind == "none":
                assert not plan.runs
                assert table.why
                continue
            assert {(c.row, c.column) for one in plan.runs for c in one.run.cells} == {
                (c.row, c.column) for c in cells(table)
            }
            for one in plan.runs:
                assert one.run.settings.keys() <= Settings.__annotations__.keys(), (paper.name, table.number)
                assert {*one.run.trained_on} <= found(DATASETS).keys(), (paper.name, table.number)
                for name in one.run.encoders:
                    runs = one.job is not None and name in one.specs and name not in one.blocked
                    assert runs or one.reason or one.missing[name], (paper.name, table.number, name)
            assert plan.commands() or plan.why_not()
            assert all("\n" not in line for line in plan.why_not())
    code, out, _ = command_line("paper", "radjepa", "--table", "5", "--dry-run")
    assert (code, "out of scope" in out) == (0, True)


def test_what_there_is_is_listed(folders: None, command_line: CommandLine) -> None:
    code, out, _ = command_line("paper", "list")
    assert (code, out.count("\n")) == (0, 8)
    code, out, _ = command_line("paper", "spcl", "--json")
    found = json.loads(out)
    assert [one["table"] for one in found["tables"]] == ["1", "2", "3", "4"]
    assert found["data"]["rsna"] == "phantom"
    assert "spcl on phantom images" in found["encoders"]["S-PCL (Ours)"]
    code, out, _ = command_line("paper", "mvmae")
    assert "no command yet" in out


def test_a_run_without_any_encoder_says_why_of_each(folders: None) -> None:
    told = plan_table("mvmae", "7", dry_run=True).why_not()
    (line,) = [line for line in told if "CheXagent" in line]  # it alone has a linear probe
    assert line.startswith("CheXagent: the files of cxr:chexagent-vision are not here")
    assert not any("no encoder" in line for line in told)


def test_marks_say_whom_they_are_against(folders: None, encoder: str) -> None:
    lines = plan_table("radjepa", "6", dry_run=True).lines
    assert "the baseline is RAD-DINO, for which random:radjepa stands on phantom images" in lines
    own = plan_table("radjepa", "6", dry_run=True, encoders=[f"RAD-DINO={encoder}"]).lines
    assert f"the baseline is RAD-DINO ({encoder})" in own


def test_epochs_that_nothing_reads_are_said(folders: None) -> None:
    (line,) = [line for line in plan_table("pacx", "2", epochs=1, dry_run=True).lines if "epochs" in line]
    assert line == "--epochs 1: nothing that this table trains reads it"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["radjep"], "radjepa"),
        (["radjepa", "--table", "9"], "has unknown table '9'"),
        (["spcl", "--table", "fig3"], "no command yet"),
        (["spcl", "--table", "1", "--encoder", "spcl@x"], "NAME=SPEC"),
        (["spcl", "--table", "1", "--encoder", "MRM=nobody"], "nobody"),
        (["spcl", "--table", "1", "--encoder", "M=spcl"], "it may be M3AE, MRM"),
        (["spcl", "--table", "1", "--encoder", "Nobody=spcl"], "unknown encoder of this paper 'Nobody'"),
        (["list", "--table", "1"], "of one paper"),
        (["spcl", "--table", "1", "--variant", "nobody"], "nobody"),
        (["spcl", "--table", "1", "--data", "nowhere"], "there is no data folder nowhere"),
        (["spcl", "--data", "nowhere"], "there is no data folder nowhere"),
        (["spcl", "--table", "1", "--folds", "2"], "give 3 or more"),
        (["spcl", "--table", "1", "--device", "abacus"], "device 'abacus' is not usable"),
        (["spcl", "--table", "1", "--precision", "fp3"], "unknown precision 'fp3'"),
        (["spcl", "--table", "1", "--on-bad-image", "weep"], "error or skip"),
        (["spcl", "--epochs", "1"], "--epochs and --dry-run: read for a table alone: cxrbench paper spcl --table N"),
        (["list", "-o", "x.md"], "read for a table alone"),
        (["spcl", "--table", "1", "-o", "nowhere/x.md"], "there is no folder nowhere"),
        (["fane", "--table", "6", "--statistic", "folds"], "nothing is cross-validated: add --folds 5"),
        (["radjepa", "--table", "3", "--seeds", "1", "--statistic", "seeds"], "one training seed has no SD"),
    ],
)
def test_a_wrong_name_is_one_line(folders: None, command_line: CommandLine, words: list[str], said: str) -> None:
    code, out, err = command_line("paper", *words, "--dry-run")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert said in err
