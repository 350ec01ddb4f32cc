"""Maps of embeddings end to end: the picture, the coordinates, what is left out, what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import silhouette_score

import cxrbench
from cxrbench.data.custom.dataset import read_csv
from cxrbench.embedding_maps.embedded import Drawn
from cxrbench.errors import UserError
from support.clinics import write_clinic
from support.command import CommandLine

pytestmark = pytest.mark.usefixtures("folders")


@pytest.fixture
def clinic(tmp_path: Path) -> str:
    return str(write_clinic(tmp_path / "north"))


def test_a_picture_has_the_same_bytes_twice_and_no_path_and_features_come_from_the_cache(
    clinic: str, encoder: str, encoder_calls: Path, tmp_path: Path, command_line: CommandLine
) -> None:
    words = ["embed-map", "--encoder", f"{encoder},pixels", "--tasks", clinic, "--by", "label:bright,label",
             "--split", "all", "--perplexity", "9", "--csv", "map.csv", "-o"]  # fmt: skip
    code, said, problem = command_line(*words, "one.svg")
    assert (code, problem) == (0, "")
    calls = encoder_calls.read_text()
    assert command_line(*words, "two.svg")[0] == 0
    assert encoder_calls.read_text() == calls
    assert Path("one.svg").read_bytes() == Path("two.svg").read_bytes()
    for text in (said.partition("\npicture: ")[0], Path("one.svg").read_text()):
        assert str(tmp_path) not in text
    assert "80 training, validation and test images of 40 patients: north (80)" in said
    table = pd.read_csv("map.csv", keep_default_na=False)
    assert len(table) == 160
    assert list(table.columns) == [
        "encoder", "dataset", "image_id", "split", "x", "y", "label:bright", "label"
    ]  # fmt: skip


def test_numbers_are_scikit_learns_on_what_cxrbench_embed_gives(clinic: str) -> None:
    maps = cxrbench.embed_map("pixels", clinic, by="label:bright", method="pca", split="test", precision="fp32")
    table = maps.to_pandas()
    assert set(table["split"]) == {"test"}
    folder = Path(clinic).parent
    rows = cxrbench.embed("pixels", [folder / Path(name).name for name in table["image_id"]], precision="fp32")
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    groups = table["label:bright"].to_numpy(str)
    (numbers,) = maps.separations
    assert numbers.in_embeddings == pytest.approx(silhouette_score(rows, groups), abs=1e-5)
    assert numbers.in_map == pytest.approx(silhouette_score(table[["x", "y"]], groups), abs=1e-4)
    assert "% of the variance" not in str(maps)


def test_several_datasets_are_on_one_map_and_images_are_drawn_by_the_seed(clinic: str, tmp_path: Path) -> None:
    south = str(write_clinic(tmp_path / "south", seed=1, level=160))
    maps = cxrbench.embed_map("pixels", [clinic, south], by="dataset", images=12, split="train", perplexity=5)
    assert [(group.name, group.images) for group in maps.found.groupings[0].groups] == [("north", 12), ("south", 12)]
    assert "north (12 of 48, drawn at random)" in str(maps)
    again = cxrbench.embed_map("pixels", [clinic, south], by="dataset", images=12, split="train", perplexity=5)
    assert again.to_csv() == maps.to_csv()
    other = cxrbench.embed_map("pixels", [clinic, south], by="dataset", images=12, split="train", perplexity=5, seed=1)
    assert other.found.image_ids != maps.found.image_ids
    assert maps.separations[0].in_embeddings > 0.02


def test_an_unreadable_image_is_left_out_for_all_encoders_and_counted(clinic: str, encoder: str) -> None:
    (Path(clinic).parent / "006.png").write_bytes(b"nothing")  # patient 3: validation
    with pytest.raises(UserError, match=r"006\.png"):
        cxrbench.embed_map("pixels", clinic, by="label:bright", perplexity=3)
    maps = cxrbench.embed_map(
        ["pixels", encoder], clinic, by="label:bright", perplexity=3, on_bad_image="skip", names=f"{encoder}=Mine"
    )
    assert [len(one.points) for one in maps.maps] == [15, 15]
    assert "1 unreadable images of north are left out" in str(maps)
    assert "`Mine`" in str(maps)


def test_names_with_markup_are_drawn_as_they_are(tmp_path: Path, command_line: CommandLine) -> None:
    labels = ("bright", "<script>x</script>$a$")
    clinic = str(write_clinic(tmp_path / "odd", labels=labels))
    by = f"label:{labels[1]}"
    words = ["embed-map", "--encoder", "pixels", "--tasks", clinic, "--by", by, "--split", "train", "--perplexity", "5"]
    code, said, problem = command_line(*words, "--names", "pixels=<b>$\\alpha$", "-o", "odd.svg")
    assert (code, problem) == (0, "")
    assert "<script" not in Path("odd.svg").read_text()
    assert "label:<script>x</script>$a$" in said
    code, _, problem = command_line(*words, "-o", "odd.png")
    assert (code, problem) == (0, "")
    with Image.open("odd.png") as picture:
        assert picture.width == round(200 * (1.35 + 2.3))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "map.png", "--csv", "."], ". is a folder: name a file in it"),
        (["-o", "map.png", "--csv", "map.png"], "-o and --csv are both map.png: name two files"),
        (["-o", "map.txt"], "-o map.txt: give the name of a picture that ends in .png, .svg, .pdf"),
        (
            ["-o", "map.png", "--by", "site", "--perplexity", "3"],
            "--by site: north does not say the site of its images",
        ),
        (["-o", "map.png"], "16 images: t-SNE with a perplexity of 30 needs more than 90; give --perplexity 5 or less"),
        (["-o", "map.png", "--method", "lda"], "--method is pca, tsne or umap, not 'lda'"),
        (["-o", "map.png", "--split", "dev"], "--split is train, val, test or all, not 'dev'"),
        (["-o", "map.png", "--by", ","], "--by names nothing"),
        (["-o", "map.png", "--perplexity", "nan"], "--perplexity nan: give 1 or more"),
        (["-o", "map.png", "--names", "imagenet=x"], "the results have"),
    ],
)
def test_what_cannot_be_had_is_said_before_anything_is_extracted(
    words: list[str], message: str, clinic: str, encoder: str, encoder_calls: Path, command_line: CommandLine
) -> None:
    code, _, problem = command_line("embed-map", "--encoder", encoder, "--tasks", clinic, *words)
    assert code == 2
    assert message in problem
    assert not encoder_calls.exists()


def test_a_dataset_without_the_split_says_which_it_has(tmp_path: Path) -> None:
    manifest = read_csv(write_clinic(tmp_path / "east"))
    without = manifest.without(manifest.images["image_id"][manifest.images["split"] == "val"].tolist())
    with pytest.raises(UserError, match="east has no validation images: give --split train or test"):
        Drawn("val", 10, 0).images(without)
    images, of = Drawn("all", 10, 0).images(without)
    assert (len(images), of) == (10, 64)
