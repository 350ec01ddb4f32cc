"""MVMAE's alignment and its weight, against invariants 4 and 9 of its specification and written-out formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import adjust_brightness, adjust_contrast, hflip, resized_crop

from cxrbench.encoders.mvmae.augment import NUMBERS, augment, jitter
from cxrbench.encoders.mvmae.losses import WARMUP, alignment, beta_at, per_study, spread

PRESENT = torch.tensor([[True, True, True], [True, True, False], [True, False, False], [False, True, True]])
HOWS = ["pooled", "token_index", "token_shared_mask"]


def tokens(seed: int = 0, width: int = 16) -> torch.Tensor:
    return torch.randn(4, 3, 5, width, generator=torch.Generator().manual_seed(seed))


def cosine_pair(study: torch.Tensor, u: int, v: int) -> float:
    return float(F.cosine_similarity(study[u].mean(0), study[v].mean(0), dim=0))


# 4. The alignment


def test_pooled_is_two_minus_two_cosines_over_the_width() -> None:
    z = tokens()
    pair = [[(2 - 2 * cosine_pair(z[b], u, v)) / 16 for u, v in ((0, 1), (0, 2), (1, 2))] for b in range(4)]
    expected = [sum(pair[0]) / 3, pair[1][0], 0.0, pair[3][2]]
    torch.testing.assert_close(alignment(z, PRESENT, "pooled"), torch.tensor(expected))
    official = [sum(pair[0]) / 3 * 6 / 9, pair[1][0] * 2 / 9, 0.0, pair[3][2] * 2 / 9]
    torch.testing.assert_close(alignment(z, PRESENT, "pooled", all_slots=True), torch.tensor(official))


def test_token_index_is_eq_1_as_printed() -> None:
    z = tokens()
    unit = F.normalize(z, dim=3)
    pairs = [sum(float((unit[0, u, t] - unit[0, v, t]).square().sum()) for t in range(5)) / 5 for u, v in
             ((0, 1), (0, 2), (1, 2))]  # fmt: skip
    assert float(alignment(z, PRESENT, "token_index")[0]) == pytest.approx(sum(pairs) / 3 / 16, rel=1e-5)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("all_slots", [False, True])
def test_alignment_bounds_and_symmetries(how, all_slots: bool) -> None:
    z = tokens(1)
    loss = alignment(z, PRESENT, how, all_slots=all_slots)
    assert loss[2] == 0  # one view
    assert (loss[[0, 1, 3]] > 0).all()
    assert (loss <= 4 / 16).all()
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(alignment(z[:, order], PRESENT[:, order], how, all_slots=all_slots), loss)
    scales = torch.rand(4, 3, 1, 1) + 0.1
    torch.testing.assert_close(alignment(z * scales, PRESENT, how, all_slots=all_slots), loss)
    same = z[:, :1].expand(-1, 3, -1, -1)
    assert alignment(same, PRESENT, how, all_slots=all_slots).abs().max() == 0
    opposite = torch.cat([z[:, :1], -z[:, :1], z[:, :1]], dim=1)
    assert float(alignment(opposite, PRESENT, how)[1]) == pytest.approx(4 / 16, rel=1e-5)


@pytest.mark.parametrize("how", HOWS)
def test_missing_views_have_no_say_and_no_gradient(how) -> None:
    z = tokens()
    for garbage in (1e9, math.inf, math.nan):
        spoilt = z.masked_fill(~PRESENT[:, :, None, None], garbage)
        torch.testing.assert_close(alignment(spoilt, PRESENT, how), alignment(z, PRESENT, how))
    z.requires_grad_()
    alignment(z, PRESENT, how).sum().backward()
    assert z.grad is not None
    moved = z.grad.abs().sum(dim=(2, 3)) > 0
    assert moved.tolist() == (PRESENT & (PRESENT.sum(1) > 1)[:, None]).tolist()


def test_views_make_a_study() -> None:
    values = torch.tensor([1.0, 2, 6, 3, 5, 7, 8, 10])
    assert per_study(values, PRESENT).tolist() == [3, 4, 7, 9]
    assert per_study(values, PRESENT, all_slots=True).tolist() == pytest.approx([3, 8 / 3, 7 / 3, 6])
    assert spread(values, PRESENT)[3].tolist() == [0, 8, 10]


# 9. β


@settings(max_examples=50, deadline=None)
@given(a=st.floats(0, 1), b=st.floats(0, 1), final=st.floats(0.01, 10), late=st.booleans())
def test_beta_is_monotone_and_bounded(a: float, b: float, final: float, late: bool) -> None:
    low, high = (beta_at(p, final, late=late) for p in sorted((a, b)))
    assert 0 <= low <= high <= final
    if late:
        assert 0 < low <= high < final


def test_beta_of_the_official_500_epochs_and_of_ours() -> None:
    official = [beta_at(epoch / 500, 2.0, late=True) for epoch in (50, 275, 325, 500)]
    assert official[0] == pytest.approx(0.008, abs=5e-4)
    assert official[1] < 0.55  # the middle of the annealing: too early for its midpoint
    assert official[2] == pytest.approx(1.0)
    assert official[3] == pytest.approx(1.94, abs=5e-3)
    ours = [beta_at(p, 2.0) for p in (0.0, WARMUP, (1 + WARMUP) / 2, 1.0)]
    assert ours == pytest.approx([0, 0, 1, 2])
    assert beta_at(WARMUP + 0.01, 2.0) > 0


# The augmentation against torchvision


def test_jitter_is_torchvisions() -> None:
    images = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    ours = jitter(images, torch.tensor([1.3, 0.7]), torch.tensor([1.4, 0.6]), torch.tensor([True, False]))
    torch.testing.assert_close(ours[0], adjust_contrast(adjust_brightness(images[0], 1.3), 1.4))
    torch.testing.assert_close(ours[1], adjust_brightness(adjust_contrast(images[1], 0.6), 0.7))


def test_crop_and_flip_are_torchvisions() -> None:
    images = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    u = torch.full((1, NUMBERS), 0.99)  # no jitter, no flip
    u[0, :3] = torch.tensor([(0.75**2 - 0.5) / 0.5, 0.5, 0.25])  # 24 of 32 pixels, from column 4, row 2
    for size in (32, 16):
        u[0, 3] = 0.99
        cut = resized_crop(images[0], 2, 4, 24, 24, [size, size], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
        torch.testing.assert_close(augment(images, u, flip=True, size=size)[0], cut, atol=2e-5, rtol=0)
        u[0, 3] = 0.2
        torch.testing.assert_close(augment(images, u, flip=True, size=size)[0], hflip(cut), atol=2e-5, rtol=0)
        torch.testing.assert_close(augment(images, u, flip=False, size=size)[0], cut, atol=2e-5, rtol=0)


def test_four_of_five_images_are_jittered_and_half_are_flipped() -> None:
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(2000, NUMBERS, generator=generator)
    u[:, :3] = torch.tensor([1.0, 0, 0])  # the whole image
    ramp = (torch.arange(4.0) / 10 + 0.3).expand(2000, 1, 4, 4)
    out = augment(ramp, u, flip=True)
    assert float((out[:, 0, 0, 0] > out[:, 0, 0, -1]).float().mean()) == pytest.approx(0.5, abs=0.06)
    same = torch.isclose(out.flatten(1).sort(1).values, ramp.flatten(1).sort(1).values, atol=1e-4).all(1)
    assert float(same.float().mean()) == pytest.approx(0.2, abs=0.05)
    assert (out >= 0).all()
    assert (out <= 1).all()
