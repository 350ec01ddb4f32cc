"""Batch norms on several devices: synchronised where torch can, with the same names in the checkpoint."""

from typing import Any

import pytest
import torch
from torch import nn

from cxrbench.encoders.fane.image import ResNetConfig, build_image_tower
from cxrbench.encoders.pretraining.engine import trainer


@pytest.mark.parametrize(
    ("accelerator", "devices", "gpu", "expected"),
    [("auto", 2, True, True), ("gpu", 2, True, True), ("auto", 1, True, False), ("cpu", 2, True, False),
     ("auto", 2, False, False)],
)  # fmt: skip
def test_the_loop_asks_for_it_on_several_gpus(
    accelerator: str, devices: int, gpu: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SeenError(Exception):
        pass

    def build(**settings: Any) -> None:
        raise SeenError(settings["sync_batchnorm"])

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(trainer.lightning, "Trainer", build)
    module: Any = type("Module", (), {"plan": type("Plan", (), {"steps": 1, "accumulate": 1, "out": "."})})
    with pytest.raises(SeenError) as seen:
        trainer.run_trainer(module, [], precision="32", accelerator=accelerator, devices=devices)
    assert seen.value.args == (expected,)


def test_a_synchronised_resnet_keeps_its_names() -> None:
    tower = build_image_tower(ResNetConfig((1, 1, 1, 1), False, 32))
    names = set(tower.state_dict())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(tower)
    assert any(isinstance(part, nn.SyncBatchNorm) for part in converted.modules())
    assert set(converted.state_dict()) == names
