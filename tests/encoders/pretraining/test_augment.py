import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import hflip, resized_crop

from cxrbench.encoders.pretraining.augment import crop_resize, random_resized_crop_and_flip
from cxrbench.encoders.pretraining.method import Draw


def test_crops_are_torchvisions() -> None:
    images = torch.rand(3, 2, 32, 32)
    boxes = [(4, 8, 16, 16), (0, 0, 32, 32), (10, 3, 20, 24)]  # left, top, width, height
    flip = torch.tensor([False, True, True])
    left, top, width, height = (torch.tensor(side) / 32 for side in zip(*boxes, strict=True))
    ours = crop_resize(images, left, top, width, height, flip)
    for k, (x, y, w, h) in enumerate(boxes):
        theirs = resized_crop(images[k], y, x, h, w, [32, 32], InterpolationMode.BICUBIC, antialias=False)
        theirs = hflip(theirs) if flip[k] else theirs
        inner = (
            slice(None),
            slice(4, 28),
            slice(4, 28),
        )  # at its border a crop sees the pixels beyond, theirs does not
        torch.testing.assert_close(ours[k][inner], theirs[inner], atol=1e-4, rtol=0)


def test_random_crops_keep_shape_and_change_images() -> None:
    images = torch.rand(64, 1, 16, 16)
    out = random_resized_crop_and_flip(images, Draw(torch.Generator().manual_seed(0)))
    assert out.shape == images.shape
    assert out.isfinite().all()
    assert (out - images).flatten(1).abs().amax(1).gt(0.01).all()
