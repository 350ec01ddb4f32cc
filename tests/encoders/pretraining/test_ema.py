import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cxrbench.encoders.pretraining.ema import MovingAverage, linear_momentum


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3))


def test_starts_as_a_copy_that_is_another_object_and_has_no_gradients() -> None:
    source = network()
    average = MovingAverage(source)
    for ours, theirs in zip(average.parameters(), source.parameters(), strict=True):
        assert ours is not theirs
        assert ours.data_ptr() != theirs.data_ptr()
        assert not ours.requires_grad
        assert theirs.requires_grad
        assert torch.equal(ours, theirs)
    assert not average(torch.randn(4, 5, requires_grad=True)).requires_grad


def test_momentum_one_moves_nothing_and_zero_copies() -> None:
    average, before, other = MovingAverage(network(0)), network(0), network(1)
    average.update(other, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(average.parameters(), before.parameters(), strict=True))
    average.update(other, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(average.parameters(), other.parameters(), strict=True))


def test_closed_form_for_a_source_that_stands_still() -> None:
    """θ'_k = θ + τ^k (θ'_0 - θ)."""
    start, source = network(0), network(1)
    average, momentum, steps = MovingAverage(start), 0.9, 20
    for _ in range(steps):
        average.update(source, momentum)
    for moved, first, last in zip(average.parameters(), start.parameters(), source.parameters(), strict=True):
        torch.testing.assert_close(moved, (last + momentum**steps * (first - last)).detach(), atol=1e-6, rtol=0)


def test_equals_torchs_own_average_of_a_moving_source() -> None:
    source = network()
    ours = MovingAverage(source)
    theirs = AveragedModel(source, multi_avg_fn=get_ema_multi_avg_fn(0.95))
    theirs.update_parameters(source)  # its first call copies
    for _ in range(15):
        with torch.no_grad():
            for parameter in source.parameters():
                parameter.add_(torch.randn_like(parameter))
        ours.update(source, 0.95)
        theirs.update_parameters(source)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), atol=1e-6, rtol=0)


def test_buffers_are_copied() -> None:
    source = network()
    average = MovingAverage(source)
    source(torch.randn(9, 5))
    average.update(source, 0.999)
    assert all(torch.equal(a, b) for a, b in zip(average.buffers(), source.buffers(), strict=True))


def test_follows_in_bfloat16_where_small_steps_would_be_rounded_away() -> None:
    source = nn.Linear(1, 1, bias=False).bfloat16()
    nn.init.constant_(source.weight, 1.0)
    average = MovingAverage(source)
    naive = copy.deepcopy(source.weight.detach())
    nn.init.constant_(source.weight, 1.5)
    for _ in range(100):
        average.update(source, 0.999)
        naive.lerp_(source.weight.detach(), 0.001)
    assert float(naive) == 1.0
    assert float(next(average.parameters())) == pytest.approx(1.5 - 0.5 * 0.999**100, abs=1e-5)


def test_momentum_is_linear_and_clamped() -> None:
    momenta = [linear_momentum(0.996, 1.0, share) for share in (0, 0.25, 0.5, 1, 1.01)]
    assert momenta == pytest.approx([0.996, 0.997, 0.998, 1.0, 1.0])
