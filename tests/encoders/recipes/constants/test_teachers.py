"""What a dry run prints of PaCX-MAE's teachers are the numbers of their networks, filters and trainings."""

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import butter, iirnotch
from torch import Tensor, nn

from cxrbench.encoders.ecg import features, signal, teacher
from cxrbench.encoders.ecg.net1d import Net1D
from cxrbench.encoders.labs import autoencoder
from cxrbench.encoders.pacx.options import OPTIONS
from support.measured import told

pytestmark = pytest.mark.usefixtures("one_thread")
TEACHERS = OPTIONS.read({}).teachers()


class Rates(torch.optim.AdamW):
    """AdamW that steps on nothing and tells of every step its learning rate."""

    made: "Rates"

    def __init__(self, groups: Any, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(groups, lr=lr, weight_decay=weight_decay)
        self.rates: list[float] = []
        Rates.made = self

    def step(self, closure: Any = None) -> None:
        self.rates.append(self.param_groups[0]["lr"])

    @property
    def warmup(self) -> int:
        """Steps with rising rate."""
        return int(np.argmax(self.rates)) + 1


class Small(nn.Module):
    """One number in the place of a network, which tells how many rows it is given at most, and of which shape."""

    width = 1
    rows = 0
    shape: tuple[int, ...] = ()

    def __init__(self, *_: object) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        Small.rows, Small.shape = max(Small.rows, len(x)), tuple(x.shape)
        return x * self.one if x.ndim == 2 else x.mean(dim=(1, 2))[:, None] * self.one


def trained_labs(studies: int, monkeypatch: pytest.MonkeyPatch) -> Rates:
    monkeypatch.setattr(autoencoder, "AdamW", Rates)
    monkeypatch.setattr(autoencoder, "LabsDAE", Small)
    Small.rows = 0
    autoencoder.train_dae(torch.rand(studies, 2), torch.ones(studies, 2), recipe=TEACHERS.labs_recipe)
    return Rates.made


def test_of_the_labs_autoencoder(monkeypatch: pytest.MonkeyPatch) -> None:
    network = autoencoder.LabsDAE(5)
    noise = torch.linspace(0, 1, 10_001)[:, None]
    hidden = autoencoder.corrupted(torch.ones_like(noise), torch.ones_like(noise), noise)[1] == 0
    few, many = len(trained_labs(2, monkeypatch).rates), trained_labs(40 * 256, monkeypatch)
    assert {name: one for name, one in told("pacx").items() if name.startswith("labs_")} == {
        "labs_hidden": pytest.approx(float(noise[hidden].max()), abs=2e-4),
        "labs_inside": network.encoder[0].out_features,
        "labs_width": network.encoder[3].out_features,
        "labs_epochs": len(many.rates) * Small.rows / (40 * 256),
        "labs_least_steps": few,
        "labs_batch": Small.rows,
        "labs_lr": pytest.approx(max(many.rates)),
        "labs_weight_decay": many.param_groups[0]["weight_decay"],
        "labs_warmup_steps": many.warmup,
    }
    stated = (50, 256, 3e-4, 0.01, 200)  # PaCX-MAE A.1.1
    assert (
        tuple(told("pacx")[f"labs_{one}"] for one in ("epochs", "batch", "lr", "weight_decay", "warmup_steps"))
        == stated
    )
    assert not {one for one in told("pacx", modalities="ecg") if one.startswith("labs_")}


def test_of_the_ecg_and_its_teacher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {name: one for name, one in told("pacx").items() if name.startswith("ecg_")}
    mains, quality = values["ecg_notch"]
    notch: Any = iirnotch(mains, quality, values["ecg_rate"])
    band: Any = butter(values["ecg_order"], values["ecg_band"], "bandpass", fs=values["ecg_rate"])
    for ours, wanted in zip((*signal.NOTCH, *signal.PASS), (*notch, *band), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-12)
    kernels: set[int] = set()
    monkeypatch.setattr(signal, "medfilt", lambda lead, kernel: (kernels.add(kernel), 0 * lead)[1])
    signal.ecgfounder_input(np.random.default_rng(0).normal(size=(12, 1000)))
    network = Net1D(teacher.SMALL)
    stages: list[Any] = list(network.stage_list)
    first = stages[0].block_list[0].conv2.conv
    rng = np.random.default_rng(0)
    outlier = teacher.standardized(np.concatenate([rng.normal(size=(999, 1)), [[1e3]]]))
    monkeypatch.setattr(teacher, "AdamW", Rates)
    monkeypatch.setattr(teacher, "Net1D", Small)
    monkeypatch.setattr(features, "features", lambda each: rng.normal(size=143))
    errors: list[Tensor] = []

    def error(guess: Tensor, wanted: Tensor, reduction: str) -> Tensor:
        errors.append(torch.ones_like(guess).requires_grad_())
        return errors[-1]

    monkeypatch.setattr(teacher, "smooth_l1_loss", error)
    Small.rows = 0
    teacher.train_teacher(rng.normal(size=(40, 12, 2500)).astype(np.float32), TEACHERS.ecg_recipe)
    assert errors[0].grad is not None
    weights = errors[0].grad[0].tolist()  # of a recording's measurements in the loss
    assert values == {
        **{name: values[name] for name in ("ecg_rate", "ecg_notch", "ecg_band", "ecg_order")},  # compared above
        "ecg_baseline": kernels.pop(),
        "ecg_filters": tuple(stage.block_list[0].conv3.conv.out_channels for stage in stages),
        "ecg_blocks": tuple(len(stage.block_list) for stage in stages),
        "ecg_kernel": network.first_conv.conv.kernel_size[0],
        "ecg_group": first.in_channels // first.groups,
        "ecg_steps": len(Rates.made.rates),
        "ecg_batch": Small.rows,
        "ecg_crop": Small.shape[2],
        "ecg_lr": pytest.approx(max(Rates.made.rates)),
        "ecg_weight_decay": Rates.made.param_groups[0]["weight_decay"],
        "ecg_warmup_steps": Rates.made.warmup,
        "ecg_largest": float(np.abs(outlier).max()),
        "ecg_groups": tuple(len(list(same)) for _, same in groupby(weights)),
    }
    assert first.kernel_size == network.first_conv.conv.kernel_size
    given = tmp_path / "12_lead_ECGFounder.pth"
    given.touch()
    assert {"ecg_rate", "ecg_baseline"} <= set(told("pacx", ecg=str(given)))
    assert "ecg_steps" not in told("pacx", ecg=str(given))
