"""``cxrbench show`` of a classification, and ``cxrbench attend``: a store of three small encoders, looked into."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxrbench import api
from cxrbench.cli.main import app
from cxrbench.cli.showing.captions import in_rows, panels, short_names, text_block, wrapped
from cxrbench.cli.showing.colours import DIMMED, heat, shares, signed
from cxrbench.cli.showing.overlay import TRUE
from cxrbench.errors import UserError

VIT = "random:64x4p8s24"
STAGES = """
import torch
from cxrbench.encoder import Features, Preprocess

class Stages(torch.nn.Module):
    preprocess = Preprocess(16, "squash", (0.0,), (1.0,), 1)

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = torch.nn.ModuleList(torch.nn.Conv2d(c, 8, 1) for c in (1, 8, 8, 8))

    def forward(self, images):
        maps = []
        for layer in self.layers:
            images = torch.nn.functional.avg_pool2d(layer(images).relu(), 2 if maps else 1)
            maps.append(images)
        return Features(images.mean((2, 3)), tuple(maps))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT, pixels and a user's CNN on 90 images; one label is a bright square with a box, one a box by chance."""
    root = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    lines = ["image,patient,split,label,x,y,width,height"]
    for i in range(90):
        pixels, split = rng.integers(0, 120, (30, 24)).astype(np.uint8), ("train", "val", "test")[i % 3]
        found = [label for label in ("bright", "coin") if rng.random() < 0.45]
        for label in found:
            x, y = int(rng.integers(0, 14)), int(rng.integers(0, 20))
            pixels[y : y + 9, x : x + 9] += np.uint8(rng.integers(10, 60) if label == "bright" else 0)
            lines.append(f"{i:03}.png,p{i},{split},{label},{x},{y},9,9")
        if not found:
            lines.append(f"{i:03}.png,p{i},{split},,,,,")
        Image.fromarray(pixels).save(root / f"{i:03}.png")
    (root / "labels.csv").write_text("\n".join(lines))
    (root / "mine.py").write_text(STAGES)
    tasks = [f"{root / 'labels.csv'}:{protocol}" for protocol in ("classification", "knn")]
    api.run(
        [VIT, "pixels", f"{root / 'mine.py'}:Stages"], tasks, results=root / "results", cache=root / "cache",
        precision="fp32", device="cpu",
    )  # fmt: skip
    return root


def show(store: Path, out: Path, *arguments: str, task: str = "classification") -> str:
    where = ("--results", str(store / "results"), "--cache", str(store / "cache"), "--device", "cpu", "--side", "64")
    asked = ["show", f"{store / 'labels.csv'}:{task}", *arguments, "--out", str(out), *where]
    return CliRunner().invoke(app, asked, catch_exceptions=False).output


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


@pytest.mark.parametrize(("encoder", "word"), [(VIT, "rollout"), ("pixels", "occlusion"), ("mine", "grad-cam")])
def test_each_label_has_its_cases_and_each_encoder_its_map(
    store: Path, tmp_path: Path, encoder: str, word: str
) -> None:
    spec = f"{store / 'mine.py'}:Stages" if encoder == "mine" else encoder
    said = show(store, tmp_path / "one", "--encoder", spec, "--count", "4")
    assert "false negatives and" in said
    drawn = files(tmp_path / "one")
    assert {name.partition("/")[0] for name in drawn} == {"bright", "coin"}
    assert "bright/sheet.png" in drawn
    kinds = [name.partition("-")[2].rpartition("-")[0] for name in drawn if name.startswith("bright/0")]
    assert set(kinds) <= {"false-negative", "false-positive", "median", "best"}
    assert {"median", "best"} <= set(kinds)
    cases = api.classified_cases(
        f"{store / 'labels.csv'}:classification", encoder=spec, results=store / "results", cache=store / "cache"
    )  # fmt: skip
    best = cases.labels[0].cases[-1]
    looked = cases.look(best, "bright")
    assert looked.maps[0] is not None
    assert looked.maps[0].how == word
    assert looked.truth is not None
    assert looked.truth.sum() == 81
    with Image.open(next(path for path in (tmp_path / "one" / "bright").glob("*best*"))) as picture:
        assert TRUE in {colour for _, colour in picture.getcolors(10**6) or ()}
    show(store, tmp_path / "two", "--encoder", spec, "--count", "4")
    assert files(tmp_path / "two") == drawn


def test_against_another_encoder_the_images_that_one_alone_gets_right(store: Path, tmp_path: Path) -> None:
    said = show(store, tmp_path, "--encoder", "pixels", "--against", VIT, "--labels", "bright", "--count", "6")
    names = list(files(tmp_path))
    assert len(names) > 1
    assert all("right-by-the-" in name for name in names if "sheet" not in name)
    assert "are right by pixels alone" in said
    cases = api.classified_cases(
        f"{store / 'labels.csv'}:classification", encoder="pixels", against=VIT, results=store / "results",
        cache=store / "cache", labels=("bright",), count=6,
    )  # fmt: skip
    of = cases.labels[0].judged
    for case in cases.labels[0].cases:
        right = of.right[:, of.ids.index(case.image_id)]
        assert right.tolist() == ([True, False] if "first" in case.kind else [False, True])
    assert [one.how for one in cases.look(cases.labels[0].cases[0], "bright").maps if one] == ["occlusion", "rollout"]


def test_the_head_is_the_one_that_made_the_scores_or_it_is_refused(store: Path, tmp_path: Path) -> None:
    cell = f"{store / 'labels.csv'}:classification"
    cases = api.classified_cases(cell, encoder="pixels", results=store / "results", cache=store / "cache", count=4)
    looker = cases.lookers[0]
    assert looker is not None
    rows, manifest = cases.cells[0].predictions.test_rows(), cases.cells[0].manifest
    pixels = api.embed("pixels", [path for path, s in zip(manifest.paths(), manifest.images["split"], strict=True)
                                  if s == "test"])  # fmt: skip
    margins = pixels @ looker.weights("bright")
    assert np.corrcoef(np.argsort(np.argsort(margins)), rows["score:bright"].rank())[0, 1] > 0.999
    wrong = cases.cells[0].predictions
    rows = wrong.rows.assign(**{"score:bright": 1 - wrong.rows["score:bright"]})
    path = tmp_path / "results" / "cells" / "labels" / "classification" / "pixels" / "fraction-1-seed-0.parquet"
    path.parent.mkdir(parents=True)
    type(wrong)(**{**vars(wrong), "rows": rows, "file": None}).save(path)
    (tmp_path / "results" / "manifests").symlink_to(store / "results" / "manifests")
    with pytest.raises(UserError, match="fitted again, gives scores up to"):
        api.classified_cases(str(path), cache=store / "cache")


def test_what_cannot_be_asked_is_said_and_the_images_are_drawn_all_the_same(store: Path, tmp_path: Path) -> None:
    said = show(store, tmp_path, "--encoder", "pixels", "--labels", "bright", "--count", "4", task="knn")
    assert "pixels: no map, for knn keeps no head that is linear in the embedding" in said
    assert len(files(tmp_path)) > 1
    with pytest.raises(UserError, match="pixels: knn keeps no head"):
        show(store, tmp_path, "--encoder", "pixels", "--how", "occlusion", task="knn")
    with pytest.raises(UserError, match=r"pixels: it says nothing of its attention .* leave out --how"):
        show(store, tmp_path, "--encoder", "pixels", "--how", "rollout")
    with pytest.raises(UserError, match="it gives no maps through which a gradient"):
        show(store, tmp_path, "--encoder", VIT, "--how", "grad-cam")
    with pytest.raises(UserError, match="--how is auto, rollout, grad-cam or occlusion, not 'sideways'"):
        show(store, tmp_path, "--encoder", "pixels", "--how", "sideways")
    with pytest.raises(UserError, match="has no label 'brigth': choose of bright, coin"):
        show(store, tmp_path, "--encoder", "pixels", "--labels", "brigth")
    with pytest.raises(UserError, match=r"no finished cell of imagenet on .*:classification with fraction 1"):
        show(store, tmp_path, "--encoder", "pixels", "--against", "imagenet")
    with pytest.raises(UserError, match="--against pixels is the encoder itself"):
        show(store, tmp_path, "--encoder", "pixels", "--against", "pixels")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to .*file: File exists"):
        show(store, tmp_path / "file", "--encoder", "pixels")


def test_attend_needs_no_results(store: Path, tmp_path: Path) -> None:
    images = [str(store / "000.png"), str(store / "001.png")]

    def attend(*arguments: str) -> str:
        return CliRunner().invoke(app, ["attend", *arguments], catch_exceptions=False).output

    assert attend(VIT, *images, "-o", str(tmp_path / "a.png")) == f"2 image(s) in {tmp_path / 'a.png'}\n"
    attend(VIT, *images, "-o", str(tmp_path / "b.png"))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 2 * 250
        assert picture.height > 2 * 320
    with pytest.raises(UserError, match="pixels: it says nothing of its attention"):
        attend("pixels", *images, "-o", str(tmp_path / "c.png"))
    with pytest.raises(UserError, match="pixels has learnt no attention of sentences"):
        attend("pixels", *images, "--sentence", "There is rib.", "-o", str(tmp_path / "c.png"))
    with pytest.raises(UserError, match="give the name of a picture"):
        attend(VIT, *images, "-o", str(tmp_path / "c.txt"))
    with pytest.raises(UserError, match="there is no folder"):
        attend(VIT, *images, "-o", str(tmp_path / "nowhere" / "c.png"))
    (tmp_path / "d.png").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        attend(VIT, *images, "-o", str(tmp_path / "d.png"))
    assert not (tmp_path / "c.png").exists()


def test_colours_say_how_much_and_nothing_where_nothing_is_known() -> None:
    gray = Image.new("RGB", (3, 1), (100, 100, 100))
    hot = np.asarray(heat(gray, np.array([[0.0, 1.0, np.nan]]), 0, 1))[0].astype(int)
    assert hot[1].sum() > hot[0].sum()
    assert hot[2].tolist() == [round(100 * DIMMED)] * 3
    red, blue, none = np.asarray(signed(gray, np.array([[1.0, -1.0, 0.0]]), 1))[0].astype(int)
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    assert none.tolist() == [round(100 * DIMMED)] * 3
    np.testing.assert_allclose(shares(np.array([1.0, 3.0, -2.0])), [0.25, 0.75, 0])


def test_captions_call_encoders_without_folders() -> None:
    assert short_names(["spcl@/home/me/runs/a/last.ckpt"]) == ["spcl"]
    assert short_names(["spcl@/home/me/a.ckpt", "spcl@runs/b.ckpt"]) == ["spcl@a.ckpt", "spcl@b.ckpt"]
    assert short_names(["/home/me/mine.py:Mine", "hf:microsoft/rad-dino"]) == ["mine.py:Mine", "hf:rad-dino"]
    assert short_names(["spcl@a/last.ckpt", "spcl@b/last.ckpt"]) == ["spcl@last.ckpt", "spcl@last.ckpt (2)"]


def test_captions_stay_within_their_width_whatever_names_are_in_them() -> None:
    for text in ("a " * 80, "x" * 300, "<script>alert(1)</script>", "שלום\u202e evil\nline", ""):
        for line in wrapped(text, 100):
            assert "\n" not in line
            assert "\u202e" not in line
        assert text_block([text], 100).width == 100
    joined = "".join(wrapped("abc " * 40, 120)).replace(" ", "")
    assert joined == "abc" * 40
    side = Image.new("RGB", (60, 40))
    above = panels([side, side], ["short", "a title that takes several lines"])
    assert above[0].size == above[1].size
    assert in_rows(above * 2, 3).height == 2 * above[0].height
