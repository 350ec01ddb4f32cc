"""Which pixels a mask image marks, in whatever channel, format and position, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cxrbench.data.annotations.mask_files import inside, read_mask
from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.decode.images import decode
from cxrbench.errors import UserError

Y, X = np.mgrid[:64, :80]
DISC = (X - 30) ** 2 + (Y - 34) ** 2 < 400
DRAWN = np.where(DISC, 255, 0).astype(np.uint8)
BLANK = np.zeros_like(DRAWN)


def saved(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("quality", [40, 75, 95])
@pytest.mark.parametrize("colour", [False, True])
def test_a_black_and_white_jpeg_is_cut_at_half(tmp_path: Path, quality: int, colour: bool) -> None:
    pixels = np.dstack([DRAWN] * 3) if colour else DRAWN
    values = read_mask(saved(tmp_path / "m.jpg", pixels, quality=quality))
    np.testing.assert_array_equal(values, DRAWN)
    assert not read_mask(saved(tmp_path / "empty.jpg", BLANK, quality=quality)).any()


@pytest.mark.parametrize("values", [(0, 1), (0, 100), (0, 127, 255), (60, 200)])
def test_a_jpeg_of_other_values_is_refused(tmp_path: Path, values: tuple[int, ...]) -> None:
    pixels = np.array(values, np.uint8)[X * len(values) // 80]
    with pytest.raises(UserError, match=r"m\.jpg is a JPEG, and not a black and white one.*save it as PNG"):
        read_mask(saved(tmp_path / "m.jpg", pixels))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0)])
def test_a_mask_in_the_alpha_channel_is_read_from_there(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    rgba = np.dstack([np.full_like(DRAWN, c) for c in colour] + [DRAWN])
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "rgba.png", rgba)), DRAWN)
    gray = np.dstack([np.full_like(DRAWN, colour[1]), DRAWN])
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "la.png", gray)), DRAWN)


@pytest.mark.parametrize("alpha", [np.full_like(DRAWN, 255), DRAWN])
def test_a_mask_in_the_colours_may_have_an_alpha_channel_that_agrees(tmp_path: Path, alpha: NDArray[Any]) -> None:
    rgba = np.dstack([DRAWN // 255 * 3] * 3 + [alpha])
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "m.png", rgba)), DRAWN // 255 * 3)


def test_an_alpha_channel_that_contradicts_the_colours_is_refused(tmp_path: Path) -> None:
    rgba = np.dstack([DRAWN] * 3 + [255 - DRAWN])
    with pytest.raises(UserError, match="alpha channel that its colours contradict"):
        read_mask(saved(tmp_path / "m.png", rgba))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_masks_of_other_colour_spaces_are_refused(tmp_path: Path, mode: str) -> None:
    Image.fromarray(DRAWN).convert("RGB").convert(mode).save(tmp_path / "m.tif")
    with pytest.raises(UserError, match="colour image"):
        read_mask(tmp_path / "m.tif")


def test_float_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read mask .*floats of unknown range"):
        read_mask(saved(tmp_path / "m.tif", DISC.astype(np.float32) / 2))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_mask_is_turned_as_an_image_is(tmp_path: Path, turn: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    tag: dict[str, Any] = {"tiffinfo": {0x0112: turn}} if suffix == "tif" else {"exif": exif}
    path = saved(tmp_path / f"m.{suffix}", DRAWN, **tag)
    np.testing.assert_array_equal(read_mask(path), decode(path) * 255)


def test_smooth_edges_are_cut_at_half_and_instances_are_kept(tmp_path: Path) -> None:
    distance = 20 - np.hypot(X - 30, Y - 34)
    soft = np.rint(np.clip(distance / 4 + 0.5, 0, 1) * 255).astype(np.uint8)
    assert len(np.unique(soft)) > 16
    np.testing.assert_array_equal(inside(soft), distance >= -0.01)
    instances = (np.arange(64 * 80, dtype=np.uint8).reshape(64, 80) % 40).astype(np.uint8)
    np.testing.assert_array_equal(inside(instances), instances > 0)
    few = np.array([[0, 127, 255, 255, 255]], np.uint8)
    np.testing.assert_array_equal(inside(few), few > 0)
    assert not inside(BLANK).any()


def clinic(root: Path, suffix: str, pixels: NDArray[Any], toml: str = "") -> Path:
    rows = ["image,mask,tall"]
    for n in range(10):
        saved(root / f"{n}.png", np.full((64, 80), 9 * n, np.uint8))
        saved(root / f"m{n}.{suffix}", pixels)
        rows.append(f"{n}.png,m{n}.{suffix},{n % 2}")
    (root / "own.csv").write_text("\n".join(rows) + "\n")
    (root / "own.toml").write_text(toml)
    return root / "own.csv"


@pytest.mark.parametrize(("suffix", "pixels"), [("jpg", DRAWN), ("png", np.dstack([BLANK] * 3 + [DRAWN]))])
def test_a_user_s_jpeg_and_alpha_masks_are_the_disc(tmp_path: Path, suffix: str, pixels: NDArray[Any]) -> None:
    truth = TrueMasks.of(read_csv(clinic(tmp_path, suffix, pixels)))
    np.testing.assert_array_equal(truth.native("3.png", 64, 80)[0], DISC)
    assert truth.present("3.png") == 1


@pytest.mark.parametrize("toml", ["mask_classes = { lung = 1, heart = 255 }", "mask_ignore = 127"])
def test_a_jpeg_cannot_be_a_mask_of_named_values(tmp_path: Path, toml: str) -> None:
    with pytest.raises(UserError, match=r"m\d\.jpg is a JPEG: .* no class or ignored value can be told"):
        read_csv(clinic(tmp_path, "jpg", DRAWN, toml))
