"""FaNe's attentions: torch's own multi-head attention, and the invariants of the specification (4. and 5.)."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxrbench.encoders.fane.attention import AttentionPool, SoftmaxPool, SparseAttentionPool, sparsity


def attention(mode: Any = "post", width: int = 6) -> SparseAttentionPool:
    torch.manual_seed(0)
    return SparseAttentionPool(width, mode)


def sentences_and_patches(width: int = 6) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 3, width), torch.randn(2, 10, width)


def with_mask(pool: SparseAttentionPool, bias: float) -> SparseAttentionPool:
    """The same with M = σ(bias) everywhere."""
    layers: Any = pool.mask
    last = layers[2]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, bias)
    return pool


def test_pool_is_torchs_attention_with_a_mean_query() -> None:
    torch.manual_seed(0)
    pool, tokens = AttentionPool(32, positions=9), torch.randn(3, 9, 32)
    positions = pool.positional_embedding
    assert positions is not None
    assert positions.shape == (10, 32)
    reference = nn.MultiheadAttention(32, 8, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([p.weight for p in (pool.q_proj, pool.k_proj, pool.v_proj)]))
        nn.init.normal_(pool.k_proj.bias)
        reference.in_proj_bias.copy_(torch.cat([p.bias for p in (pool.q_proj, pool.k_proj, pool.v_proj)]))
        reference.out_proj.load_state_dict(pool.c_proj.state_dict())
    whole = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + positions
    torch.testing.assert_close(pool(tokens), reference(whole[:, :1], whole, whole)[0][:, 0])


def test_pool_ignores_what_is_not_there() -> None:
    torch.manual_seed(0)
    pool, tokens = AttentionPool(16, inner=8), torch.randn(3, 5, 16)
    present = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)
    pooled = pool(torch.where(present[:, :, None], tokens, 1e3), present)
    for row, count in enumerate((5, 2, 1)):
        torch.testing.assert_close(pooled[row], pool(tokens[row : row + 1, :count])[0])
    torch.testing.assert_close(pool(tokens), pool(tokens.flip(1)))  # no positions


def test_softmax_pool_weighs_tokens_by_the_sum_of_their_scores() -> None:
    torch.manual_seed(0)
    pool, tokens = SoftmaxPool(16), torch.randn(3, 5, 16)
    assert pool.query.weight.shape == pool.key.weight.shape == (2, 16)
    present = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    pooled = pool(torch.where(present[:, :, None], tokens, 1e3), present)
    for row, count in enumerate((5, 2)):
        x = tokens[row, :count]
        scores = pool.query(x) @ pool.key(x).T  # [T, T], of each token with every other
        torch.testing.assert_close(pooled[row], scores.sum(dim=1).softmax(dim=0) @ x)
    assert not pooled[2].any()


@pytest.mark.parametrize("mode", ["pre", "post"])
def test_mask_and_attention_against_their_formula(mode: str) -> None:
    pool, (u, p) = attention(mode), sentences_and_patches()
    found = pool(u, p)
    q, k, v = pool.q_proj(u), pool.k_proj(p), pool.v_proj(p)
    assert pool.mask is not None
    pairs = torch.cat([q[:, :, None].expand(-1, -1, 10, -1), k[:, None].expand(-1, 3, -1, -1)], dim=3)
    mask = torch.sigmoid(pool.mask(pairs)[..., 0])  # the MLP as it is written
    scores = torch.einsum("bud,bkd->buk", q, k) / 6**0.5
    weights = torch.sigmoid(scores * mask) if mode == "pre" else torch.sigmoid(scores) * mask
    torch.testing.assert_close(found.mask, mask)
    torch.testing.assert_close(found.attention, weights)
    out = pool.out_proj(torch.einsum("buk,bkd->bud", weights, v))
    torch.testing.assert_close(found.visual, F.layer_norm(out, (6,)))
    for numbers in (found.mask, found.attention):
        assert ((numbers > 0) & (numbers < 1)).all()


def test_an_untrained_last_layer_of_zeros_gives_half() -> None:
    found = with_mask(attention(), 0.0)(*sentences_and_patches())
    assert found.mask is not None
    torch.testing.assert_close(found.mask, torch.full((2, 3, 10), 0.5))
    torch.testing.assert_close(sparsity(found.mask, torch.ones(2, 3, dtype=torch.bool)), torch.full((2,), 0.5))


def test_a_masked_patch_has_half_a_weight_before_the_sigmoid_and_none_after_it() -> None:
    u, p = sentences_and_patches()
    assert (with_mask(attention("pre"), -1e4)(u, p).attention == 0.5).all()
    found = with_mask(attention("post"), -1e4)(u, p)
    assert (found.attention == 0).all()
    shut = [with_mask(attention(mode), -1e4)(u, p).visual for mode in ("pre", "post")]
    uniform = attention().out_proj(0.5 * attention().v_proj(p).sum(dim=1))
    torch.testing.assert_close(shut[0], F.layer_norm(uniform, (6,))[:, None].expand(-1, 3, -1))


def test_without_a_mask_all_patches_are_weighed_as_through_one_that_is_open() -> None:
    pool, (u, p) = attention("none"), sentences_and_patches()
    found = pool(u, p)
    scores = torch.einsum("bud,bkd->buk", pool.q_proj(u), pool.k_proj(p)) / 6**0.5
    torch.testing.assert_close(found.attention, torch.sigmoid(scores))
    assert found.mask is None
    for mode in ("pre", "post"):
        masked = attention(mode)
        assert {name for name in masked.state_dict() if name not in pool.state_dict()} == {
            f"mask.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")
        }
        for name, tensor in pool.state_dict().items():  # the rest begins alike: only the mask differs
            torch.testing.assert_close(tensor, masked.state_dict()[name], rtol=0, atol=0)
        open_mask = with_mask(masked, 1e4)(u, p)
        torch.testing.assert_close(open_mask.attention, found.attention)
        torch.testing.assert_close(open_mask.visual, found.visual)


def test_sparsity_is_a_mean_over_sentences_and_patches() -> None:
    mask = torch.rand(2, 3, 10)
    present = torch.tensor([[True, True, False], [True, True, True]])
    values = sparsity(mask, present)
    assert float(values[0]) == pytest.approx(float(mask[0, :2].mean()))
    assert float(values[1]) == pytest.approx(float(mask[1].mean()))
    assert ((values > 0) & (values < 1)).all()


@pytest.mark.parametrize("mode", ["pre", "post", "none"])
def test_sentences_may_be_shuffled_and_patches_do_not_matter_in_order(mode: str) -> None:
    pool, (u, p) = attention(mode), sentences_and_patches()
    order, places = torch.tensor([2, 0, 1]), torch.randperm(10)
    expected = pool(u, p).visual
    torch.testing.assert_close(pool(u[:, order], p).visual, expected[:, order])
    torch.testing.assert_close(pool(u, p[:, places]).visual, expected)
