"""Net1D, the convolutional network of ECGFounder: a 12-lead recording in, one vector out.

Hong et al., Physiol. Meas. 41:10 (2020); Li et al., ECGFounder, arXiv 2410.04133. PaCX-MAE's paper calls its ECG
teacher a transformer; it is this. Names of parameters are those of the published checkpoint. That has batch norms, too,
which the network as published never runs (``use_bn=False``): they do not exist here and are left out in loading.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxrbench.errors import UserError
from cxrbench.files.checkpoints import load_strict, read_state_dict

LEADS = 12
STRIDE = 2  # of the first convolution and of each stage's first block; the weights do not tell
NEVER_RUN = re.compile(r"dense\.|first_bn\.|stage_list\.\d+\.block_list\.\d+\.bn[123]\.")


@dataclass(frozen=True)
class Net1DConfig:
    """The shape: channels and blocks of each stage, of the first convolution, length of kernels, channels of a group.

    The default is ECGFounder's.
    """

    filters: tuple[int, ...] = (64, 160, 160, 400, 400, 1024, 1024)
    blocks: tuple[int, ...] = (2, 2, 2, 3, 3, 4, 4)
    base: int = 64
    kernel: int = 16
    group: int = 16


class SameConv(nn.Module):
    """A convolution whose output has ceil(length / stride) samples; zeros are added, the odd one at the end."""

    def __init__(self, channels: int, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, filters, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, length] to [B, filters, ceil(length / stride)]."""
        (kernel,), (stride,) = self.conv.kernel_size, self.conv.stride
        missing = max(0, (-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1])
        return self.conv(F.pad(x, (missing // 2, missing - missing // 2)))


class Block(nn.Module):
    """A residual bottleneck: 1x1, grouped k, 1x1, each after a Swish; channels weighed by squeeze-and-excitation.

    ``first``: the first of the network, whose input has just been through a Swish. The shortcut has no weights: maxima
    of ``stride`` samples, zeros for channels that are new (half before, half after).
    """

    def __init__(self, channels: int, filters: int, config: Net1DConfig, stride: int, first: bool) -> None:
        super().__init__()
        self.stride, self.first, self.new = stride, first, filters - channels
        self.conv1 = SameConv(channels, filters)
        self.conv2 = SameConv(filters, filters, config.kernel, stride, groups=filters // config.group)
        self.conv3 = SameConv(filters, filters)
        self.se_fc1 = nn.Linear(filters, filters // 2)
        self.se_fc2 = nn.Linear(filters // 2, filters)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, length] to [B, filters, ceil(length / stride)]."""
        out = self.conv1(x if self.first else F.silu(x))
        out = self.conv3(F.silu(self.conv2(F.silu(out))))
        weights = torch.sigmoid(self.se_fc2(F.silu(self.se_fc1(out.mean(dim=2)))))
        shortcut = x
        if self.stride > 1:
            # With a zero where the last window is not full; published so, though it can win over negative samples.
            shortcut = F.max_pool1d(F.pad(x, ((self.stride - 1) // 2, self.stride // 2)), self.stride)
        if self.new:
            shortcut = F.pad(shortcut, (0, 0, self.new // 2, self.new - self.new // 2))
        return out * weights[:, :, None] + shortcut


class Stage(nn.Module):
    """Blocks at one resolution, the first of which halves it."""

    def __init__(self, channels: int, filters: int, blocks: int, config: Net1DConfig, first: bool) -> None:
        super().__init__()
        self.block_list = nn.ModuleList(
            Block(filters if n else channels, filters, config, 1 if n else STRIDE, first and n == 0)
            for n in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, length] to [B, filters, ceil(length / 2)]."""
        for block in self.block_list:
            x = block(x)
        return x


class Net1D(nn.Module):
    """Recordings [B, 12, samples], as ``ecg_signal`` makes them, to features [B, filters of the last stage]."""

    def __init__(self, config: Net1DConfig) -> None:
        super().__init__()
        self.config = config
        self.first_conv = SameConv(LEADS, config.base, config.kernel, STRIDE)
        channels = (config.base, *config.filters)
        self.stage_list = nn.ModuleList(
            Stage(channels[n], filters, blocks, config, first=n == 0)
            for n, (filters, blocks) in enumerate(zip(config.filters, config.blocks, strict=True))
        )

    @property
    def width(self) -> int:
        """Length of the feature vector."""
        return self.config.filters[-1]

    def forward(self, recordings: Tensor) -> Tensor:
        """The mean over time of the last stage."""
        x = F.silu(self.first_conv(recordings))
        for stage in self.stage_list:
            x = stage(x)
        return x.mean(dim=2)


def load_net1d(path: Path) -> Net1D:
    """ECGFounder's ``12_lead_ECGFounder.pth`` (a training checkpoint) or weights of ours, in evaluation mode.

    The classifier ``dense`` and the batch norms that are never run are left out; all else must fit. Raises UserError.
    """
    state = {name: value for name, value in read_state_dict(path).items() if not NEVER_RUN.match(name)}
    net = Net1D(infer_config(state, path))
    load_strict(net, state, path)
    return net.eval().requires_grad_(False)


def infer_config(state: Mapping[str, Tensor], path: object) -> Net1DConfig:
    """The shape of the network whose weights these are. Raises UserError if they are no 12-lead Net1D."""
    stages: dict[int, int] = {}
    for name in state:
        if match := re.fullmatch(r"stage_list\.(\d+)\.block_list\.(\d+)\.conv2\.conv\.weight", name):
            stage, block = int(match[1]), int(match[2])
            stages[stage] = max(stages.get(stage, 0), block + 1)
    first, what = state.get("first_conv.conv.weight"), "stage_list.{}.block_list.0.conv2.conv.weight"
    convs = [state.get(what.format(n)) for n in range(len(stages))]
    if first is None or first.shape[1] != LEADS or not convs or any(conv is None for conv in convs):
        has = ", ".join(sorted(state)[:4]) or "nothing"
        raise UserError(f"{path} is no 12-lead Net1D (it has {has}, ...): pass ECGFounder's 12_lead_ECGFounder.pth")
    filters = tuple(len(conv) for conv in convs if conv is not None)
    blocks = tuple(stages[n] for n in range(len(stages)))
    _, group, kernel = state[what.format(0)].shape
    return Net1DConfig(filters, blocks, len(first), kernel, group)
