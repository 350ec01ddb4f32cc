"""Net1D: ECGFounder's architecture against numbers of the public implementation, and its checkpoint's layout."""

from pathlib import Path

import pytest
import torch
from torch import nn

from cxrbench.encoders.ecg.net1d import Net1D, Net1DConfig, load_net1d
from cxrbench.errors import UserError

SMALL = Net1DConfig((16, 48), (2, 1), 16, 16, 16)


def fill(net: nn.Module) -> nn.Module:
    """Weights that follow from a formula."""
    with torch.no_grad():
        for name, p in net.named_parameters():
            i = torch.arange(p.numel(), dtype=torch.float64)
            scale = p[0].numel() ** 0.5 if p.ndim > 1 else 10
            p.copy_((0.9 * torch.sin(1.7 * i + len(name)) / scale).view(p.shape).float())
    return net


def published(net: Net1D, path: Path, classes: int = 150) -> Path:
    """A training checkpoint as ECGFounder's: batch norms that are never run, a classifier, an optimizer beside it."""
    state = dict(net.state_dict())
    norms = {"first_bn": net.config.base}
    widths = (net.config.base, *net.config.filters)
    for s, blocks in enumerate(net.config.blocks):
        for b in range(blocks):
            inside = widths[s + 1]
            sizes = (inside if b else widths[s], inside, inside)
            norms |= {f"stage_list.{s}.block_list.{b}.bn{k}": size for k, size in enumerate(sizes, 1)}
    for name, size in norms.items():
        state |= {f"{name}.{key}": value for key, value in nn.BatchNorm1d(size).state_dict().items()}
    state |= {f"dense.{key}": value for key, value in nn.Linear(net.width, classes).state_dict().items()}
    torch.save({"step": 10, "state_dict": state, "optimizer_state_dict": {"state": {}}, "val_auroc": 0.92}, path)
    return path


def test_ecgfounder_has_the_parameters_that_its_authors_count() -> None:
    with torch.device("meta"):
        net = Net1D(Net1DConfig())
    assert net.width == 1024
    # 30,819,014 in the public implementation, with batch norms (three in a block) and a classifier of 150 rows
    norms = 2 * (64 + sum(3 * c * b for c, b in zip(net.config.filters, net.config.blocks, strict=True)))
    norms -= 2 * (net.config.filters[-1] - 64)  # the first norm of a stage is as wide as the stage before
    assert sum(p.numel() for p in net.parameters()) == 30_819_014 - norms - 150 * 1025


def test_features_are_those_of_the_public_implementation() -> None:
    """The numbers were printed by hsd1503/resnet1d's Net1D with ECGFounder's Swish, given the same weights."""
    t = torch.arange(12 * 101, dtype=torch.float64).view(1, 12, 101)
    with torch.no_grad():
        features = fill(Net1D(SMALL)).eval()((torch.sin(0.37 * t) + 0.3 * torch.cos(0.011 * t * t)).float())
    expected = [-0.035367, 0.039144, -0.008049, 0.23015, 0.188825, 0.245112, 0.087468, -0.01898]
    torch.testing.assert_close(features[0, ::6], torch.tensor(expected), atol=2e-6, rtol=0)


def test_published_layout_loads_strictly(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net1D(SMALL).eval()
    path, x = published(net, tmp_path / "12_lead.pth"), torch.randn(2, 12, 300)
    loaded = load_net1d(path)
    assert loaded.config == SMALL
    assert not any(p.requires_grad for p in loaded.parameters())
    torch.testing.assert_close(loaded(x), net(x), atol=0, rtol=0)
    checkpoint = torch.load(path)
    checkpoint["state_dict"].pop("stage_list.1.block_list.0.se_fc2.bias")
    checkpoint["state_dict"]["stage_list.0.extra"] = torch.zeros(1)
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match=r"1 missing: stage_list\.1.*1 unexpected: stage_list\.0\.extra"):
        load_net1d(path)


def test_other_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "x.pth")
    with pytest.raises(UserError, match="no 12-lead Net1D"):
        load_net1d(tmp_path / "x.pth")
    state = Net1D(SMALL).state_dict()
    state["first_conv.conv.weight"] = state["first_conv.conv.weight"][:, :1]  # the 1-lead ECGFounder
    torch.save({"state_dict": state}, tmp_path / "one.pth")
    with pytest.raises(UserError, match="no 12-lead Net1D"):
        load_net1d(tmp_path / "one.pth")
