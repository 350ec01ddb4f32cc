"""What a map is coloured by: groups, the rest that is in none, and what cannot be told apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrbench.data.manifest import Manifest
from cxrbench.embedding_maps.grouping import MOST, grouping
from cxrbench.errors import UserError

NAN = np.nan


def manifest(labels: dict[str, list[float]], name: str = "toy", **groups: list[str]) -> Manifest:
    n = len(next(iter(labels.values())))
    ids = [f"{name}{i:03}" for i in range(n)]
    facts = {"image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "split": "val", "path": ids, "bytes": 1}
    said = {"view" if of == "view" else f"group:{of}": cells for of, cells in groups.items()}
    return Manifest(name, Path("nowhere"), pd.DataFrame(facts | labels | said), tuple(labels))


def said(found: Any) -> list[tuple[str, int, bool]]:
    return [(group.name, group.images, group.rest) for group in found.groups]


def test_an_image_is_in_the_group_of_its_only_label_and_nothing_is_dropped() -> None:
    a = [1.0] * 6 + [0.0] * 9 + [1.0, NAN, 1.0, 0.0]
    b = [0.0] * 6 + [1.0] * 5 + [0.0] * 4 + [1.0, 0.0, NAN, NAN]
    found = grouping([manifest({"A": a, "B": b})], "label")
    assert said(found) == [("A", 7, False), ("B", 5, False), ("1 others", 4, True), ("several", 1, True),
                           ("unknown", 2, True)]  # fmt: skip
    assert found.names()[-4:] == ["several", "unknown", "A", "unknown"]
    assert found.named.sum() == 12


def test_one_label_divides_into_those_that_have_it_those_that_do_not_and_the_unknown() -> None:
    one, other = manifest({"A": [1.0] * 5 + [0.0] * 6 + [NAN]}), manifest({"B": [1.0, 0.0]}, "two")
    found = grouping([one, other], "label:A")
    assert said(found) == [("no A", 6, False), ("A", 5, False), ("unknown", 3, True)]
    assert found.names()[-2:] == ["unknown", "unknown"]


def test_datasets_views_and_patients_are_groups_and_ages_stay_in_their_order() -> None:
    view = ["PA"] * 5 + ["AP"] * 6 + ["", ""]
    age = ["70"] * 5 + ["20"] * 5 + ["45", "", ""]
    one = manifest({"A": [1.0] * 13}, view=view, age=age)
    assert said(grouping([one], "view")) == [("AP", 6, False), ("PA", 5, False), ("unknown", 2, True)]
    ages = [("0–39", 5, False), ("60–79", 5, False), ("1 others", 1, True), ("unknown", 2, True)]
    assert said(grouping([one], "age")) == ages
    two = manifest({"A": [1.0] * 5}, "two")
    assert said(grouping([one, two], "dataset")) == [("toy", 13, False), ("two", 5, False)]
    assert said(grouping([one, two], "view"))[2] == ("unknown", 7, True)


def test_of_many_groups_the_smaller_ones_are_counted_together() -> None:
    sites = [f"s{k}" for k in range(10) for _ in range(15 - k)]
    found = grouping([manifest({"A": [0.0] * len(sites)}, site=sites)], "site")
    assert [group.name for group in found.groups] == ["s0", "s1", "s2", "s3", "s4", "s5", "4 others"]
    assert len(found.groups) <= MOST
    assert sum(group.images for group in found.groups) == len(sites)
    exactly = [site for site in sites if site < "s7"]
    groups = grouping([manifest({"A": [0.0] * len(exactly)}, site=exactly)], "site").groups
    assert [group.rest for group in groups] == [False] * MOST


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("colour", "--by colour: choose from label, label:NAME, dataset, sex"),
        ("site", "toy does not say the site of its images"),
        ("label:C", "--by label:C: the labels are A, B"),
        ("view", "--by view: it is known of no image"),
        ("dataset", "of 12 images, no two groups have 5 (toy 12)"),
        ("label", "no two groups have 5 (A 8, none of them 4)"),
        ("sex", "--by sex: of 12 images, no two groups have 5 (F 11, M 1)"),
    ],
)
def test_what_tells_nothing_apart_is_refused_in_one_line(by: str, message: str) -> None:
    one = manifest({"A": [1.0] * 8 + [0.0] * 4, "B": [0.0] * 12}, sex=["F"] * 11 + ["M"])
    with pytest.raises(UserError) as caught:
        grouping([one], by)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
