"""PaCX-MAE's augmentation: its parts against torchvision, the whole by its shares."""

import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from cxrbench.encoders.backbones.encoder import gray_preprocess
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.pacx.augment import AFFINE_P, BLUR_P, ERASE_P, JITTER_P, augment
from cxrbench.encoders.pretraining.augment import affine, blur, erase
from cxrbench.encoders.pretraining.method import Draw

GRAY = gray_preprocess(ViTConfig(64, 4, 1, 8, 32, 1))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 2, 32, 32, generator=torch.Generator().manual_seed(0))


def test_affine_is_torchvisions(images: torch.Tensor) -> None:
    degrees, scale = torch.tensor([10.0, -7.0, 0.0, 90.0]), torch.tensor([1.1, 0.9, 1.0, 1.0])
    shift = torch.tensor([[2.0, -1.0], [0.0, 3.0], [3.0, 1.0], [0.0, 0.0]]) / 32
    ours = affine(images, degrees, shift, scale)
    for k in range(4):
        theirs = tv.affine(
            images[k], float(degrees[k]), [round(float(v) * 32) for v in shift[k]], float(scale[k]), [0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )  # fmt: skip
        torch.testing.assert_close(ours[k, :, 4:28, 4:28], theirs[:, 4:28, 4:28], atol=1e-4, rtol=0)


def test_blur_is_torchvisions(images: torch.Tensor) -> None:
    sigma = torch.tensor([0.1, 0.5, 1.3, 2.0])
    ours = blur(images, sigma)
    for k in range(4):
        torch.testing.assert_close(ours[k], tv.gaussian_blur(images[k], [5, 5], [float(sigma[k])]), atol=1e-5, rtol=0)


def test_erase_is_torchvisions(images: torch.Tensor) -> None:
    ours = erase(images, *(torch.tensor(v) / 32 for v in ([4.0] * 4, [8.0] * 4, [10.0] * 3 + [0.0], [3.0] * 4)))
    for k in range(3):
        torch.testing.assert_close(ours[k], tv.erase(images[k], 8, 4, 3, 10, torch.zeros(1)))
    assert torch.equal(ours[3], images[3])


def test_augmentation_follows_the_draw_and_keeps_shape_and_range() -> None:
    images = torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(1)).clamp(-2, 2)
    one, again, other = (augment(images, GRAY, Draw(torch.Generator().manual_seed(s))) for s in (3, 3, 4))
    assert torch.equal(one, again)
    assert one.shape == images.shape
    assert (one != other).flatten(1).any(1).all()
    assert float(one.min()) >= -2 - 1e-5
    assert float(one.max()) <= 2 + 1e-5  # black and white of (0.5, 0.25)


def test_larger_images_come_out_at_the_encoders_size() -> None:
    small = augment(torch.zeros(3, 1, 46, 46), GRAY, Draw(torch.Generator().manual_seed(0)))
    assert small.shape == (3, 1, 32, 32)


def test_two_processes_augment_as_one() -> None:
    images = torch.rand(8, 1, 32, 32)
    whole = augment(images, GRAY, Draw(torch.Generator().manual_seed(0)))
    halves = [augment(images[4 * r :][:4], GRAY, Draw(torch.Generator().manual_seed(0), r, 2)) for r in (0, 1)]
    torch.testing.assert_close(torch.cat(halves), whole)


def test_steps_happen_as_often_as_said() -> None:
    """On a uniform gray image a shift or turn leaves black corners, jitter another gray, erasing a box of zeros."""
    n = 3000
    gray = (torch.full((n, 1, 16, 16), 0.75) - 0.5) / 0.25
    out = augment(gray, GRAY, Draw(torch.Generator().manual_seed(0)))[:, 0] * 0.25 + 0.5
    boxes = ((out - 0.5).abs() < 1e-6).flatten(1).any(1).float().mean()
    jittered = ((out.flatten(1).median(1).values - 0.75).abs() > 1e-4).float().mean()
    black = (out.flatten(1).min(1).values < 0.3).float().mean()
    assert float(boxes) == pytest.approx(ERASE_P, abs=0.04)
    assert float(jittered) == pytest.approx(JITTER_P, abs=0.04)
    assert AFFINE_P - 0.1 < float(black) < AFFINE_P + 0.03  # magnified, an image can hide that it was turned
    assert BLUR_P == 0.15


def test_nothing_is_mirrored() -> None:
    ramp = torch.linspace(-2, 2, 32).expand(256, 1, 32, 32)
    out = augment(ramp, GRAY, Draw(torch.Generator().manual_seed(0)))
    assert (out[..., 18:26].mean((1, 2, 3)) > out[..., 6:14].mean((1, 2, 3))).float().mean() > 0.99
