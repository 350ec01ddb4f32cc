import pytest
import torch

from cxrbench.encoders.backbones.encoder import PHANTOM_ARCH, ViTEncoder
from cxrbench.encoders.backbones.vit import ARCHITECTURES
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from cxrbench.plugins.loading import probe


def test_pixels_are_mean_intensities() -> None:
    loaded = load_encoder("pixels", synthetic=False)
    assert probe(loaded).maps == ()
    images = torch.rand(3, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    expected = images.numpy().reshape(3, 16, 8, 16, 8).mean((2, 4)).reshape(3, 256)
    assert loaded.module(images).pooled.numpy() == pytest.approx(expected, abs=1e-6)
    assert loaded.module.preprocess.mean == (0.0,)
    assert loaded.module.preprocess.std == (1.0,)
    assert loaded.spec.parameters == 0


def test_random_is_the_untrained_backbone_of_its_seed() -> None:
    first, again, other = (load_encoder(t, synthetic=True) for t in ("random", "random@0", "random@1"))
    assert first.spec.weights_sha256 == again.spec.weights_sha256 != other.spec.weights_sha256
    module: object = first.module
    assert isinstance(module, ViTEncoder)
    assert module.backbone.config.depth == ARCHITECTURES[PHANTOM_ARCH].depth
    features = probe(first)
    assert features.pooled.std() > 0
    assert len(features.maps) == 4


def test_random_does_not_touch_the_global_generator() -> None:
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    load_encoder("random@3", synthetic=True)
    assert torch.equal(torch.rand(1), before)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("random:huge", "unknown architecture 'huge'"),
        ("random@x", "the seed, up to 18 digits"),
        ("random@1" + "0" * 5000, "the seed, up to 18 digits"),
        ("pixels:a", "no variants"),
        ("pixels@a", "no weights"),
    ],
)
def test_bad_specs(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_encoder(spec, synthetic=True)


def test_what_is_read_of_the_same_weights_is_part_of_an_encoders_identity() -> None:
    mean, cls = (load_encoder(name, synthetic=True) for name in ("random:nano", "random:nano:cls"))
    assert mean.spec.weights_sha256 == cls.spec.weights_sha256
    assert mean.spec.fingerprint != cls.spec.fingerprint
    both = load_encoder("random:nano:mean+sd", synthetic=True)
    assert len({e.spec.fingerprint for e in (mean, cls, both)}) == 3
    images = torch.randn(2, 1, 128, 128)
    assert torch.equal(both.module(images).pooled[:, :192], mean.module(images).pooled)
    radjepa = load_encoder("random:radjepa:mean+sd", synthetic=True)
    assert radjepa.module(images[..., 1:127, 1:127]).pooled.shape == (2, 384)
    assert not torch.allclose(mean.module(images).pooled, cls.module(images).pooled)
