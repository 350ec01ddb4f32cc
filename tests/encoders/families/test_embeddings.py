"""``embeddings:FILE``: what is exported and run again gives the same results, to the bit."""

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cxrbench
from cxrbench.api import describe, export_features
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from cxrbench.features.stored.files import read_embeddings, write_embeddings
from cxrbench.features.stored.rows import rows_of
from cxrbench.features.stored.table import EmbeddingTable
from cxrbench.predictions import Predictions
from support.command import cxrbench as command

pytestmark = pytest.mark.usefixtures("folders")

WITH_MAPS = '''
import torch
import torch.nn.functional as F
from cxrbench.encoder import EncoderCard, Features, Preprocess

class Mine(torch.nn.Module):
    """Gray values and edges of 4 x 4 tiles, at four resolutions; texts by their letters."""
    preprocess = Preprocess(size=32, resize="crop", mean=(0.5,), std=(0.25,), channels=1)
    card = EncoderCard("tiles", licence="MIT", pretrained_on=("nih", "mimic"))
    def forward(self, images):
        both = torch.cat([images, images.diff(dim=3, prepend=images[..., :1])], 1)
        maps = tuple(F.avg_pool2d(both, 4 * 2**i) for i in range(4))
        return Features(maps[2].flatten(1), maps)
    def encode_text(self, texts):
        return torch.tensor([[float(t.count(c)) for c in "abhinort"] for t in texts])

class Elsewhere(Mine):
    def project(self, pooled):
        return -pooled
'''


def rows(encoder: str) -> dict[str, pd.DataFrame]:
    """Predictions of all cells of an encoder, by protocol."""
    found = {}
    for path in sorted(Path("results/cells").glob("*/*/*/*.parquet")):
        predictions = Predictions.load(path)
        if predictions.cell["encoder"] == encoder:
            found[str(predictions.cell["protocol"])] = predictions.rows
    return found


@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_a_round_trip_gives_the_same_bits(
    suffix: str, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("tiles.py").write_text(WITH_MAPS)
    file, encoder = f"tiles.{suffix}", "./tiles.py:Mine"
    code, out, _ = command(
        monkeypatch, capsys, "features", "export", "--encoder", encoder, "--tasks", str(dataset), "-o", file
    )
    assert (code, "120 images, 8 numbers each" in out) == (0, True)
    protocols = {"classification", "retrieval"} if suffix == "parquet" else {"knn"}
    tasks = ",".join(f"{dataset}:{protocol}" for protocol in protocols)
    code, _, _ = command(monkeypatch, capsys, "run", "--encoder", f"{encoder},embeddings:{file}", "--tasks", tasks)
    assert code == 0
    theirs, ours = rows(encoder), rows(f"embeddings:{file}")
    assert theirs.keys() == ours.keys() == protocols
    for protocol in theirs:
        pd.testing.assert_frame_equal(theirs[protocol], ours[protocol], check_exact=True)
    said = tomllib.loads(Path(f"{file}.toml").read_text())
    assert (said["method"], said["licence"], said["pretrained_on"]) == ("tiles", "MIT", ["nih", "mimic"])
    card = load_encoder(f"embeddings:{file}", synthetic=False).spec.card
    assert (card.method, card.licence, card.pretrained_on) == ("tiles", "MIT", ("nih", "mimic"))


def masked(dataset: Path) -> Path:
    """The data set with a mask beside every image: where it is brighter than its mean."""
    from PIL import Image

    table = pd.read_csv(dataset).iloc[:24]
    for image in table["image"]:
        pixels = np.asarray(Image.open(dataset.parent / image))
        Image.fromarray(np.where(pixels > pixels.mean(), 255, 0).astype(np.uint8)).save(dataset.parent / f"m{image}")
    table["mask"] = "m" + table["image"]
    table["split"] = ["train"] * 14 + ["val"] * 4 + ["test"] * 6
    table["patient"] = [f"p{i}" for i in range(24)]
    table.to_csv(dataset, index=False)
    return dataset


def test_maps_go_along(dataset: Path) -> None:
    Path("tiles.py").write_text(WITH_MAPS)
    task = f"{masked(dataset)}:segmentation"
    export_features("./tiles.py:Mine", task, "tiles.npz", maps=True)
    settings = {"epochs": 1, "decoder": "linear"}
    done = cxrbench.run(["./tiles.py:Mine", "embeddings:tiles.npz"], task, **settings)  # type: ignore[arg-type]
    assert done.rows[0]["value"] == done.rows[1]["value"] is not None
    (theirs,), (ours,) = rows("./tiles.py:Mine").values(), rows("embeddings:tiles.npz").values()
    pd.testing.assert_frame_equal(theirs, ours, check_exact=True)
    done = cxrbench.run("embeddings:tiles.npz", task, augment=1, **settings)  # type: ignore[arg-type]
    assert "no maps of augmented copies: leave out --augment" in done.rows[0]["metric"]
    Path("tiles.npz.toml").unlink()
    with pytest.raises(UserError, match=r"holds maps: say in tiles.npz.toml how the images came to the square"):
        load_encoder("embeddings:tiles.npz", synthetic=False)


def without(file: str, *images: str) -> None:
    """Take rows out of a file."""
    table = read_embeddings(Path(file))
    kept = [i for i, name in enumerate(table.images) if name not in images]
    write_embeddings(Path(file), EmbeddingTable(tuple(table.images[i] for i in kept), table.pooled[kept]))


def test_missing_rows_are_named_and_may_be_left_out(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = f"{dataset}:classification"
    export_features("pixels", task, "p.npz")
    absent = read_embeddings(Path("p.npz")).images[:4]
    without("p.npz", *absent)
    words = ["run", "--encoder", "embeddings:p.npz", "--tasks", task]
    code, _, err = command(monkeypatch, capsys, *words)
    assert code == 1
    assert f"embeddings:p.npz has no row for 4 of the 120 images of clinic: {', '.join(absent[:3])}, ..." in err
    code, _, _ = command(monkeypatch, capsys, *words, "--on-bad-image", "skip")
    assert code == 0
    assert next(iter(Path("results").glob("cells/**/*.parquet")))
    predictions = Predictions.load(next(iter(Path("results").glob("cells/**/*.parquet"))))
    assert predictions.dataset["dropped"] == 4
    np.savez("other.npz", images=np.array(["x", "y"]), embeddings=np.ones((2, 3)))
    code, _, err = command(monkeypatch, capsys, "run", "--encoder", "embeddings:other.npz", "--tasks", task)
    assert (code, "no row for 120 of the 120 images of clinic: " in err, "called x, y" in err) == (1, True, True)


def test_rows_may_be_named_by_path_and_by_dataset(dataset: Path, encoder: str) -> None:
    task = f"{dataset}:classification"
    export_features(encoder, task, "p.parquet")
    assert "pretrained_on" not in tomllib.loads(Path("p.parquet.toml").read_text())  # nobody said: not "nothing"
    assert "no X-rays" in load_encoder("embeddings:p.parquet", synthetic=False).spec.card.assumed[0]
    table = read_embeddings(Path("p.parquet"))
    by_path = tuple(str(dataset.parent / f"{i:03}.png") for i in range(120))
    manifest = cxrbench.load_dataset(str(dataset))
    assert [str(path) for path in manifest.paths()] == sorted(by_path)
    other = EmbeddingTable(
        by_path * 2, np.concatenate([table.pooled, 0 * table.pooled]), ("clinic",) * 120 + ("b",) * 120
    )
    write_embeddings(Path("q.parquet"), other)
    done = cxrbench.run(["embeddings:p.parquet", "embeddings:q.parquet"], task)
    assert done.rows[0]["value"] == done.rows[1]["value"]
    both = EmbeddingTable((*table.images, by_path[0]), np.concatenate([table.pooled, table.pooled[:1]]))
    write_embeddings(Path("both.parquet"), both)
    done = cxrbench.run("embeddings:both.parquet", task)
    assert "has two rows for image" in done.rows[0]["metric"]
    first = table.images[0]
    twice = EmbeddingTable(
        (*table.images, first), np.concatenate([table.pooled, table.pooled[:1]]), (*["clinic"] * 120, "")
    )
    write_embeddings(Path("both.parquet"), twice)
    with pytest.raises(UserError, match=f"two rows for {first}: one of clinic and one of no dataset"):
        rows_of(read_embeddings(Path("both.parquet")), "both.parquet", manifest)


def test_it_is_who_its_content_says_wherever_it_lies() -> None:
    table = EmbeddingTable(("a", "b"), np.eye(2, dtype=np.float32))
    Path("there").mkdir()
    for path in ("e.npz", "there/f.parquet"):
        write_embeddings(Path(path), table)
    write_embeddings(Path("other.npz"), EmbeddingTable(("a", "c"), table.pooled))
    write_embeddings(Path("more.npz"), EmbeddingTable(("a", "b"), table.pooled * 2))
    parts = {
        p: load_encoder(f"embeddings:{p}", synthetic=False).spec
        for p in ("e.npz", "there/f.parquet", "other.npz", "more.npz")
    }
    assert parts["e.npz"].fingerprint == parts["there/f.parquet"].fingerprint
    changed = {
        path: [part for part, was in parts["e.npz"].parts.items() if parts[path].parts[part] != was]
        for path in ("other.npz", "more.npz")
    }
    assert changed == {"other.npz": ["encoder configuration"], "more.npz": ["encoder weights"]}


def test_what_stands_beside_it_is_a_part_of_its_identity() -> None:
    """Marks rest on it, and finished cells keep what was said when they were made."""
    write_embeddings(Path("e.npz"), EmbeddingTable(("a", "b"), np.eye(2, dtype=np.float32)))
    before = load_encoder("embeddings:e.npz", synthetic=False).spec
    Path("e.npz.toml").write_text('pretrained_on = ["nih"]\n')
    after = load_encoder("embeddings:e.npz", synthetic=False).spec
    assert before.fingerprint != after.fingerprint


def test_what_was_assumed_goes_along(dataset: Path) -> None:
    Path("tiles.py").write_text(
        WITH_MAPS.replace('pretrained_on=("nih", "mimic")', 'citation="A, B", year=2024, assumed=("size \\"32\\"",)')
    )
    export_features("./tiles.py:Mine", f"{dataset}:classification", "t.parquet")
    card = load_encoder("embeddings:t.parquet", synthetic=False).spec.card
    assert (card.citation, card.year, card.synthetic) == ("A, B", 2024, False)
    assert card.assumed[0] == 'size "32"'


def test_texts_and_what_needs_a_network(dataset: Path) -> None:
    Path("tiles.py").write_text(WITH_MAPS)
    tasks = [f"{dataset}:zero-shot", f"{dataset}:finetune", f"{dataset}:linear"]
    export_features("./tiles.py:Mine", tasks[0], "t.npz")
    table = read_embeddings(Path("t.npz"))
    assert table.texts == ("bright", "no bright", "coin", "no coin")
    done = cxrbench.run(["./tiles.py:Mine", "embeddings:t.npz"], tasks[0])
    theirs, ours = rows("./tiles.py:Mine"), rows("embeddings:t.npz")
    pd.testing.assert_frame_equal(theirs["zero-shot"], ours["zero-shot"], check_exact=True)
    without = export_features("./tiles.py:Elsewhere", tasks[0], "e.npz")
    assert (without.texts, "by project(pooled), so its texts stay out" in without.note) == (0, True)
    write_embeddings(Path("t.npz"), EmbeddingTable(table.images, table.pooled))
    done = cxrbench.run("embeddings:t.npz", tasks, epochs=1)
    assert "no text tower" in done.rows[0]["metric"]
    assert [row["metric"].partition(":")[0] for row in done.rows[:2]] == ["not applicable"] * 2
    assert done.rows[2]["value"] is not None
    module = load_encoder("./tiles.py:Mine", synthetic=False).module
    prompts = ("bright", "no bright", "coin")
    vectors = module.encode_text(list(prompts)).numpy()  # type: ignore[attr-defined]
    write_embeddings(Path("u.npz"), EmbeddingTable(table.images, table.pooled, (), (), prompts, vectors))
    done = cxrbench.run("embeddings:u.npz", tasks[0])
    assert "the file has no embedding for 1 of 4 texts: no coin; add rows" in done.rows[0]["metric"]
    vectors = module.encode_text([*prompts, "no coin"]).numpy()  # type: ignore[attr-defined]
    write_embeddings(Path("u.npz"), EmbeddingTable(table.images, table.pooled, (), (), (*prompts, "no coin"), vectors))
    done = cxrbench.run(["./tiles.py:Mine", "embeddings:u.npz"], tasks[0])
    assert done.rows[0]["value"] == done.rows[1]["value"] is not None


def test_specs_that_cannot_be_meant() -> None:
    for spec, why in (
        ("embeddings", "needs a file"),
        ("embeddings:x.npz", "no file x.npz"),
        ("embeddings:x.csv", "end in"),
    ):
        with pytest.raises(UserError, match=why):
            load_encoder(spec, synthetic=False)


def test_it_is_described_and_checked_without_an_image() -> None:
    write_embeddings(Path("e.npz"), EmbeddingTable(("a", "b"), np.eye(2, dtype=np.float32)))
    report = cxrbench.check_encoder("embeddings:e.npz")
    assert load_encoder("embeddings:e.npz", synthetic=False).spec.card.assumed == (
        "assumed, for nobody says it: that its model has seen no X-rays of the data sets here; say it in e.npz.toml: "
        'pretrained_on = ["mimic"], or [] for none',
    )
    assert [(one.check, one.state) for one in report.checks] == [("file", "pass"), ("card", "mend")]
    Path("e.npz.toml").write_text('method = "API"\nlicence = "MIT"\npretrained_on = ["mimic"]\n')
    assert cxrbench.check_encoder("embeddings:e.npz").ok
    assert load_encoder("embeddings:e.npz", synthetic=False).spec.card.assumed == ()
    assert describe("embeddings:e.npz")["feature width"] == 2


def test_one_encoder_per_file(dataset: Path) -> None:
    Path("tiles.py").write_text(WITH_MAPS)
    with pytest.raises(UserError, match="holds the features of one encoder"):
        export_features("pixels,./tiles.py:Mine", f"{dataset}:classification", "p.npz")
