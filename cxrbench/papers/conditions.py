"""Under which conditions a printed figure was made: what its paper says of resolution, selection, labels, statistic."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from cxrbench.papers.published import PublishedValue, published

OF_TABLE_2 = "Table 2"
"""RadJEPA's resolutions, which its Table 2 has by encoder."""


@dataclass(frozen=True)
class Conditions:
    """``pixels``: the side of the images; ``selected``: on what the checkpoint was chosen; ``statistic``: what is
    printed, where that is not one run; ``unit``: of n, where that is not images; ``labels``: how many an aggregate is a
    mean over (0: not said), ``names``: which, ``said``: in words. Empty: the paper does not say it.
    """

    title: str
    pixels: str = ""
    selected: str = ""
    statistic: str = ""
    unit: str = ""
    labels: int = 0
    names: tuple[str, ...] = ()
    said: str = ""


def conditions(one: PublishedValue) -> Conditions:
    """Of one figure. Of those that are copied, or may be, the paper says nothing but which labels it names."""
    of_paper = _said()[one.paper]
    of_table = of_paper.get("table", {}).get(one.table, {})
    whole = {**of_paper, **of_table}
    labels: Mapping[str, Any] = {**of_paper.get("labels", {}), **of_table.get("labels", {})}.get(one.dataset, {})
    of_labels = {
        "labels": labels.get("count", 0), "names": tuple(labels.get("names", ())), "said": labels.get("said", ""),
    }  # fmt: skip
    if one.origin != "own":
        return Conditions(whole["title"], **of_labels)
    pixels = _of_table_2(one) if whole.get("pixels") == OF_TABLE_2 else whole.get("pixels", "")
    named = {name: whole.get(name, "") for name in ("selected", "statistic", "unit")}
    return Conditions(whole["title"], pixels, **named, **of_labels)


@cache
def _said() -> dict[str, Any]:
    file = files("cxrbench.papers").joinpath("published", "conditions.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _of_table_2(one: PublishedValue) -> str:
    """The side that RadJEPA's Table 2 gives the encoder of this row."""
    name = one.row.partition(",")[0].rstrip("*")
    sides = [x.value for x in published(one.paper) if x.table == "2" and x.metric == "resolution" and x.row == name]
    return sides[0].removesuffix("²") if sides else ""
