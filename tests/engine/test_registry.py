from pathlib import Path

import pytest

from cxrbench.encoder import EncoderRequest
from cxrbench.engine.registry import load_dataset, load_encoder, load_task, parse_tasks
from cxrbench.errors import UserError
from cxrbench.plugins.listing import list_datasets, list_tasks
from cxrbench.plugins.specs import parse_encoder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spcl", ("spcl", None, None)),
        (" spcl@runs/spcl/last.ckpt ", ("spcl", None, "runs/spcl/last.ckpt")),
        ("random:small@3", ("random", "small", "3")),
        ("timm:vit_base_patch16_224@/a@b/c:d.pth", ("timm", "vit_base_patch16_224", "/a@b/c:d.pth")),
        ("hf:microsoft/rad-dino", ("hf", "microsoft/rad-dino", None)),
        ("open_clip:hf-hub:microsoft/Biomed_256-x", ("open_clip", "hf-hub:microsoft/Biomed_256-x", None)),
        ("./mine.py:MyEncoder", ("./mine.py", "MyEncoder", None)),
        ("/a@b/my.py:MyEncoder@w@1.pt", ("/a@b/my.py", "MyEncoder", "w@1.pt")),
    ],
)
def test_encoder_grammar(text: str, expected: tuple[str, str | None, str | None]) -> None:
    assert parse_encoder(text) == EncoderRequest(*expected)


def test_a_folder_with_an_at_sign_is_taken_whole(tmp_path: Path) -> None:
    folder = tmp_path / "my@model"
    folder.mkdir()
    assert parse_encoder(f"hf:{folder}") == EncoderRequest("hf", str(folder), None)


@pytest.mark.parametrize("text", ["", "@x", "spcl@", "timm:", ":x", "./mine.py", "mine.py:@w"])
def test_empty_parts(text: str) -> None:
    with pytest.raises(UserError):
        load_encoder(text, synthetic=False)


def test_unknown_names_get_the_nearest_and_all() -> None:
    with pytest.raises(UserError, match=r"unknown encoder 'spcI': did you mean 'spcl'\? known: .*imagenet"):
        load_encoder("spcI", synthetic=False)
    with pytest.raises(UserError, match=r"unknown encoder 'nope'; known: .*fane.*imagenet"):  # nothing is like it
        load_encoder("nope", synthetic=False)
    with pytest.raises(UserError, match=r"unknown protocol 'clasification': did you mean 'classification'\?"):
        load_task("clasification")


def never() -> Path:
    raise AssertionError("the phantom is not needed here")


def test_tasks_grammar(tmp_path: Path) -> None:
    plain = tmp_path / "my:folder" / "labels.csv"
    plain.parent.mkdir()
    plain.write_text("")
    assert parse_tasks("vindr, rsna:classification,rsna:classification") == [
        ("vindr", None),
        ("rsna", "classification"),
    ]
    assert parse_tasks(f"./x/labels.csv:classification,{plain},{plain}:classification") == [
        ("./x/labels.csv", "classification"),
        (str(plain), None),
        (str(plain), "classification"),
    ]
    for text in ("", "vindr,", "vindr:", ":classification"):
        with pytest.raises(UserError, match="empty part"):
            parse_tasks(text)


def write_csv(folder: Path) -> Path:
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    rows = ["image,patient,split,effusion"]
    for i, split in enumerate(["train", "train", "val", "val", "test", "test"]):
        Image.fromarray(np.full((8, 8), i * 9, np.uint8)).save(folder / f"{i}.png")
        rows.append(f"{i}.png,p{i},{split},{i % 2}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder / "labels.csv"


def test_a_csv_by_path_and_by_folder(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "kermany")
    by_path = load_dataset(str(csv), None, never)
    assert (len(by_path), by_path.labels, by_path.synthetic) == (6, ("effusion",), False)
    by_name = load_dataset("kermany", tmp_path, never)
    assert by_name.name == "kermany"
    assert len(by_name) == 6
    (tmp_path / "kermany" / "PHANTOM.json").write_text("{}")
    assert load_dataset("kermany", tmp_path, never).synthetic
    assert load_dataset(str(csv), None, never).synthetic


def test_missing_data_says_where_it_looked_and_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"no folder {tmp_path}/vindr; get it from .*\(terms: .+\)"):
        load_dataset("vindr", tmp_path, never)
    with pytest.raises(UserError, match="no phantom of it and no data folder"):
        load_dataset("nih", None, lambda: tmp_path)
    with pytest.raises(UserError, match=r"no data folder .*nowhere"):
        load_dataset("vindr", tmp_path / "nowhere", never)
    with pytest.raises(UserError, match=r"no CSV file .*none\.csv"):
        load_dataset(str(tmp_path / "none.csv"), None, never)
    write_csv(tmp_path / "kermany")
    with pytest.raises(
        UserError,
        match=r"unknown dataset 'kermani': did you mean 'kermany'\? known: brax, .*kermany, lungs, .*mimic, .*nih, ",
    ):
        load_dataset("kermani", tmp_path, never)


def test_listings() -> None:
    assert {"vindr", "rsna", "siim", "nih"} <= {listing.name for listing in list_datasets() if listing.summary}
    protocols = {listing.name for listing in list_tasks() if not listing.problem}
    assert protocols == {
        "classification", "detection", "finetune", "knn", "linear", "physiology", "regression", "retrieval",
        "segmentation", "text-retrieval", "zero-shot",
    }  # fmt: skip
    assert load_task("classification").protocol == "classification"
