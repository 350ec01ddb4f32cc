"""PaCX-MAE's losses (docs/methods.md) against their invariants, formulas, and other libraries."""

import math
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor

from cxrbench.encoders.pacx.losses import Pair, contrastive_loss, info_nce, regression_loss

SMOOTHING = 0.02


@dataclass
class Sizes:
    batch: int = 6
    projection: int = 5
    embedding: int = 7


def pair(seed: int, present: Tensor | None = None, sizes: Sizes | None = None) -> Pair:
    s, g = sizes or Sizes(), torch.Generator().manual_seed(seed)
    image, other = torch.randn(2, s.batch, s.projection, generator=g)
    predicted, target = torch.randn(2, s.batch, s.embedding, generator=g)
    return Pair(image, other, predicted, target, torch.ones(s.batch, dtype=torch.bool) if present is None else present)


# 5. The contrast


@pytest.mark.parametrize("smoothing", [0.0, SMOOTHING, 0.3])
def test_equal_logits_give_the_logarithm_of_the_choices(smoothing: float) -> None:
    same = torch.ones(9, 4)
    assert float(info_nce(same, same, 50.0, smoothing)) == pytest.approx(math.log(9), abs=1e-5)


def test_the_floor_with_smoothing_is_the_entropy_of_the_smoothed_target() -> None:
    k = 128
    own, others = 1 - SMOOTHING + SMOOTHING / k, SMOOTHING / k
    entropy = -own * math.log(own) - (k - 1) * others * math.log(others)
    assert entropy == pytest.approx(0.1936, abs=1e-4)
    gap = math.log(own / others)  # by which the right logit exceeds the others where the loss is least
    eye = torch.eye(k, dtype=torch.float64)
    assert float(info_nce(eye, eye, gap, SMOOTHING)) == pytest.approx(entropy, abs=1e-5)
    for scale in (1.0, gap - 1, gap + 1, 100.0):
        assert float(info_nce(eye, eye, scale, SMOOTHING)) > entropy
        assert float(info_nce(eye, eye, scale, 0.0)) >= 0
    assert float(info_nce(eye, eye, 100.0, 0.0)) == pytest.approx(0, abs=1e-6)


def test_the_contrast_is_its_formula() -> None:
    a, b = torch.randn(2, 6, 5, dtype=torch.float64)
    logits = 7.0 * torch.from_numpy(cosine_similarity(a.numpy(), b.numpy()))
    target = (1 - SMOOTHING) * torch.eye(6) + SMOOTHING / 6
    rows, columns = (-(target * torch.log_softmax(logits, dim)).sum(dim).mean() for dim in (1, 0))
    assert float(info_nce(a, b, 7.0, SMOOTHING)) == pytest.approx(float(rows + columns) / 2, abs=1e-5)


def test_the_contrast_is_symmetric_and_knows_no_order_and_no_length() -> None:
    a, b = torch.randn(2, 8, 5)
    loss = info_nce(a, b, 10.0, SMOOTHING)
    order = torch.randperm(8)
    torch.testing.assert_close(info_nce(b, a, 10.0, SMOOTHING), loss)
    torch.testing.assert_close(info_nce(a[order], b[order], 10.0, SMOOTHING), loss)
    torch.testing.assert_close(info_nce(3 * a, b * torch.rand(8, 1).add(0.1), 10.0, SMOOTHING), loss)


def test_modalities_are_averaged() -> None:
    one, two = pair(0), pair(1)
    both = contrastive_loss([one, two], 10.0, SMOOTHING)
    alone = [info_nce(p.image, p.other, 10.0, SMOOTHING) for p in (one, two)]
    torch.testing.assert_close(both, sum(alone) / torch.tensor(2.0))


def test_losses_are_float32_under_autocast() -> None:
    p = pair(0, sizes=Sizes(64, 32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = contrastive_loss([p], 100.0, SMOOTHING), regression_loss([p])
    plain = contrastive_loss([p], 100.0, SMOOTHING), regression_loss([p])
    assert [float(x) for x in mixed] == [float(x) for x in plain]
    assert {x.dtype for x in mixed} == {torch.float32}


# 6. The regression


def test_the_regression_is_one_minus_the_cosine() -> None:
    p = pair(0)
    expected = 1 - F.cosine_similarity(p.predicted, p.target).mean()
    torch.testing.assert_close(regression_loss([p]), expected)
    assert 0 <= float(expected) <= 2
    ends = [float(regression_loss([p._replace(predicted=sign * p.target)])) for sign in (2.0, -0.1)]
    assert ends == pytest.approx([0, 2], abs=1e-6)
    longer = p._replace(predicted=5 * p.predicted, target=p.target * torch.rand(6, 1).add(0.1))
    torch.testing.assert_close(regression_loss([longer]), expected)


def test_targets_of_the_regression_get_no_gradient() -> None:
    p = pair(0)
    p.target.requires_grad_()
    p.predicted.requires_grad_()
    regression_loss([p]).backward()
    assert p.target.grad is None
    assert p.predicted.grad is not None
    assert p.predicted.grad.abs().sum() > 0


# 7. Missing modalities


def test_a_modality_that_no_image_has_is_as_good_as_left_out() -> None:
    one, none = pair(0), pair(1, torch.zeros(6, dtype=torch.bool))
    assert float(contrastive_loss([one, none], 10.0, SMOOTHING)) == float(contrastive_loss([one], 10.0, SMOOTHING))
    assert float(regression_loss([none, one])) == float(regression_loss([one]))


def test_images_without_a_modality_do_not_count_in_it() -> None:
    present = torch.tensor([True, False, True, True, False, True])
    p = pair(0, present)
    rest = Pair._make(rows[present] for rows in p)
    noise = [torch.where(present[:, None], rows, 1e3 * torch.randn(rows.shape)) for rows in p[:4]]
    for other in (rest, Pair._make([*noise, present])):
        torch.testing.assert_close(contrastive_loss([other], 10.0, SMOOTHING), contrastive_loss([p], 10.0, SMOOTHING))
        torch.testing.assert_close(regression_loss([other]), regression_loss([p]))


def test_without_any_modality_the_loss_is_a_zero_that_can_be_stepped_on() -> None:
    none = pair(0, torch.zeros(6, dtype=torch.bool))
    none.predicted.requires_grad_()
    none.image.requires_grad_()
    loss = contrastive_loss([none, none], 10.0, SMOOTHING) + regression_loss([none, none])
    loss.backward()
    assert loss.item() == 0
    for rows in (none.predicted, none.image):
        assert rows.grad is not None
        assert rows.grad.abs().max() == 0


def test_a_single_image_with_a_modality_has_nothing_to_be_told_from() -> None:
    p = pair(0, torch.tensor([True] + 5 * [False]))
    assert float(contrastive_loss([p], 10.0, SMOOTHING)) == pytest.approx(0, abs=1e-6)
    assert regression_loss([p]).isfinite()
