import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import hflip, resize, resized_crop

from cxrbench.encoders.pretraining.augment import crop_resize, decode_size, random_resized_crop_and_flip
from cxrbench.encoders.pretraining.method import Draw

BOXES = [(4, 8, 16, 16), (0, 0, 32, 32), (10, 3, 20, 24), (31, 0, 1, 32)]  # left, top, width, height, of 32 pixels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("side", "size"), [(32, 32), (64, 32), (48, 32), (32, 40)])
def test_crops_are_torchvisions_antialiased(channels: int, side: int, size: int) -> None:
    images = torch.rand(len(BOXES), channels, side, side, generator=torch.Generator().manual_seed(0))
    boxes = [tuple(number * side // 32 for number in box) for box in BOXES]
    flip = torch.tensor([False, True, True, False])
    left, top, width, height = (torch.tensor(numbers) / side for numbers in zip(*boxes, strict=True))
    ours = crop_resize(images, left, top, width, height, flip, size)
    for k, (x, y, w, h) in enumerate(boxes):
        theirs = resized_crop(images[k], y, x, h, w, [size, size], InterpolationMode.BICUBIC, antialias=True)
        torch.testing.assert_close(ours[k], hflip(theirs) if flip[k] else theirs, atol=2e-6, rtol=0)


def test_a_whole_image_is_resized_without_aliasing() -> None:
    """A grating finer than the target can hold comes out gray, as torchvision's does; sampled, it is a coarse one."""
    grating = (torch.arange(64) * 0.9 * torch.pi).cos().expand(1, 1, 64, 64)
    none, all_, unflipped = torch.zeros(1), torch.ones(1), torch.tensor([False])
    ours = crop_resize(grating, none, none, all_, all_, unflipped, 32)
    theirs = resize(grating, [32, 32], InterpolationMode.BICUBIC, antialias=True)
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)
    sampled = resize(grating, [32, 32], InterpolationMode.BICUBIC, antialias=False)
    assert float(ours[..., 3:-3].std()) < 0.05 < 0.15 < float(sampled[..., 3:-3].std())


def test_boxes_between_pixels_move_what_is_smooth_by_as_much() -> None:
    ramp = torch.arange(64.0).expand(1, 1, 64, 64) + 0.5
    left, width, zero, one = torch.tensor([10.3 / 64]), torch.tensor([40.5 / 64]), torch.zeros(1), torch.ones(1)
    row = crop_resize(ramp, left, zero, width, one, torch.tensor([False]), 32)[0, 0, 16]
    expected = 10.3 + 40.5 * (torch.arange(32) + 0.5) / 32
    torch.testing.assert_close(row[3:-3], expected[3:-3], atol=0.02, rtol=0)


def test_crops_are_float32_under_autocast() -> None:
    images, draws = torch.rand(4, 1, 24, 24), [Draw(torch.Generator().manual_seed(0)) for _ in range(2)]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = random_resized_crop_and_flip(images, draws[0], size=16)
    assert torch.equal(mixed, random_resized_crop_and_flip(images, draws[1], size=16))


def test_random_crops_change_images_and_their_size() -> None:
    images = torch.rand(64, 1, 16, 16)
    for size in (None, 8):
        out = random_resized_crop_and_flip(images, Draw(torch.Generator().manual_seed(0)), size=size)
        assert out.shape == (64, 1, size or 16, size or 16)
        assert out.isfinite().all()
    full = random_resized_crop_and_flip(images, Draw(torch.Generator().manual_seed(0)))
    assert (full - images).flatten(1).abs().amax(1).gt(0.01).all()


@pytest.mark.parametrize(("area", "side"), [(0.2, 448), (0.3, 448), (0.5, 336), (0.75, 280), (1.0, 280), (0.01, 448)])
def test_the_smallest_crop_has_its_pixels_as_far_as_twice_the_side_gives_them(area: float, side: int) -> None:
    assert decode_size(224, area) == side
    assert side == 448 or side * area**0.5 >= 224
