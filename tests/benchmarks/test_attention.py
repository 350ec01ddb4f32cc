"""What the benchmark of attention counts: shares on a finding, other images' there, peaks."""

import attention
import numpy as np
import pytest
from attention import SIDE, Finding


def finding(row: int, top: int) -> Finding:
    """A quarter of a row of squares: 32 x 32 pixels at the left."""
    inside = np.zeros((SIDE, SIDE), bool)
    inside[top : top + 32, :32] = True
    return Finding(row, "N", inside)


def test_a_map_without_preference_has_the_share_of_the_area() -> None:
    found, at = [finding(3, 0), finding(5, 64)], {3: 0, 5: 1}
    got = attention.measured(np.full((2, SIDE, SIDE), 1 / SIDE**2), found, at)
    for name in ("inside", "others", "area"):
        np.testing.assert_allclose(got[name], 1 / 16)


def test_who_looks_at_each_finding_beats_others_and_who_looks_at_one_place_does_not() -> None:
    found, at = [finding(3, 0), finding(5, 64)], {3: 0, 5: 1}
    aimed = np.stack([one.inside / one.inside.sum() for one in found])
    got = attention.measured(aimed, found, at)
    np.testing.assert_allclose(got["inside"], 1)
    np.testing.assert_allclose(got["others"], 0)
    np.testing.assert_allclose(got["hit"], 1)
    np.testing.assert_allclose(got["usual hit"], 0.5)
    fixed = np.stack([aimed[0]] * 2)
    got = attention.measured(fixed, found, at)
    np.testing.assert_allclose(got["inside"], [1, 0])
    np.testing.assert_allclose(got["inside"], got["others"])
    np.testing.assert_allclose(got["hit"], got["usual hit"])


def test_intervals_resample_images_not_findings() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=30)
    once = attention.interval(values, np.arange(30), np.random.default_rng(1))
    twice = attention.interval(np.repeat(values, 4), np.repeat(np.arange(30), 4), np.random.default_rng(1))
    np.testing.assert_allclose(once, twice)  # four findings of an image are not four images
    spread = 1.96 * values.std(ddof=1) / 30**0.5
    assert once[2] - once[1] == pytest.approx(2 * spread, rel=0.1)
