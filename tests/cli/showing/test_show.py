"""Pictures: which images are shown, what colour is where, and the command on a results folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxrbench.cli.main import app
from cxrbench.cli.showing.overlay import PREDICTED, TRUE, choose, contact_sheet, draw_boxes, draw_masks, image_values
from cxrbench.data.annotations.rle import encode_counts
from cxrbench.data.manifest import Manifest
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.metrics.kinds import KINDS
from cxrbench.predictions import Predictions
from cxrbench.task import Cell
from support.masks import compressed

H, W = 60, 40


def square(y: int, x: int, side: int = 20) -> np.ndarray:
    mask = np.zeros((H, W), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def dataset(root: Path) -> Manifest:
    """Six images with a square mask and its box; the last is empty."""
    ids = list("abcdef")
    for name in ids:
        Image.fromarray(np.full((H, W), 90, np.uint8)).save(root / f"{name}.png")
    images = pd.DataFrame({"image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "split": "test",
                           "path": [f"{n}.png" for n in ids], "bytes": 1, "Finding": [1.0] * 5 + [0]})  # fmt: skip
    masks = [(name, "Finding", H, W, encode_counts(square(10, 10))) for name in ids[:5]]
    boxes = pd.DataFrame({"image_id": ids[:5], "label": "Finding", "x": 10.0, "y": 10.0, "width": 20.0, "height": 20.0})
    return Manifest("toy", root, images, ("Finding",), boxes=boxes, masks_complete=True,
                    masks=pd.DataFrame(masks, columns=["image_id", "label", "height", "width", "counts"]))  # fmt: skip


def segmented(manifest: Manifest) -> Predictions:
    """The prediction of image i is the true square moved down by 4 i pixels."""
    rles = [compressed(square(10 + 4 * i, 10)) for i in range(6)]
    return predictions(manifest, "segmentation", {"height": H, "width": W, "rle:Finding": rles})


def detected(manifest: Manifest) -> Predictions:
    """A right box and a faint one that is never drawn."""
    boxes = [[10.0, 10.0 + 4 * i, 20.0, 20.0, 0.0, 0.0, 5.0, 5.0] for i in range(6)]
    columns = {"boxes": boxes, "scores": [[0.9, 0.1]] * 6, "classes": [[0, 0]] * 6}
    return predictions(manifest, "detection", columns)


def predictions(manifest: Manifest, kind: Any, columns: dict[str, Any]) -> Predictions:
    rows = manifest.images[["image_id", "patient_id", "split"]].assign(**columns)
    cell = {"encoder": "mine", "dataset": "toy", "protocol": kind, "fraction": 1.0, "seed": 0, "identity": "x",
            "parts": {"dataset": manifest.fingerprint}}  # fmt: skip
    made = Predictions(rows, ("Finding",), kind, {"macro": ("Finding",)}, False, cell=cell)
    return KINDS[made.kind].score(made, manifest)


def test_edges_have_their_colours_and_the_inside_stays_as_it_was() -> None:
    radiograph = np.full((H, W), 0.5, np.float32)
    image = np.asarray(draw_masks(radiograph, square(5, 5)[None].astype(np.uint8), square(30, 15)[None], side=H))
    assert image.shape == (H, W, 3)
    assert tuple(image[5, 10]) == TRUE
    assert tuple(image[49, 20]) == PREDICTED
    np.testing.assert_array_equal(image[15, 15], [128] * 3)
    boxes = np.array([[4.0, 4.0, 20.0, 20.0]])
    lower = boxes + np.array([0, 26, 0, 0])
    image = np.asarray(draw_boxes(radiograph, boxes, lower, ["x"], side=2 * H))
    assert image.shape == (2 * H, 2 * W, 3)
    assert tuple(image[8, 30]) == TRUE
    assert tuple(image[99, 30]) == PREDICTED
    np.testing.assert_array_equal(image[30, 30], [128] * 3)


def test_best_median_and_worst_each_once() -> None:
    values = np.array([1.0, 0.9, 0.5, 0.2, 0.0, 1.0, np.nan])
    shown = np.array([True, True, True, True, False, False, False])
    cases = choose(values, shown, 4)
    assert [(c.rank, c.row) for c in cases] == [("best", 0), ("best", 1), ("median", 2), ("worst", 4)]
    assert len(choose(values, shown, 50)) == 6
    assert [c.row for c in choose(values, np.zeros(7, bool), 1)] == [0]


def test_values_of_images(tmp_path: Path) -> None:
    manifest = dataset(tmp_path)
    made = segmented(manifest)
    values, shown, _ = image_values(made, made.test_rows())
    np.testing.assert_allclose(values, [1, 0.8, 0.6, 0.4, 0.2, 0])
    assert shown.tolist() == [True] * 5 + [False]
    made = detected(manifest)
    values, _, _ = image_values(made, made.test_rows())
    np.testing.assert_allclose(values, [1, 1, 0, 0, 0, 0])  # IoU 1, 2/3, 3/7, ...


@pytest.mark.parametrize("make", [segmented, detected])
def test_show_draws_the_cell_of_a_results_folder(tmp_path: Path, make: Any) -> None:
    manifest, store = dataset(tmp_path), Results(tmp_path / "results")
    made = make(manifest)
    store.save_manifest(manifest)
    store.save(Cell("mine", "toy", made.kind), made)
    store.save(Cell("mine", "toy", made.kind, fraction=0.1), replace(made, rows=made.rows.iloc[:0]))
    arguments = ["show", f"toy:{made.kind}", "--encoder", "mine", "--results", str(store.root), "--count", "6"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "one")], catch_exceptions=False)
    assert done.exit_code == 0
    file = store.path(Cell("mine", "toy", made.kind))
    CliRunner().invoke(app, ["show", str(file), "--count", "6", "--out", str(tmp_path / "two")], catch_exceptions=False)
    pictures = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(pictures) == 7
    assert [name[:8] for name in pictures[:2]] == ["01-best-", "02-best-"]
    for name in pictures:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with Image.open(tmp_path / "one" / pictures[-2]) as worst:
        colours = {colour for _, colour in worst.getcolors(10**6) or ()}
    assert PREDICTED in colours


def test_mistakes_have_one_line(tmp_path: Path) -> None:
    def show(*arguments: str) -> None:
        CliRunner().invoke(app, ["show", *arguments, "--out", str(tmp_path / "o")], catch_exceptions=False)

    with pytest.raises(UserError, match="names no protocol"):
        show("siim")
    with pytest.raises(UserError, match="which encoder's siim:segmentation"):
        show("siim:segmentation")
    with pytest.raises(UserError, match="no finished cell of mine on siim:segmentation"):
        show("siim:segmentation", "--encoder", "mine", "--results", str(tmp_path))
    with pytest.raises(UserError, match="no file"):
        show("none.parquet")
    manifest, store = dataset(tmp_path), Results(tmp_path / "results")
    made = segmented(manifest)
    store.save(Cell("mine", "toy", "segmentation"), made)
    with pytest.raises(UserError, match="where the images are"):
        show("toy:segmentation", "--encoder", "mine", "--results", str(store.root))


def test_a_sheet_has_a_cell_for_each_picture() -> None:
    sheet = contact_sheet([Image.new("RGB", (50, 80), "red")] * 5, columns=2, side=40)
    assert sheet.size == (80, 120)
