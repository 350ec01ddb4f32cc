"""Masks and reconstruction errors against the invariants that MAE, MVMAE and PaCX-MAE share."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from cxrbench.encoders.backbones.masking import (
    kept_tokens,
    masked_error,
    normalise_patches,
    patch_moments,
    patchify,
    put_back,
    random_masking,
    take,
    unpatchify,
)


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(tokens=st.integers(1, 400), percent=st.integers(0, 99))
def test_number_of_visible_patches_is_the_floor_in_whole_numbers(tokens: int, percent: int) -> None:
    assert kept_tokens(tokens, percent / 100) == tokens * (100 - percent) // 100


def test_float_floor_of_the_official_codes() -> None:
    assert [kept_tokens(n, 0.9, slack=0.0) for n in (10, 100)] == [0, 9]
    assert [kept_tokens(n, 0.9) for n in (10, 100)] == [1, 10]
    for ratio, visible in ((0.3, 137), (0.6, 78), (0.65, 68), (0.75, 49), (0.9, 19), (0.93, 13)):
        assert kept_tokens(196, ratio) == kept_tokens(196, ratio, slack=0.0) == visible
    assert kept_tokens(196, 0.0) == 196


@settings(max_examples=30, deadline=None)
@given(tokens=st.integers(2, 60), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_order_and_restore_are_inverse_permutations(tokens: int, share: float, seed: int) -> None:
    n = max(1, int(share * tokens))
    masking = random_masking(uniform(4, tokens, seed=seed), n)
    assert masking.kept.shape == (4, n)
    assert (masking.hidden.sum(dim=1) == tokens - n).all()
    assert (masking.restore.sort(dim=1).values == torch.arange(tokens)).all()
    assert not masking.hidden.gather(1, masking.kept).any()
    # The visible tokens, put back, lie where they came from; everything else is the fill.
    names = torch.arange(tokens).float().expand(4, -1)[:, :, None]
    back = put_back(take(names, masking.kept), torch.full((1, 1, 1), -1.0), masking.restore)
    assert torch.equal(back, names.masked_fill(masking.hidden[:, :, None], -1.0))


def test_every_patch_is_hidden_equally_often_and_every_image_has_its_own_mask() -> None:
    draws, tokens, n = 20_000, 36, 9
    masking = random_masking(uniform(draws, tokens), n)
    share = masking.hidden.float().mean(dim=0)
    p = 1 - n / tokens
    assert (share - p).abs().max() < 5 * math.sqrt(p * (1 - p) / draws)
    together = (masking.hidden[:, 0] & masking.hidden[:, 1]).float().mean()  # without replacement
    assert float(together) == pytest.approx(27 / 36 * 26 / 35, abs=5 * 0.5 / math.sqrt(draws))
    assert len(torch.unique(masking.hidden[:100], dim=0)) > 90


# Patches


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_are_those_of_transformers(channels: int) -> None:
    config = ViTMAEConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=24, patch_size=4, num_channels=channels,
        decoder_hidden_size=8, decoder_num_hidden_layers=1, decoder_num_attention_heads=1,
    )  # fmt: skip
    theirs, images = ViTMAEForPreTraining(config), torch.randn(2, channels, 24, 24)
    patches = patchify(images, 4)
    torch.testing.assert_close(patches, theirs.patchify(images), atol=0, rtol=0)
    torch.testing.assert_close(unpatchify(patches, 4), images, atol=0, rtol=0)


def test_third_patch_of_the_second_row() -> None:
    images = torch.randn(2, 1, 24, 24)
    assert torch.equal(patchify(images, 4)[:, 6 + 2].reshape(2, 4, 4), images[:, 0, 4:8, 8:12])


def test_normalised_patches_have_no_mean_and_unit_deviation() -> None:
    patches = 5 + 3 * torch.randn(2, 9, 16)
    normalised = normalise_patches(patches)
    torch.testing.assert_close(normalised.mean(dim=2), torch.zeros(2, 9), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std(dim=2), torch.ones(2, 9), atol=1e-4, rtol=0)
    mean, deviation = patch_moments(patches)
    torch.testing.assert_close(normalised * deviation + mean, patches)
    assert normalise_patches(torch.ones(1, 1, 16)).abs().max() == 0  # a blank patch has no deviation


# The error


def test_constant_error_e_gives_its_square_whatever_the_mask() -> None:
    target = torch.randn(3, 36, 16)
    for n, e in ((1, 0.5), (9, -2.0), (35, 3.0)):
        hidden = random_masking(uniform(3, 36), n).hidden
        torch.testing.assert_close(masked_error(target + e, target, hidden), torch.full((3,), e * e))
        assert masked_error(target, target, hidden).abs().max() == 0


def test_it_is_the_mean_over_the_pixels_that_are_hidden() -> None:
    predicted, target = torch.randn(2, 3, 36, 16)
    hidden = random_masking(uniform(3, 36), 9).hidden
    error = masked_error(predicted, target, hidden)
    for row in range(3):
        expected = ((predicted - target)[row, hidden[row]] ** 2).mean()
        torch.testing.assert_close(error[row], expected)
    # With n visible of N and a ratio that divides N, 1/ratio times the mean over all pixels is the same (MVMAE's form).
    share = hidden.float().mean()
    everywhere = ((predicted - target) ** 2 * hidden[:, :, None]).mean(dim=(1, 2)) / share
    torch.testing.assert_close(error, everywhere)


def test_visible_patches_of_the_target_count_for_nothing() -> None:
    predicted, target = torch.randn(2, 3, 36, 16)
    target.requires_grad_()
    hidden = random_masking(uniform(3, 36), 9).hidden
    error = masked_error(predicted, target, hidden)
    (gradient,) = torch.autograd.grad(error.sum(), target)
    assert gradient[~hidden].abs().max() == 0
    assert (gradient[hidden] != 0).any(dim=-1).all()
    changed = torch.where(hidden[:, :, None], target, target + 7)
    assert torch.equal(masked_error(predicted, changed, hidden), error)


def test_error_is_float32_of_half_precision_predictions() -> None:
    hidden = random_masking(uniform(2, 36), 9).hidden
    target = 100 + torch.randn(2, 36, 16)
    error = masked_error(target.bfloat16(), target, hidden)
    assert error.dtype == torch.float32
    expected = ((target.bfloat16().double() - target.double())[0, hidden[0]] ** 2).mean()
    assert float(error[0]) == pytest.approx(float(expected), rel=1e-5)
