"""A module where a command names an encoder, a DataFrame where it names a dataset: nothing else is different."""

import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import cxrbench
from cxrbench import EncoderCard, Features, Preprocess, UserError
from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.custom.named_frame import read_named_frame
from cxrbench.data.decode.preprocess import load_image
from cxrbench.plugins.given import load_given

pytestmark = pytest.mark.usefixtures("folders")
GRAY = Preprocess(size=16, resize="squash", mean=(0.0,), std=(1.0,), channels=1)


class Tiles(nn.Module):
    """Means of 4 x 4 tiles, times a weight: a tensor, not Features."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(images.mean(1, keepdim=True), images.shape[-1] // 4).flatten(1) * self.scale


def tiles(scale: float = 1.0) -> Any:
    module = Tiles(scale)
    module.preprocess = GRAY  # type: ignore[assignment]
    return module


def frame_of(dataset: Path) -> pd.DataFrame:
    """The same images and labels as a DataFrame, paths relative to the current folder."""
    frame = pd.read_csv(dataset)
    return frame.assign(image=[f"clinic/{name}" for name in frame["image"]])


def test_objects_have_the_results_of_a_file_and_a_csv(dataset: Path, encoder: str) -> None:
    module, frame = tiles(), frame_of(dataset)
    results = cxrbench.run(
        [module, ("twice", tiles(2.0)), encoder],
        [f"{dataset}:knn", ("frame:knn", frame)], precision="fp32",
    )  # fmt: skip
    table = results.to_pandas().pivot_table(index="encoder", columns="task", values="value")
    assert set(table.index) == {encoder, "Tiles", "twice"}
    assert set(table.columns) == {"clinic:knn", "frame:knn"}
    assert table.loc["Tiles", "clinic:knn"] == table.loc[encoder, "clinic:knn"]  # the cosine does not see the scale
    assert (module.training, next(module.parameters()).requires_grad) == (True, True)  # it is left as it was
    again = cxrbench.run(module, ("frame:knn", frame), precision="fp32")
    assert [row["value"] for row in again.rows] == [table.loc["Tiles", "frame:knn"]]
    board = again.leaderboard(replicates=100)  # of this run alone
    assert {(r.encoder, r.dataset) for r in board.records} == {("Tiles", "frame")}
    whole = cxrbench.load_results().leaderboard(replicates=100)
    assert {r.encoder for r in whole.records} == {encoder, "Tiles", "twice"}


def test_what_is_trained_on_may_be_a_frame(dataset: Path, encoder: str) -> None:
    frame = frame_of(dataset)
    named = cxrbench.run(encoder, [("far:knn", frame)], train=[("near", frame.head(90))], precision="fp32")
    assert [row["task"] for row in named.rows] == ["far:knn+train-near"]
    assert named.rows[0]["value"] is not None
    with pytest.raises(UserError, match="task int: give a name, a DataFrame"):
        cxrbench.run(encoder, f"{dataset}:knn", train=[3])


def test_a_module_is_known_by_its_tensors_and_its_class(dataset: Path) -> None:
    one, other = (load_given("Tiles", tiles(scale)).spec for scale in (1.0, 3.0))
    changed = [name for name in one.parts if one.parts[name] != other.parts[name]]
    assert changed == ["encoder weights"]
    assert one.factory.endswith(":Tiles")
    assert one.card.method == "Tiles"
    assert load_given("Tiles", tiles(1.0)).spec.fingerprint == one.fingerprint
    module = tiles()
    module.card = EncoderCard("Mine", pretrained_on=("nih",))
    assert load_given("Tiles", module).spec.card.pretrained_on == ("nih",)


def test_what_was_assumed_is_warned_of_and_stands_on_the_board(dataset: Path) -> None:
    with pytest.warns(UserWarning, match="Tiles: preprocessing was not said and ImageNet's assumed: 224 x 224"):
        results = cxrbench.run(Tiles(), f"{dataset}:knn", precision="fp32")
    assert any("ImageNet's assumed" in remark for remark in results.remarks)
    assert "Tiles: preprocessing was not said" in results.leaderboard(replicates=100).to_markdown()


def test_a_frame_is_read_as_the_csv_that_it_would_be_saved_as(dataset: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(dataset).assign(age=[40.0, np.nan] * 60, bright=lambda f: f["bright"].astype(bool))
    from_frame = read_named_frame(frame, "clinic", dataset.parent)
    frame.assign(bright=frame["bright"].astype(int)).to_csv(dataset, index=False)
    from_file = read_csv(dataset)
    assert from_frame.fingerprint == from_file.fingerprint
    pd.testing.assert_frame_equal(from_frame.images, from_file.images)
    names = {
        read_named_frame(one, None, dataset.parent).name
        for one in (frame, frame.copy(), frame.iloc[::-1], frame.head(90))
    }
    assert all(re.fullmatch("dataframe-[0-9a-f]{8}", name) for name in names)
    assert len(names) == 3
    frame.attrs["cxrbench"] = {"name": "ward", "lineage": ["nih"]}
    said = read_named_frame(frame, None, dataset.parent)
    assert (said.name, said.lineage) == ("ward", ("nih",))


ABSENT = pd.DataFrame({"image": ["a.png", "b.png"], "bright": [1, 0]})


class Twelve(Tiles):
    def forward(self, images: torch.Tensor) -> Any:
        return (images,)


@pytest.mark.parametrize(
    ("encoders", "tasks", "message"),
    [
        ([tiles(), tiles(2.0)], "x", "two encoders are called 'Tiles': name them"),
        ([("spcl", tiles())], "x", "cannot be called 'spcl', which is an installed encoder"),
        ([("a@b", tiles())], "x", "cannot be called 'a@b'"),
        ([tiles, "pixels"], "x", "encoder function: give a name, an nn.Module"),
        (5, "x", "encoders are 5: give names in a list"),
        ("pixels", pd.DataFrame(), "the DataFrame has 0 rows and 0 columns"),
        (
            "pixels", pd.DataFrame({"image": ["a.png", np.zeros((2, 2))], "bright": [1, 0]}),
            "column 'image' holds a ndarray in row 3: give text or numbers",
        ),
        ("pixels", ABSENT.assign(label=[["a", "b"], []]), "column 'label' holds a list in row 2: give text or numbers"),
        ("pixels", {"clinic": ABSENT}, "DataFrames may stand in the list, or pairs (name, DataFrame)"),
        ("pixels", pd.DataFrame({"picture": ["a.png"], "bright": [1]}), "has no column of image files"),
        ("pixels", ABSENT, "DataFrame dataframe-a4c065b4 names 2 file(s) that are not there (a.png, b.png)"),
        ("pixels", ("a/b", pd.DataFrame({"image": ["a.png"]})), "cannot be called 'a/b'"),
        ("pixels", [3], "task int: give a name"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line(encoders: Any, tasks: Any, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        cxrbench.run(encoders, tasks)
    assert "\n" not in str(caught.value)
    assert "/DataFrame " not in str(caught.value)  # no path that is not there


def test_a_frame_cannot_pass_for_a_dataset_nor_two_for_one(dataset: Path) -> None:
    frame = frame_of(dataset)
    with pytest.raises(UserError, match="cannot be called 'siim', which is a dataset"):
        cxrbench.run("pixels", ("siim", frame))
    with pytest.raises(UserError, match="two DataFrames are called 'a'"):
        cxrbench.run("pixels", [("a", frame), ("a", frame.head(90))])


def test_embeddings_are_those_of_a_run(dataset: Path) -> None:
    files = sorted(dataset.parent.glob("*.png"))[:5]
    embeddings = cxrbench.embed("pixels", files, precision="fp32", batch_size=2)
    assert (embeddings.shape, embeddings.dtype) == ((5, 256), np.float32)
    arrays = [_pixels(file) for file in files]
    np.testing.assert_allclose(cxrbench.embed("pixels", arrays, precision="fp32"), embeddings, atol=1e-6)
    whole = np.stack([array / 255 for array in arrays])
    np.testing.assert_allclose(cxrbench.embed("pixels", whole, precision="fp32"), embeddings, atol=1e-6)
    module = tiles()
    mine = cxrbench.embed(module, str(files[0]), precision="fp32")
    loaded = load_given("Tiles", module).module
    assert torch.equal(torch.from_numpy(mine), loaded(load_image(files[0], GRAY)[None]).pooled)
    with pytest.warns(UserWarning, match="assumed"):
        assert cxrbench.embed(Tiles(), files[:1]).shape == (1, 16)
    for images, message in (
        ([], "at least one"), ([np.zeros((2, 3, 4))], r"image 0 is an array \[2, 3, 4\]"),
        ([np.ones((4, 4)) * 255.0], r"values outside \[0, 1\]"), ([np.ones((4, 4), np.int64)], "int64"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            cxrbench.embed("pixels", images)
    with pytest.raises(UserError, match="Twelve' gives a tuple"):
        cxrbench.embed(Twelve(), files[:1])


def _pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file))


def test_features_of_a_module_are_passed_on() -> None:
    class Dense(nn.Module):
        preprocess = GRAY

        def forward(self, images: torch.Tensor) -> Features:
            return Features(images.mean((2, 3)), (images, images, images, images))

        def encode_text(self, texts: list[str]) -> torch.Tensor:
            return torch.zeros(len(texts), 1)

    loaded: Any = load_given("Dense", Dense())
    assert len(loaded.module(torch.zeros(2, 1, 16, 16)).maps) == 4
    assert loaded.module.encode_text(["a", "b"]).shape == (2, 1)
    assert not hasattr(loaded.module, "project")


TYPED = """
from torch import nn

class Typed(nn.Module):
    def forward(self, images):
        return images.mean((2, 3)) * {factor}
"""


def test_a_class_that_was_typed_into_a_notebook_is_known_by_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = types.ModuleType("__main__")  # it has no file
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    sources = []
    for factor in (2, 2, 3):
        exec(TYPED.format(factor=factor), notebook.__dict__)
        sources.append(load_given("Typed", notebook.__dict__["Typed"]()).spec.source_sha256)
    assert sources[0] == sources[1] != sources[2]


def stored() -> str:
    """A file of embeddings in the current folder, as a spec."""
    np.savez("stored.npz", images=np.array(["a.png"]), embeddings=np.ones((1, 3), np.float32))
    return "embeddings:stored.npz"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: cxrbench.load_dataset(pd.DataFrame({"image": ["0.png"]})), "the dataset is a DataFrame"),  # type: ignore[arg-type]
        (lambda: cxrbench.check_dataset(pd.DataFrame({"image": ["0.png"]})), "the dataset is a DataFrame"),  # type: ignore[arg-type]
        (lambda: cxrbench.pretrain("spcl", pd.DataFrame({"image": ["0.png"]})), "the dataset is a DataFrame"),  # type: ignore[arg-type]
        (lambda: cxrbench.load_encoder(Tiles()), "the encoder is a Tiles"),  # type: ignore[arg-type]
        (lambda: cxrbench.check_encoder(Tiles()), "the encoder is a Tiles"),  # type: ignore[arg-type]
        (lambda: cxrbench.load_results(None), "results are a NoneType"),  # type: ignore[arg-type]
        (lambda: cxrbench.compare("a", "b", results=[1]), "results are a list"),  # type: ignore[arg-type]
        (lambda: cxrbench.embed("pixels", np.zeros((4, 4)), batch_size=0), "batch_size=0: give a whole number"),
        (lambda: cxrbench.embed(stored(), np.zeros((4, 4))), "is a file of embeddings, and cannot be shown images"),
        (lambda: cxrbench.run(Tiles, "siim"), "encoder Tiles is a class"),  # type: ignore[arg-type]
        (lambda: cxrbench.run("pixels", "siim", fractions="0.1"), "fractions='0.1': give numbers"),  # type: ignore[arg-type]
        (lambda: cxrbench.run("pixels", "siim", fractions=[True]), "fractions=True: give numbers"),
        (lambda: cxrbench.run("pixels", "siim", results=""), "results='': give a path"),
        (lambda: cxrbench.run("pixels", "siim", log="wanb"), "unknown logger 'wanb': did you mean 'wandb'?"),
    ],
)  # fmt: skip
def test_what_is_of_the_wrong_kind_is_told_in_a_line(call: Any, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as told:
        call()
    assert "\n" not in str(told.value)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")
def test_a_scripted_module_is_copied() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(256, 4))
    given = load_given("scripted", torch.jit.script(linear))
    images = torch.rand(2, 1, 16, 16)
    given.module.module.preprocess = GRAY  # type: ignore[union-attr]
    torch.testing.assert_close(given.module.module(images), linear(images))  # type: ignore[operator]


def test_a_module_is_blamed_by_its_own_name() -> None:
    class Fails(Tiles):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise ValueError("no")

    module: Any = load_given("mine", Fails()).module
    assert module._get_name() == "Fails"
