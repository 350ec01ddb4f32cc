"""Orders of units: every label early, and the labels' combinations in proportion in every prefix."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrbench.data.subsets.order import covering_order, stratified_order


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 300), st.integers(1, 4), st.integers(0, 99))
def test_both_orders_are_of_all_units_and_begin_with_every_label(units: int, labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = np.concatenate([np.arange(units), rng.integers(0, units, units // 2)])
    targets = (rng.random((len(codes), labels)) < 0.2).astype(np.float32)
    for order, needed in (covering_order(codes, targets, seed), stratified_order(codes, targets, seed)):
        assert sorted(order.tolist()) == list(range(units))
        first = targets[np.isin(codes, order[:needed])]
        for value in (0, 1):
            assert ((first == value).any(0) == (targets == value).any(0)).all()


def test_every_prefix_has_every_combination_in_its_proportion() -> None:
    rng = np.random.default_rng(1)
    targets = (rng.random((4000, 3)) < [0.5, 0.2, 0.02]).astype(np.float32)
    order, needed = stratified_order(np.arange(4000), targets, 7)
    names = [tuple(row) for row in targets]
    whole = Counter(names)
    for share in (0.01, 0.1, 0.37):
        length = round(share * 4000)
        got = Counter(names[unit] for unit in order[needed:length])
        for name, count in whole.items():
            assert abs(got[name] - share * count) <= 1 + needed, name
    plain, _ = covering_order(np.arange(4000), targets, 7)
    off = max(abs(Counter(names[u] for u in plain[:400])[n] - 0.1 * c) for n, c in whole.items())
    assert off > 1 + needed, "at random it is not met as well"
