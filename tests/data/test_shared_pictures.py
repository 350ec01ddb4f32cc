"""Which pictures two datasets share: planted copies are found, and nothing depends on order or workers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from cxrbench.data.manifest import Manifest
from cxrbench.data.shared_pictures import SharedPictures, shared_pictures
from support.command import CommandLine


def picture(seed: int, side: int = 120) -> np.ndarray:
    grain = np.random.default_rng(seed).random((side, side))
    smooth = np.asarray(gaussian_filter(grain, 8) + 0.1 * gaussian_filter(grain, 2))
    return np.rint(255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def dataset(root: Path, name: str, seeds: list[int], splits: list[str], size: int = 120, **facts: object) -> Manifest:
    """An image of each seed, at a size, as JPEG."""
    (root / name).mkdir(parents=True)
    for number, seed in enumerate(seeds):
        image = Image.fromarray(picture(seed)).resize((size, size), Image.Resampling.BICUBIC)
        image.save(root / name / f"{number:02}.jpg", quality=80)
    ids = [f"{number:02}" for number in range(len(seeds))]
    images = pd.DataFrame({
        "image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "split": splits,
        "path": [f"{one}.jpg" for one in ids], "bytes": 1,
    })  # fmt: skip
    return Manifest(name, root / name, images, (), **facts)  # type: ignore[arg-type]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Manifest, Manifest]:
    """b has a's pictures 1 (twice), 3 and 5 at half the size, and others; 3 is tested in b and trained on in a."""
    a = dataset(tmp_path, "a", list(range(8)), ["train"] * 4 + ["val"] * 2 + ["test"] * 2)
    b = dataset(tmp_path, "b", [20, 1, 21, 3, 1, 22, 5], ["train"] * 3 + ["test"] + ["val"] * 2 + ["test"], 60)
    return a, b


PLANTED = ((("01",), ("01", "04")), (("03",), ("03",)), (("05",), ("06",)))


def test_planted_copies_are_found_and_counted_by_split(pair: tuple[Manifest, Manifest]) -> None:
    report = shared_pictures(*pair)
    assert report.pictures == PLANTED
    assert (report.names, report.images, report.unreadable) == (("a", "b"), (8, 7), (0, 0))
    assert report.splits["train"] == {"train": 1, "val": 1, "test": 1}
    assert report.splits["val"] == {"train": 0, "val": 0, "test": 1}
    assert report.crossing == 2
    assert not report.ok
    text = str(report)
    assert "pictures in both: 3 (3 images of a, 4 of b)" in text
    assert "01 = 01, 04" in text
    assert 'lineage = ["a", "b"]' in text


def test_neither_the_order_nor_the_workers_matter(pair: tuple[Manifest, Manifest]) -> None:
    a, b = pair
    assert shared_pictures(a, b, workers=1) == shared_pictures(b, a, workers=3)


def test_what_to_do_follows_from_what_the_datasets_say(pair: tuple[Manifest, Manifest], tmp_path: Path) -> None:
    a, b = pair
    told = replace(b, lineage=("b", "a"))
    assert shared_pictures(a, told).ok
    assert "both name the source" in str(shared_pictures(a, told))
    assert "same identifiers in both" in str(shared_pictures(a, told, same_patients=True))
    apart = dataset(tmp_path, "c", [40, 41], ["train", "test"])
    report = shared_pictures(a, apart)
    assert (report.pictures, report.ok) == ((), True)
    assert "nothing to do: the images of a and c that were read differ" in str(report)
    (apart.root / "00.jpg").write_bytes(b"no picture")
    assert shared_pictures(a, apart).unreadable == (0, 1)


def test_the_command_finds_a_copy_and_exits_with_1(
    pair: tuple[Manifest, Manifest], tmp_path: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXRBENCH_DATA", raising=False)
    tables = []
    for one in pair:
        lines = [f"{path},{split}" for path, split in zip(one.images["path"], one.images["split"], strict=True)]
        (one.root / "labels.csv").write_text("\n".join(["image,split", *lines]) + "\n")
        (one.root / "labels.toml").write_text(f'name = "{one.name}"\n')
        tables.append(str(one.root / "labels.csv"))
    code, out, _ = command_line("data", "check", *tables)
    assert (code, "pictures in both: 3" in out) == (1, True)
    assert command_line("data", "check", *tables[::-1])[1] == out
    (pair[1].root / "labels.toml").write_text('name = "b"\nlineage = ["b", "a"]\n')
    assert command_line("data", "check", *tables)[0] == 0
    code, _, err = command_line("data", "check", tables[0], tables[0])
    assert (code, "are one dataset" in err) == (2, True)
    code, _, err = command_line("data", "check", *tables, tables[0])
    assert (code, "give one dataset to check, or two to compare" in err) == (2, True)
    code, _, err = command_line("data", "check", *tables, "--no-decode")
    assert (code, "leave the options out" in err) == (2, True)


def test_the_report_is_plain_values(pair: tuple[Manifest, Manifest]) -> None:
    found: SharedPictures = shared_pictures(*pair)
    assert found.to_json()["pictures"][0] == PLANTED[0]
    assert found.to_json()["ok"] is False
