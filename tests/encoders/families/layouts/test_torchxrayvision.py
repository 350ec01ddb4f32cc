"""torchxrayvision's own networks beside ours: features of three images each, with random weights in its layout."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

# its package has no types
import torchxrayvision as xrv  # type: ignore[import-untyped]

from cxrbench.data.decode.preprocess import prepare
from cxrbench.engine.registry import load_encoder

LEVELS = 0.002  # of 2048: both resize floating-point numbers, in another order of additions


def images_of(sides: tuple[int, int, int]) -> list[np.ndarray]:
    """8-bit squares: its package refuses others, and asks its user to crop."""
    return [np.random.default_rng(s).integers(0, 256, (side, side)).astype(np.uint8) for s, side in enumerate(sides)]


def compare(spec: str, size: int, theirs: Any, features: Any, sides: tuple[int, int, int]) -> None:
    """Pixels as both prepare them, and features of their pixels and of ours."""
    module = load_encoder(spec, synthetic=False).module
    for pixels in images_of(sides):
        gray = torch.from_numpy(xrv.utils.normalize(pixels, 255))[None, None]
        images = xrv.utils.fix_resolution(gray, size, theirs)
        ours = prepare((pixels / 255).astype(np.float32), module.preprocess)[None]
        torch.testing.assert_close(ours, images, atol=LEVELS, rtol=0)
        with torch.inference_mode():
            expected = features(images)
            torch.testing.assert_close(module(images).pooled, expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(module(ours).pooled, expected, atol=1e-4, rtol=1e-3)


def test_features_of_its_own_densenet(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs: Any = xrv.models.DenseNet(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "d.pt")
    compare(f"cxr:xrv-densenet121-all@{tmp_path / 'd.pt'}", 224, theirs, theirs.features2, (300, 224, 500))


def test_features_of_its_own_resnet(tmp_path: Path) -> None:
    """It reads its file from a folder; there lies one with random weights under the published name."""
    torch.manual_seed(0)
    network: Any = torchvision.models.resnet50(weights=None, num_classes=18)
    network.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    path = tmp_path / "pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt"
    torch.save(network.state_dict(), path)
    theirs = xrv.models.ResNet(weights="resnet50-res512-all", cache_dir=str(tmp_path))
    compare(f"cxr:xrv-resnet50-all@{path}", 512, theirs, theirs.features, (600, 512, 300))
