"""The commands for a user's own data: ``data init``, ``data check --pictures``, folders, and mistakes in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.cli.pictures import COLOURS, caption, chosen_rows, sheet
from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.decode.images import MAX_PIXELS
from support.command import cxrbench


def labelled(root: Path, mask: bool = True) -> Path:
    lines = ["image,effusion,mask:lung,mask:heart" if mask else "image,effusion"]
    for n in range(8):
        Image.fromarray(np.full((60, 60), 40, np.uint8)).save(root / f"{n}.png")
        lines.append(f"{n}.png,{n % 2}" + (",lung.png,heart.png" * mask if n < 4 else ",," * mask))
    for name, where in {"lung": np.s_[10:40, 10:40], "heart": np.s_[30:55, 30:55]}.items():
        drawn = np.zeros((60, 60), np.uint8)
        drawn[where] = 255
        Image.fromarray(drawn).save(root / f"{name}.png")
    (root / "own.csv").write_text("\n".join(lines) + "\n")
    return root / "own.csv"


def test_the_sheet_shows_overlapping_masks_in_their_colours(tmp_path: Path) -> None:
    manifest = read_csv(labelled(tmp_path))
    drawn = np.asarray(sheet(manifest, MAX_PIXELS))
    heart, lung = ((drawn == colour).all(-1).sum() for colour in COLOURS[:2])
    assert min(heart, lung) > 1000


def test_a_caption_has_the_whole_name_of_the_file_and_no_folder(tmp_path: Path) -> None:
    name, folder = f"{'a' * 30}.png", tmp_path / "scans of 2019" / "first floor"
    folder.mkdir(parents=True)
    lines = ["image,split,effusion"]
    for split, of in (("train", name), ("val", "b.png"), ("test", "c.png")):
        Image.fromarray(np.full((60, 60), 40, np.uint8)).save(folder / of)
        lines.append(f"{folder.relative_to(tmp_path) / of},{split},{int(of == name)}")
    path = tmp_path / "own.csv"
    path.write_text("\n".join(lines) + "\n")
    assert caption(read_csv(path), 0) == f"train  {name}  effusion"


def test_boxes_are_drawn_where_they_are(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((320, 320), np.uint8)).save(tmp_path / "0.png")
    (tmp_path / "own.csv").write_text("image,label,x,y,width,height\n0.png,Mass,100,40,50,60\n")
    drawn = np.asarray(sheet(read_csv(tmp_path / "own.csv"), MAX_PIXELS))
    rows, columns = np.nonzero((drawn[36:] == COLOURS[0]).all(-1))  # below the legend and the caption
    side = 320 / 304  # a cell of 320 pixels holds the image and its caption
    assert abs(columns.min() * side - 100) < 4
    assert abs(columns.max() * side - 150) < 4
    assert rows.max() > rows.min()


def test_rows_of_every_kind_are_shown(tmp_path: Path) -> None:
    manifest = read_csv(labelled(tmp_path))
    few = chosen_rows(manifest, 4)
    assert len(few) == len(set(few)) == 4
    assert {*range(4)} & {*few}
    assert chosen_rows(manifest, 100) == list(range(8))


def test_init_check_and_their_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / ".cache"))
    path = labelled(tmp_path, mask=False)
    code, out, _ = cxrbench(monkeypatch, capsys, "data", "init", str(path), "--split-seed", "3")
    assert (code, (tmp_path / "own.toml").is_file()) == (0, True)
    code, out, _ = cxrbench(
        monkeypatch, capsys, "data", "check", str(path), "--pictures", str(tmp_path / "sheet.png"), "--json"
    )
    assert json.loads(out)["images"] == 8
    assert Image.open(tmp_path / "sheet.png").size[0] > 300
    for arguments, message in (
        (("data", "init", str(path)), "own.toml is there already"),
        (("data", "init", str(tmp_path)), "is a folder: give the CSV"),
        (("data", "init", "rsna"), "rsna is a dataset whose layout is known"),
        (("data", "check", str(path), "--pictures", "sheet.txt"), "give the name of a picture"),
        (("data", "check", str(path), "--pictures", "nowhere/sheet.png"), "there is no folder"),
    ):
        code, _, err = cxrbench(monkeypatch, capsys, *arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err


@pytest.mark.parametrize("what", ["folder", "table"])
def test_without_labels_it_is_checked_and_a_run_says_what_it_lacks(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / ".cache"))
    path = labelled(tmp_path, mask=False)
    path.write_text("image,dose\n" + "".join(f"{n}.png,{n}\n" for n in range(8)))
    if what == "folder":
        path.unlink()
    name = f"{tmp_path}/" if what == "folder" else str(path)
    code, out, _ = cxrbench(monkeypatch, capsys, "data", "check", name, "--no-decode")
    assert code == 0
    assert "every image is one to train on (pretraining)" in out
    code, _, err = cxrbench(
        monkeypatch,
        capsys,
        "run",
        "--encoder",
        "pixels",
        "--tasks",
        f"{name}:classification",
        "--results",
        str(tmp_path),
    )
    assert code == 2
    assert "it has no labels" in err
