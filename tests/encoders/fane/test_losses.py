"""FaNe's losses and semantic division against the invariants of its specification, numbered as there."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.loss import SigLipLoss
from torch import Tensor

from cxrbench.encoders.fane.division import SemanticDivision, centre_similarity, divide, normalised_similarity
from cxrbench.encoders.fane.losses import (
    hard_negatives,
    mean_within_report,
    multi_positive_sigmoid,
    negative_weights,
    within_report,
)

FORMS: Any = ("fixed", "paper", "official")


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def eye(n: int) -> Tensor:
    return torch.eye(n, dtype=torch.bool)


# 1. The average similarity, and how it is remembered


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 9), width=st.integers(1, 7), seed=st.integers(0, 99))
def test_average_similarity_is_the_length_of_the_mean(batch: int, width: int, seed: int) -> None:
    t = unit(batch, width, seed=seed)
    mean = t.mean(dim=0)
    average = float(centre_similarity(t))
    assert 0 <= average <= 1
    assert average == pytest.approx(float(F.cosine_similarity(t, mean[None]).mean()), abs=1e-9)
    assert float((t @ t.T).mean()) == pytest.approx(average**2, abs=1e-9)  # of all pairs, the diagonal among them


def test_normalised_similarity() -> None:
    s = torch.linspace(-1, 1, 201, dtype=torch.float64)
    for average in (0.0, 0.5, 0.9, 0.999999, 1.0):
        normalised = normalised_similarity(s, average)
        assert (normalised.diff() > 0).all()
        assert normalised[-1] <= 1
        assert float(normalised_similarity(torch.tensor(average), average)) == 0
    kappa, average = 0.95, 0.8
    threshold = average + kappa * (1 - average + 1e-6)
    just = torch.tensor([threshold - 1e-9, threshold + 1e-9], dtype=torch.float64)
    assert (normalised_similarity(just, average) > kappa).tolist() == [False, True]


def batches(count: int = 6) -> list[Tensor]:
    return [F.normalize(unit(5, 8, seed=i) + i / 5, dim=1).float() for i in range(count)]


def test_memory_is_an_exponential_moving_average() -> None:
    division, alpha = SemanticDivision(alpha=0.05), 0.05
    seen = [float(centre_similarity(t)) for t in batches()]
    for n, t in enumerate(batches(), 1):
        division(t)
        weights = [(1 - alpha) ** (n - 1), *(alpha * (1 - alpha) ** (n - 1 - k) for k in range(1, n))]  # of o_0, ô_k
        assert sum(weights) == pytest.approx(1)
        expected = sum(w * o for w, o in zip(weights, seen, strict=False))
        assert float(division.memory) == pytest.approx(expected, abs=1e-6)
        assert min(seen[:n]) - 1e-6 <= float(division.memory) <= max(seen[:n]) + 1e-6
    assert "memory" in division.state_dict()


def test_memory_stays_where_nothing_changes_and_outside_training() -> None:
    division, (first, second) = SemanticDivision(), batches(2)
    division(first)
    before = division.memory.clone()
    division(first)
    torch.testing.assert_close(division.memory, before)
    division.eval()(second)
    torch.testing.assert_close(division.memory, before)


def test_the_printed_average_forgets_all_but_the_last_batch() -> None:
    seen = [centre_similarity(t) for t in batches()]
    printed, recursive = SemanticDivision(ema="printed"), SemanticDivision()
    for i, t in enumerate(batches()):
        expected = 0.05 * seen[i] + 0.95 * seen[max(0, i - 1)]
        torch.testing.assert_close(printed.average(t), expected)
        recursive.average(t)
    assert abs(float(recursive.memory - seen[-2])) > 0.05


# 2. The division


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_division_is_symmetric_with_a_forced_diagonal(dtype: torch.dtype) -> None:
    t = unit(6, 8).to(dtype)
    t[3] = t[1]
    same = SemanticDivision(kappa=0.9)(t)
    assert same.diagonal().all()
    assert (same == same.T).all()
    assert same.sum() == 8  # the two that are equal find each other
    assert same[1, 3]
    for equal in (t[:1], t[:1].expand(4, -1)):  # one report, or the same four times: o = 1, S̃ = 0
        assert (SemanticDivision()(equal) == eye(len(equal))).all()
        cosines = F.normalize(equal.float(), dim=1) @ F.normalize(equal.float(), dim=1).T
        assert not (normalised_similarity(cosines, centre_similarity(F.normalize(equal.float(), dim=1))) > 0.95).any()


def test_no_other_report_is_a_positive_above_kappa_1() -> None:
    t = unit(5, 4).float()
    t[2] = t[0]
    for kappa in (1.0, 1.5):
        assert (SemanticDivision(kappa=kappa)(t) == eye(5)).all()
    assert (divide(t @ t.T, 0.0, 0.99)).sum() == 7


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 8), kappa=st.floats(-1.1, 1.1), seed=st.integers(0, 99))
def test_without_normalisation_the_cosines_themselves_are_compared(batch: int, kappa: float, seed: int) -> None:
    t = unit(batch, 3, seed=seed).float()
    division = SemanticDivision(kappa=kappa, similarity="cosine")
    cosines = F.cosine_similarity(t[:, None], t[None], dim=2)
    clear = (cosines - kappa).abs() > 1e-5  # of the last bits of two ways to compute a cosine
    same = division(t)
    assert (same == ((cosines > kappa) | eye(batch)))[clear].all()
    assert same.diagonal().all()
    assert division.memory.isnan()


def test_normalisation_asks_more_of_reports_that_are_all_alike() -> None:
    t = F.normalize(unit(8, 16) + 3 * unit(1, 16, seed=1), dim=1)  # as reports are: cosines far from 0
    average = float(centre_similarity(t))
    cosines = t @ t.T
    assert average > 0.9
    for kappa in (0.5, 0.8, 0.9, 0.95):
        raw, normalised = SemanticDivision(kappa, similarity="cosine")(t), SemanticDivision(kappa)(t)
        assert (raw | ~normalised).all()  # H of S̃ is in H of S, the more so the higher o: o + κ (1 - o) > κ
        threshold = average + kappa * (1 - average + 1e-6)
        assert (normalised == ((cosines > threshold) | eye(8))).all()
    assert SemanticDivision(0.8, similarity="cosine")(t).sum() > SemanticDivision(0.8)(t).sum()
    t[5] = t[2]
    assert (SemanticDivision(1.0, similarity="cosine")(t) == eye(8)).all()  # κ = 1: none but itself


# 3. The multi-positive sigmoid loss


def test_with_one_positive_it_is_siglip() -> None:
    v, t = unit(7, 16).float(), unit(7, 16, seed=1).float()
    scale, bias = torch.tensor(10.0), torch.tensor(-10.0)
    expected = SigLipLoss()(v, t, scale, bias)
    torch.testing.assert_close(multi_positive_sigmoid(v @ t.T, eye(7), scale, bias), expected)


def test_it_falls_with_positives_and_rises_with_negatives() -> None:
    s = (unit(5, 8) @ unit(5, 8, seed=1).T).requires_grad_()
    same = torch.rand(5, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    (gradient,) = torch.autograd.grad(multi_positive_sigmoid(s, same, 10.0, -10.0), s)
    assert (gradient[same] < 0).all()
    assert (gradient[~same] > 0).all()


def test_its_bias_keeps_the_first_loss_small() -> None:
    s = torch.zeros(98, 98)
    assert float(multi_positive_sigmoid(s, eye(98), 10.0, -10.0)) == pytest.approx(10.0, abs=0.01)
    assert float(multi_positive_sigmoid(s, eye(98), 26.6, 10.0)) == pytest.approx(970, abs=0.5)  # the sign as printed


# 6. Contrast within a report


def test_contrast_within_a_report() -> None:
    v, u = unit(3, 4, 8), unit(3, 4, 8, seed=1)
    present = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    sums, counts = within_report(v, u, present, 0.07)
    assert counts.tolist() == [4, 2, 1]
    assert (sums >= 0).all()
    assert float(sums[2]) == 0  # a sentence alone
    for b, p in enumerate(counts.tolist()):  # nothing of other reports, nothing of padding
        logits, own = v[b, :p] @ u[b, :p].T / 0.07, torch.arange(p)
        expected = p * (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        assert float(sums[b]) == pytest.approx(float(expected), abs=1e-6)
        assert float(within_report(v[[b]], u[[b]], present[[b]], 0.07)[0]) == pytest.approx(float(sums[b]), abs=1e-9)
    assert float(mean_within_report(sums, counts, per_report=False)) == pytest.approx(float(sums.sum()) / 7)
    assert float(mean_within_report(sums, counts, per_report=True)) == pytest.approx(float((sums / counts).mean()))


def test_equal_embeddings_within_a_report_give_the_logarithm_of_its_sentences() -> None:
    present = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)
    sums, counts = within_report(torch.ones(2, 5, 8), torch.ones(2, 5, 8), present, 0.07)
    torch.testing.assert_close(sums / counts, torch.tensor([5.0, 3.0]).log())


# 7. Hard negatives


@settings(max_examples=40, deadline=None)
@given(batch=st.integers(1, 8), seed=st.integers(0, 99), share=st.floats(0, 1))
def test_bounds_of_hard_negatives(batch: int, seed: int, share: float) -> None:
    t = unit(batch, 3, seed=seed)
    noise = torch.rand(batch, batch, generator=torch.Generator().manual_seed(seed))
    same = eye(batch) | (noise + noise.T < 2 * share)
    cosines = (t @ t.T).requires_grad_()
    weights = negative_weights(cosines.detach() / 0.07, ~same)
    assert (weights >= 0).all()
    assert not weights[same].any()
    torch.testing.assert_close(weights.sum(dim=1), (~same).any(dim=1).double())
    values = {form: hard_negatives(cosines, same, 0.07, form) for form in FORMS}
    assert all(bool(value.isfinite()) for value in values.values())
    assert float(values["fixed"].detach()) >= 0
    assert abs(float(values["official"].detach())) <= 1 / 0.07 + 1e-9
    assert float(values["paper"].detach()) >= float(same.sum(dim=1).double().log().mean()) - 1e-9
    for form in FORMS:
        (gradient,) = torch.autograd.grad(values[form], cosines, retain_graph=True)
        assert gradient.isfinite().all()
        assert not gradient[same].any()


def test_without_negatives_there_is_nothing_to_push() -> None:
    same = torch.ones(4, 4, dtype=torch.bool)
    cosines = torch.randn(4, 4, requires_grad=True)
    for form, expected in zip(FORMS, (0.0, math.log(4), 0.0), strict=True):
        value = hard_negatives(cosines, same, 0.07, form)
        assert float(value.detach()) == pytest.approx(expected)
        value.backward()
    assert cosines.grad is not None
    assert not cosines.grad.any()


def test_hard_negatives_against_their_formulas() -> None:
    t, batch, tau = unit(5, 3, seed=7), 5, 0.5
    cosines, same = t @ t.T, eye(5)
    same[0, 1] = same[1, 0] = True
    expected = dict.fromkeys(FORMS, 0.0)
    for i in range(batch):
        s = {j: float(cosines[i, j]) / tau for j in range(batch) if not same[i, j]}
        soft = {j: math.exp(s[j]) / sum(map(math.exp, s.values())) for j in s}
        expected["fixed"] += math.log(1 + sum(len(s) * soft[j] * math.exp(s[j]) for j in s)) / batch
        linear = {j: min(1.0, max(0.0, s[j] / sum(s.values()))) for j in s}
        expected["paper"] += math.log(batch - len(s) + sum(math.exp(linear[j] * s[j]) for j in s)) / batch
        twice = {j: math.exp(s[j] / tau) / sum(math.exp(v / tau) for v in s.values()) for j in s}
        expected["official"] += sum(twice[j] * s[j] for j in s) / batch
    for form in FORMS:
        assert float(hard_negatives(cosines, same, tau, form)) == pytest.approx(expected[form], abs=1e-9)


def test_the_papers_hard_negatives_are_finite_where_its_weights_are_singular() -> None:
    cosines = torch.tensor([[1.0, 0.5, -0.5], [0.5, 1.0, 0.0], [-0.5, 0.0, 1.0]], requires_grad=True)  # Σ = 0
    value = hard_negatives(cosines, eye(3), 0.07, "paper")
    value.backward()
    assert value.isfinite()
    assert cosines.grad is not None
    assert cosines.grad.isfinite().all()
