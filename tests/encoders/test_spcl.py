"""S-PCL against the invariants of its specification, numbered as there."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.pretraining.method import Batch, Draw
from cxrbench.encoders.spcl import (
    OPTIONS,
    SPCL,
    clip_loss,
    ntxent,
    partition,
    take,
    tsp_similarity,
    visible_tokens,
)
from cxrbench.errors import UserError

KAPPA = 1 / 64
ARCH = ViTConfig(width=64, depth=4, heads=1, patch=4, size=24, channels=1)  # 36 patches


def draw(seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed))


def objective(**options: object) -> SPCL:
    torch.manual_seed(0)
    return SPCL(ARCH, OPTIONS.read(options)).eval()


# 1. Two disjoint halves of an even number of patches


@settings(max_examples=50, deadline=None)
@given(tokens=st.integers(4, 300), percent=st.integers(0, 95), seed=st.integers(0, 99))
def test_partition_is_disjoint_and_even(tokens: int, percent: int, seed: int) -> None:
    n = visible_tokens(tokens, percent / 100)
    exact = tokens * (100 - percent)  # of 100ths of a token
    assert n % 2 == 0
    assert n * 100 <= exact < (n + 2) * 100
    v1, v2 = partition(draw(seed).rand(3, tokens), n)
    assert v1.shape == v2.shape == (3, n // 2)
    for a, b in zip(v1.tolist(), v2.tolist(), strict=True):
        assert len(set(a) | set(b)) == n
        assert all(0 <= k < tokens for k in a + b)


def test_without_masking_the_union_is_all_tokens() -> None:
    v1, v2 = partition(draw().rand(5, 36), visible_tokens(36, 0.0))
    assert (torch.cat([v1, v2], dim=1).sort(dim=1).values == torch.arange(36)).all()


def test_float_floor_of_the_official_code() -> None:
    assert visible_tokens(10, 0.9) == visible_tokens(11, 0.9, 0.0) == 0
    assert visible_tokens(20, 0.9) == 2
    assert visible_tokens(20, 0.9, slack=0.0) == 0  # int(20 * (1 - 0.9)) is 1
    for ratio in (0.3, 0.6, 0.65, 0.75, 0.9, 0.93):
        assert visible_tokens(196, ratio) == visible_tokens(196, ratio, slack=0.0)


# 2. Every patch is equally likely in either view


def test_partition_is_uniform() -> None:
    tokens, draws = 36, 40_000
    n = visible_tokens(tokens, 0.3)
    views = partition(draw(1).rand(draws, tokens), n)
    p = n / (2 * tokens)
    for view in views:
        share = torch.bincount(view.flatten(), minlength=tokens) / draws
        assert (share - p).abs().max() < 5 * math.sqrt(p * (1 - p) / draws)
    assert (views[0][0].sort().values != views[0][1].sort().values).any()  # each image has its own


# 3. The similarity


def test_similarity() -> None:
    c = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    for kappa in (1e-6, KAPPA, 1.0, 10.0):
        s = tsp_similarity(c, kappa)
        assert s[-1] == 1
        assert s[0] == 0
        assert float(s[500]) == pytest.approx(0.5 / (1 + kappa))
        assert (s.diff() > 0).all()
    torch.testing.assert_close(tsp_similarity(c, 1e-12), (1 + c) / 2)


@pytest.mark.parametrize("loss", [ntxent, clip_loss])
def test_loss_ignores_the_length_of_vectors(loss) -> None:
    z1, z2 = torch.randn(2, 5, 16)
    torch.testing.assert_close(loss(3.0 * z1, z2 * torch.rand(5, 1).add(0.1), 10.0, KAPPA), loss(z1, z2, 10.0, KAPPA))


# 4. Bounds of eq. 2


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 8), scale=st.floats(0.07, 100.0), seed=st.integers(0, 99))
def test_ntxent_bounds(batch: int, scale: float, seed: int) -> None:
    z1, z2 = torch.randn(2, batch, 3, generator=torch.Generator().manual_seed(seed))
    others = 2 * batch - 2
    low, high = (math.log1p(others * math.exp(sign * scale)) for sign in (-1, 1))
    assert low - 1e-5 <= float(ntxent(z1, z2, scale, KAPPA)) <= high + 1e-4


def test_ntxent_floor_is_reached() -> None:
    for scale in (0.07, 1 / 0.07):
        z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # B = 2: positives equal, negatives opposite
        assert float(ntxent(z, z, scale, KAPPA)) == pytest.approx(math.log1p(2 * math.exp(-scale)), abs=1e-6)
    assert float(ntxent(torch.randn(1, 4), torch.randn(1, 4), 14.0, KAPPA)) == pytest.approx(0, abs=1e-6)


def test_multiplying_by_a_temperature_would_leave_nothing_to_learn() -> None:
    floor, start = math.log1p(1198 * math.exp(-0.07)), math.log(1199)
    assert (floor, start) == pytest.approx((7.019, 7.089), abs=1e-3)
    assert math.log1p(1198 * math.exp(-1 / 0.07)) == pytest.approx(7.5e-4, abs=1e-5)
    assert objective().log_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-6)


def test_ntxent_against_its_formula() -> None:
    z = F.normalize(torch.randn(8, 5, dtype=torch.float64), dim=1)
    scale, batch = 7.0, 4
    terms = []
    for i in range(2 * batch):
        s = [0.5 * (1 + float(z[i] @ z[j])) / (1 + (1 - float(z[i] @ z[j])) * KAPPA) for j in range(2 * batch)]
        total = sum(math.exp(scale * s[j]) for j in range(2 * batch) if j != i)
        terms.append(-math.log(math.exp(scale * s[(i + batch) % (2 * batch)]) / total))
    assert float(ntxent(z[:4], z[4:], scale, KAPPA)) == pytest.approx(sum(terms) / 8, abs=1e-5)


# 5. Collapse


@pytest.mark.parametrize("scale", [0.07, 14.0, 100.0])
@pytest.mark.parametrize("kappa", [KAPPA, 2.0])
def test_equal_vectors_give_the_logarithm_of_the_choices(scale: float, kappa: float) -> None:
    z = torch.ones(6, 4)
    assert float(ntxent(z, z, scale, kappa)) == pytest.approx(math.log(11), abs=1e-5)
    assert float(clip_loss(z, z, scale, kappa)) == pytest.approx(math.log(6), abs=1e-5)


# 6. and 7. Symmetries


@pytest.mark.parametrize("loss", [ntxent, clip_loss])
def test_swapping_views_or_permuting_images_changes_nothing(loss) -> None:
    z1, z2 = torch.randn(2, 7, 16)
    order = torch.randperm(7)
    torch.testing.assert_close(loss(z2, z1, 10.0, KAPPA), loss(z1, z2, 10.0, KAPPA))
    torch.testing.assert_close(loss(z1[order], z2[order], 10.0, KAPPA), loss(z1, z2, 10.0, KAPPA))


def test_permuting_tokens_inside_a_view_changes_nothing() -> None:
    backbone, images = objective().backbone, torch.randn(3, 1, 24, 24)
    tokens = backbone.embed(images)
    view, _ = partition(draw().rand(3, 36), 24)
    shuffled = view[:, torch.randperm(12)]
    z, z_shuffled = (backbone.encode(take(tokens, index))[:, 0] for index in (view, shuffled))
    torch.testing.assert_close(z, z_shuffled, atol=1e-5, rtol=0)


def test_gradient_reaches_the_backbone_and_the_scale_but_not_the_positions() -> None:
    model = objective()
    model(Batch(torch.randn(4, 1, 24, 24)), draw()).value.backward()
    assert not model.backbone.pos_embed.requires_grad
    assert model.backbone.pos_embed.grad is None
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


# 8. One encoder call on both views


def test_one_encoder_call_on_two_short_sequences_per_image(monkeypatch: pytest.MonkeyPatch) -> None:
    model, shapes = objective(), []
    block = model.backbone.blocks[0]
    block.register_forward_pre_hook(lambda module, arguments: shapes.append(tuple(arguments[0].shape)))
    model(Batch(torch.randn(5, 1, 24, 24)), draw())
    n = visible_tokens(36, 0.3)
    assert shapes == [(10, n // 2 + 1, 64)]


# Variants and options


def test_variants_switch_what_they_say() -> None:
    fixed, paper, official = (objective(variant=v) for v in ("fixed", "paper", "official"))
    assert [m.options.ratio for m in (fixed, paper, official)] == [0.3, 0.6, 0.9]
    assert [m.options.loss for m in (fixed, paper, official)] == ["ntxent", "ntxent", "clip"]
    assert [m.log_scale.requires_grad for m in (fixed, paper, official)] == [True, True, False]
    assert [m.options.augment for m in (fixed, paper, official)] == [False, False, True]
    with torch.no_grad():
        for model in (fixed, paper):
            model.log_scale.fill_(math.log(500.0))
    images = torch.randn(2, 1, 24, 24)
    scales = [float(m(Batch(images), draw()).logged["logit_scale"]) for m in (fixed, paper, official)]
    assert scales == pytest.approx([100, 500, 1 / 0.07], rel=1e-5)


def test_options_override_the_variant_and_may_be_text() -> None:
    options = OPTIONS.read({"variant": "official", "ratio": "0.5", "augment": "false"})
    assert (options.ratio, options.loss, options.augment) == (0.5, "clip", False)
    for wrong in ({"mask": 1}, {"variant": "other"}, {"ratio": "x"}, {"ratio": 1.0}, {"kappa": 0}, {"loss": "mse"}):
        with pytest.raises(UserError):
            OPTIONS.read(wrong)
    with pytest.raises(UserError, match="leaves no patch"):
        objective(ratio=0.99)


def test_augmentation_follows_the_draw_alone() -> None:
    model, images = objective(variant="official", ratio=0.5), torch.randn(4, 1, 48, 48)
    one, again, other = (model.augmented(Batch(images), draw(seed)).images for seed in (3, 3, 4))
    assert one.shape == (4, 1, 24, 24)
    assert torch.equal(one, again)
    assert all((one[k] != other[k]).any() for k in range(4))


def test_loss_is_float32_under_autocast() -> None:
    z1, z2 = torch.randn(2, 64, 32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = ntxent(z1, z2, 100.0, KAPPA)
    assert mixed.dtype == torch.float32
    assert float(mixed) == float(ntxent(z1, z2, 100.0, KAPPA))


def test_it_learns_to_match_views() -> None:
    """Images that carry a faint pattern of their own in every patch can be matched; the loss must find that out."""
    generator = torch.Generator().manual_seed(0)
    pattern = torch.randn(16, 1, 4, 4, generator=generator).repeat(1, 1, 6, 6)
    images = 0.2 * pattern + torch.randn(16, 1, 24, 24, generator=generator)
    model = objective(ratio=0.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses: list[float] = []
    for step in range(40):
        loss = model(Batch(images), draw(step)).value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 2.0
    assert losses[-1] < 0.5 * losses[0]
