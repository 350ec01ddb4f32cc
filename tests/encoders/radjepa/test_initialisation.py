"""I-JEPA's start in closed form: the deviation of every matrix, layer by layer."""

from typing import Any

import pytest
import torch
from torch import nn

from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.radjepa.objective import RadJEPA
from cxrbench.encoders.radjepa.options import OPTIONS

ARCH = ViTConfig(width=128, depth=5, heads=2, patch=8, size=32, channels=3, class_token=False)


def networks(**options: Any) -> tuple[RadJEPA, dict[str, nn.Module]]:
    """A model, and its two networks by name."""
    torch.manual_seed(0)
    model = RadJEPA(ARCH, OPTIONS.read({"predictor_depth": 3, **options}))
    return model, {"encoder": model.backbone, "predictor": model.predictor}


@pytest.mark.parametrize(
    ("options", "divided"),
    [({"variant": "official"}, False), ({"variant": "paper"}, True), ({"initialisation": "ijepa-undivided"}, False)],
)
def test_deviations_layer_by_layer(options: dict[str, Any], divided: bool) -> None:
    model, parts = networks(**options)
    for network in parts.values():
        matrices = {n: p for n, p in network.named_parameters() if p.ndim > 1 and n != "mask_token"}
        assert len(matrices) > 12
        for name, matrix in matrices.items():
            expected = 0.02
            if divided and name.endswith(("attn.proj.weight", "mlp.fc2.weight")):
                expected /= (2 * (int(name.split(".")[1]) + 1)) ** 0.5
            four_errors = 4 / (2 * matrix.numel()) ** 0.5
            assert float(matrix.detach().std()) == pytest.approx(expected, rel=four_errors), name
            assert abs(float(matrix.detach().mean())) < 5 * expected / matrix.numel() ** 0.5
        for name, vector in network.named_parameters():
            if vector.ndim == 1:
                assert bool((vector == (1.0 if "norm" in name and name.endswith("weight") else 0.0)).all()), name
    pairs = zip(model.target.module.state_dict().items(), model.backbone.state_dict().items(), strict=True)
    assert all(torch.equal(a, b) for (_, a), (_, b) in pairs)


def test_the_default_is_maes_and_follows_the_seed_as_the_untrained_backbone_does() -> None:
    width = ARCH.width
    for name, matrix in networks()[1]["encoder"].named_parameters():
        if name.endswith("attn.proj.weight"):
            assert float(matrix.detach().std()) == pytest.approx((2 / (width + width)) ** 0.5, rel=0.03)  # Xavier's
    first, again = (networks(initialisation="ijepa")[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
