"""torchxrayvision's own networks beside ours, where that package is installed: it is no dependency."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrbench.data.decode.preprocess import prepare
from cxrbench.engine.registry import load_encoder

xrv: Any = pytest.importorskip("torchxrayvision", reason="torchxrayvision is not installed", exc_type=ImportError)


def test_features_of_its_own_densenet_on_three_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = xrv.models.DenseNet(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "d.pt")
    loaded = load_encoder(f"cxr:xrv-densenet121-all@{tmp_path / 'd.pt'}", synthetic=False)
    for seed, (height, width) in enumerate(((300, 300), (224, 224), (500, 500))):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
        gray = torch.from_numpy(xrv.utils.normalize(pixels, 255))[None, None]
        ours = prepare((pixels / 255).astype(np.float32), loaded.module.preprocess)[None]
        images = xrv.utils.fix_resolution(gray, 224, theirs)
        torch.testing.assert_close(ours, images, atol=0.02, rtol=0)  # of 2048
        with torch.inference_mode():
            torch.testing.assert_close(loaded.module(ours).pooled, theirs.features2(images), atol=1e-4, rtol=1e-3)
            torch.testing.assert_close(loaded.module(images).pooled, theirs.features2(images), atol=1e-5, rtol=1e-5)
