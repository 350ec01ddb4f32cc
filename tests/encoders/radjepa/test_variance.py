"""VICReg's two terms against numpy's covariance, closed forms and their gradients; then inside RadJEPA's loss."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cxrbench.encoders.backbones.masking import take
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.pretraining.method import Batch, Draw, Loss
from cxrbench.encoders.radjepa import objective as radjepa
from cxrbench.encoders.radjepa.objective import RadJEPA
from cxrbench.encoders.radjepa.options import OPTIONS
from cxrbench.encoders.radjepa.variance import variance_covariance

ARCH = ViTConfig(width=64, depth=4, heads=1, patch=4, size=32, channels=1, class_token=False)


def by_numpy(embeddings: Tensor) -> tuple[float, float]:
    """Eq. 1 and 4 of VICReg with numpy's covariance."""
    covariance = np.cov(embeddings.detach().double().numpy(), rowvar=False)
    hinge = np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)).mean()
    return float(hinge), float((covariance[~np.eye(len(covariance), dtype=bool)] ** 2).sum() / len(covariance))


@pytest.mark.parametrize("scale", [0.05, 1.0, 3.0])
def test_both_terms_are_those_of_numpys_covariance(scale: float) -> None:
    embeddings = scale * torch.randn(12, 7, generator=torch.Generator().manual_seed(1)) + 5
    found = [float(term) for term in variance_covariance(embeddings)]
    assert found == pytest.approx(by_numpy(embeddings), rel=1e-4, abs=1e-6)
    under_autocast = torch.autocast("cpu", torch.bfloat16)
    with under_autocast:
        assert [float(term) for term in variance_covariance(embeddings)] == found


def test_equal_embeddings_one_direction_and_independent_ones_in_closed_form() -> None:
    hinge, covariance = variance_covariance(torch.full((8, 4), 3.0))
    assert float(hinge) == pytest.approx(0.99)  # 1 - sqrt(1e-4)
    assert float(covariance) == 0
    signs = torch.tensor([1.0, -1.0]).repeat(4)[:, None] * 7**0.5 / 8**0.5  # unbiased variance 1
    hinge, covariance = variance_covariance(signs.expand(8, 4))
    assert float(hinge) == pytest.approx(0)
    assert float(covariance) == pytest.approx(4 * 3 / 4, rel=1e-5)  # all correlations 1: what spread does not show
    hadamard = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.75**0.5
    hinge, covariance = variance_covariance(hadamard)
    assert (float(hinge), float(covariance)) == pytest.approx((0, 0), abs=1e-6)
    assert [float(term) for term in variance_covariance(torch.ones(1, 4))] == pytest.approx([0.99, 0])


def test_gradients_are_those_of_finite_differences() -> None:
    embeddings = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)) * 0.3
    embeddings.requires_grad_()
    sum(variance_covariance(embeddings)).backward()  # type: ignore[union-attr]
    assert embeddings.grad is not None
    step = 1e-3
    for row, column in ((0, 0), (3, 1), (4, 2)):
        ends = []
        for sign in (1, -1):
            moved = embeddings.detach().clone()
            moved[row, column] += sign * step
            ends.append(sum(by_numpy(moved)))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert float(embeddings.grad[row, column]) == pytest.approx(slope, rel=1e-2, abs=1e-4)


def run(images: Tensor, **options: object) -> tuple[RadJEPA, Loss]:
    """A small objective and its loss of these images, always of the same weights and masks."""
    torch.manual_seed(0)
    model = RadJEPA(ARCH, OPTIONS.read(options))
    return model, model(Batch(images), Draw(torch.Generator().manual_seed(0)))


def test_the_loss_is_that_without_and_the_weighted_terms_of_the_pooled_context() -> None:
    images = torch.randn(6, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    model, loss = run(images, variance=0.5)
    plain = run(images)[1]
    before, after = float(plain.value.detach()), float(loss.value.detach())
    context = model.masks(6, Draw(torch.Generator().manual_seed(0)), images.device).context
    pooled = model.backbone.encode(take(model.backbone.embed(images), context)).mean(dim=1)
    hinge, covariance = by_numpy(pooled)
    assert after == pytest.approx(before + 0.5 * (hinge + covariance), rel=1e-4)
    assert float(loss.logged["variance_hinge"]) == pytest.approx(hinge, rel=1e-4)
    assert float(loss.logged["covariance"]) == pytest.approx(covariance, rel=1e-3)
    assert not {"variance_hinge", "covariance"} & set(plain.logged)


def test_the_terms_are_of_the_images_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    alone = run(images, variance=1)[1].logged
    others = torch.randn(4, 64, generator=torch.Generator().manual_seed(3))
    monkeypatch.setattr(radjepa, "gather_batch", lambda rows: torch.cat([rows, others]))
    together = run(images, variance=1)[1].logged
    assert float(together["variance_hinge"]) != float(alone["variance_hinge"])
    monkeypatch.setattr(radjepa, "gather_batch", lambda rows: others)
    assert float(run(images, variance=1)[1].logged["covariance"]) == pytest.approx(by_numpy(others)[1], rel=1e-4)
