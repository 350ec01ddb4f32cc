"""The two fixed images, and when what an encoder gives for them counts as changed."""

import json

import numpy as np
import pytest

from cxrbench.plugins.fixed_images import COARSE_TOLERANCE, SKETCH, TOLERANCE, FixedFeatures, fixed_images, sketch


def test_the_images_are_always_the_same_and_have_structure() -> None:
    first, again = fixed_images(), fixed_images()
    np.testing.assert_array_equal(first, again)
    assert (first.dtype, first.min() >= 0, first.max() <= 1) == (np.float32, True, True)
    assert (first.std((1, 2)) > 0.15).all()
    assert np.abs(first[0] - first[1]).mean() > 0.1
    for quarter in (first[:, :160, :144], first[:, :160, 144:], first[:, 160:, :144], first[:, 160:, 144:]):
        assert (quarter.std((1, 2)) > 0.02).all()


def features(seed: int = 0, **facts: bool) -> FixedFeatures:
    rng = np.random.default_rng(seed)
    maps = tuple(sketch(rng.standard_normal((2, n)).astype(np.float32)) for n in (10, 5000))
    return FixedFeatures(rng.standard_normal((2, 300)).astype(np.float32), maps, **facts)


def scaled(one: FixedFeatures, part: int, factor: float) -> FixedFeatures:
    """The same, with image 1 of a part (0: pooled) multiplied."""
    parts = [np.array(p) for p in (one.pooled, *one.maps)]
    parts[part][1] *= np.float32(factor)
    return FixedFeatures(parts[0], tuple(parts[1:]), one.coarse)


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("coarse", [False, True])
def test_noise_is_no_change_and_more_than_noise_is(part: int, coarse: bool) -> None:
    before, limit = features(coarse=coarse), COARSE_TOLERANCE if coarse else TOLERANCE
    assert scaled(before, part, 1 + 0.5 * limit).difference(before) is None
    changed = scaled(before, part, 1 + 4 * limit)
    assert changed.change(before) == pytest.approx(4 * limit / (1 + 4 * limit), rel=0.02)
    assert (changed.difference(before) or "").startswith("its output on two fixed images changed by ")


def test_other_shapes_and_nan_are_changes_and_the_same_nan_is_not() -> None:
    before = features()
    assert FixedFeatures(before.pooled[:, :-1], before.maps).difference(before) is not None
    assert FixedFeatures(before.pooled).difference(before) == "its output on two fixed images has another shape"
    broken = scaled(before, 0, np.nan)
    assert broken.difference(before) is not None
    assert broken.difference(broken) is None


def test_it_survives_json_to_the_bit() -> None:
    before = scaled(features(coarse=True), 0, np.nan)
    after = FixedFeatures.from_json(json.loads(json.dumps(before.to_json())))
    assert after.coarse
    for a, b in zip((before.pooled, *before.maps), (after.pooled, *after.maps), strict=True):
        np.testing.assert_array_equal(a, b)
    for damaged in ({}, {"pooled": "?", "maps": [], "coarse": False}, {"pooled": "AAA=", "maps": [], "coarse": False}):
        with pytest.raises((ValueError, KeyError, TypeError)):
            FixedFeatures.from_json(damaged)


def test_a_sketch_keeps_distances() -> None:
    rng = np.random.default_rng(0)
    ratios = []
    for n in (1000, 20_000):
        for _ in range(10):
            a = rng.standard_normal((2, n)).astype(np.float32)
            assert sketch(a).shape == (2, SKETCH)
            ratios += list(np.linalg.norm(sketch(a), axis=1) / np.linalg.norm(a, axis=1))
            np.testing.assert_allclose(sketch(3 * a), 3 * sketch(a), rtol=1e-4, atol=1e-3)
    assert np.mean(ratios) == pytest.approx(1, abs=0.02)  # standard deviation of each: 1 / sqrt(2 SKETCH) = 0.044
    assert max(ratios) < 1.2
    assert min(ratios) > 0.8
