"""Effective rank and the share of the first component against closed forms."""

import numpy as np
import pytest

from evidence.embeddings import directions


def spread(lengths: list[float], offset: float = 0.0) -> np.ndarray:
    """Centred embeddings [2 k, k] whose singular values are these lengths, moved by an offset."""
    points = np.diag(lengths) / np.sqrt(2)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=points.shape))[0]
    return np.concatenate([points, -points]) @ turn + offset


def test_equal_directions_count_one_each_wherever_the_embeddings_lie() -> None:
    for offset in (0.0, 100.0):
        found = directions(spread([3.0] * 6, offset))
        assert found.rank == pytest.approx(6)
        assert found.first == pytest.approx(1 / 6)


def test_a_line_is_one_direction_and_a_point_is_none() -> None:
    assert directions(spread([2.0, 0.0, 0.0])) == pytest.approx((1.0, 1.0))
    assert np.isnan(directions(np.ones((5, 3)))).all()


def test_entropy_of_the_variances() -> None:
    # of shares 9/10 and 1/10: exp is 10 / 9^(9/10)
    assert directions(spread([3.0, 1.0])) == pytest.approx((10 / 9**0.9, 9 / 10))
