"""What the papers print twice, once as such and once through other cells: means, sums, differences, repeats, prose."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from cxrbench.papers.published import PAPERS, PublishedValue, published

Place = tuple[str, str, str, str]
"""Paper, table (or section), row, and what the number is."""
BY_LABEL = {"mimic": "5", "chexpert-plus": "6", "padchest": "7"}
"""Tables of MVMAE with the fourteen labels of a data set."""
PATCHES = {
    "CLIP@224": 14, "CLIP@336": 14, "DINO-v2": 14, "BiomedCLIP": 16, "CheXzero": 32, "BioViL": 32,
    "RAD-DINO control": 14, "RAD-DINO": 14, "RAD-DINO*": 14, "I-JEPA": 14, "RadJEPA control": 14, "RadJEPA": 14,
}  # fmt: skip
"""Pixels per token of RadJEPA's Table 5, from the architectures of its Table 2 (a ResNet-50 divides by 32)."""


@dataclass(frozen=True)
class Check:
    """A printed number beside what the paper's own cells give; ``slack`` is how far rounding may set them apart."""

    place: Place
    printed: str
    recomputed: str
    apart: float
    slack: float

    @property
    def agrees(self) -> bool:
        return self.apart <= self.slack + 1e-9


def find(paper: str, table: str, **wanted: str) -> list[PublishedValue]:
    """The cells of a table that have these values."""
    return [
        one
        for one in published(paper)
        if one.table == table and all(getattr(one, name) == value for name, value in wanted.items())
    ]


def only(paper: str, table: str, **wanted: str) -> PublishedValue:
    (one,) = find(paper, table, **wanted)
    return one


def number(one: PublishedValue) -> float:
    assert one.number is not None, one
    return one.number


def check(
    one: PublishedValue, of: Sequence[PublishedValue], what: str, combine: Callable[[Sequence[float]], float] = fmean,
    scale: float = 1.0, slack: float | None = None,
) -> Check:  # fmt: skip
    """A cell against others, in its unit (theirs times ``scale``). The slack is that of a mean, unless given."""
    found = combine([number(other) for other in of]) * scale
    apart = abs(found - number(one))
    if slack is None:
        slack = max(other.resolution for other in of) * scale
    digits = len(one.value.partition(".")[2]) + 1
    return Check((one.paper, one.table, one.row, what), one.value, f"{found:.{digits}f}", apart, slack + one.resolution)


def means_over_labels() -> Iterator[Check]:
    """Macro averages that stand beside their labels."""
    for table in ("2", "3"):
        for one in find("spcl", table, label=""):
            yield check(one, [x for x in find("spcl", table, row=one.row) if x.label], "mean AUROC")
    for one in find("radjepa", "3", dataset="vindr", label=""):
        yield check(one, [x for x in find("radjepa", "3", dataset="vindr", row=one.row) if x.label], "Agg.")
    for dataset, table in BY_LABEL.items():
        for row in dict.fromkeys(x.row for x in find("mvmae", table)):
            labels = find("mvmae", table, row=row)
            one = only("mvmae", "1", dataset=dataset, metric="auroc", row=row)
            yield check(one, labels, f"{dataset} AUROC, of Table {table}", scale=100)
            best = sorted(labels, key=number)[-5:]
            one = only("mvmae", "2", dataset=dataset, metric="auroc", row=row)
            yield check(one, best, f"{dataset} AUROC, best five of Table {table}", scale=100)


def means_over_datasets() -> Iterator[Check]:
    """MVMAE's Combined, which the captions of Tables 1 and 2 call an average over the three data sets."""
    for table in ("1", "2"):
        for one in find("mvmae", table, dataset="all"):
            three = [x for x in find("mvmae", table, row=one.row, metric=one.metric) if x.dataset != "all"]
            yield check(one, three, f"Combined {one.metric.upper()}")


def sums_and_differences() -> Iterator[Check]:
    for metric in ("patients", "images", "frontal-images", "lateral-images"):
        parts = [x for x in find("radjepa", "1", metric=metric) if x.row != "Total"]
        yield check(only("radjepa", "1", metric=metric, row="Total"), parts, metric, sum, slack=0)
    for one in find("radjepa", "1", metric="images"):
        views = [only("radjepa", "1", row=one.row, metric=f"{view}-images") for view in ("frontal", "lateral")]
        yield check(one, views, "frontal and lateral images", sum, slack=0)
    for one in find("pacx", "1", row="Δ (pp)"):
        same = {"dataset": one.dataset, "metric": one.metric}
        pair = [only("pacx", "1", row="PaCX", **same), only("pacx", "1", row="MAE", **same)]
        yield check(one, pair, f"{one.dataset} {one.metric}", lambda two: two[0] - two[1], scale=100, slack=0.1)


def repeats() -> Iterator[Check]:
    """Cells of a paper that say the same as one of an earlier table: method, data, metric, label, fraction."""
    for paper in PAPERS:
        seen: dict[tuple[str, ...], PublishedValue] = {}
        for one in published(paper):
            if one.difference or one.protocol == "data":
                continue
            method = re.sub(r" \(.*|\*|§", "", one.row) if paper != "radjepa" else one.row.partition(",")[0]
            who = "FaNe" if one.encoder == "fane" else "PaCX" if one.encoder == "pacx" else method
            if paper == "fane" and one.table in "3456" and one.encoder != "fane":
                continue  # a part left out
            key = (who, one.dataset, one.protocol, one.fraction, one.metric, one.label)
            if paper == "radjepa" and (one.table == "4" or one.metric == "significance"):
                continue  # rows differ by their decoder
            if one.metric == "resolution":
                key = (who.replace("BioMedCLIP", "BiomedCLIP"), "resolution")
            if key in seen and seen[key].table != one.table:
                first, again = (x.value.replace("²", "") for x in (seen[key], one))
                again = again.partition("×")[0]
                of = " ".join(part for part in (one.dataset, one.metric, one.fraction) if part)
                what = f"{of}, also in Table {seen[key].table}"
                yield Check((paper, one.table, one.row, what), one.value, seen[key].value, float(first != again), 0)
            seen.setdefault(key, one)


def tokens() -> Iterator[Check]:
    for one in find("radjepa", "5", metric="tokens", dataset="mimic"):
        side = only("radjepa", "5", metric="resolution", dataset="mimic", row=one.row).value.partition("×")[0]
        side = "336" if side == "316" else side  # Table 2 has 336, and 336 / 14 = 24
        made = (int(side) // PATCHES[one.row]) ** 2
        yield Check(("radjepa", "5", one.row, f"tokens of {side}×{side} pixels"), one.value, str(made),
                    abs(made - number(one)), 0)  # fmt: skip


def prose() -> Iterator[Check]:
    """Differences that the text names, against the cells they are of."""

    def of(paper: str, table: str, section: str, printed: str, row: str, less: str, **same: str) -> Check:
        high, low = only(paper, table, row=row, **same), only(paper, table, row=less, **same)
        scale = 1 if high.percent else 100
        found = (number(high) - number(low)) * scale
        what = f"{' '.join(x for x in same.values() if x)}, over {less.partition(',')[0]}"
        place = (paper, f"section {section}", row.partition(",")[0], what)
        slack = 0.05 + (high.resolution + low.resolution) * scale
        return Check(place, printed, f"{found:+.1f}", abs(found - float(printed)), slack)

    linear = {"protocol": "linear", "dataset": "vindr", "label": "Pulmonary fibrosis"}
    yield of("radjepa", "3", "6.1.3", "+4.5", "RadJEPA", "RAD-DINO", **linear)
    yield of("radjepa", "3", "6.1.3", "+4.9", "RadJEPA", "I-JEPA", **linear)
    yield of("radjepa", "4", "6.2.3", "+4.8", "RadJEPA, UPerNet", "RAD-DINO, UPerNet", dataset="vindr-ribcxr")
    yield of("radjepa", "4", "6.2.3", "+4.4", "RadJEPA, UPerNet", "I-JEPA, UPerNet", dataset="vindr-ribcxr")
    for metric, printed in (("rouge-l", "+1.7"), ("rg-er", "+0.9"), ("chexbert-f1-14", "+1.3")):
        yield of("radjepa", "5", "6.3.3", printed, "RadJEPA", "RAD-DINO*", dataset="iu-xray", metric=metric)
    for row, less, dataset, metric, printed in (
        ("PaCX", "MAE", "vindr", "auroc", "+2.4"), ("PaCX", "MAE", "vindr", "f1", "+6.5"),
        ("PaCX", "MAE", "medmod", "auroc", "+2.7"), ("PaCX", "MAE", "chexchonet", "f1", "+5.1"),
        ("PaCX", "MAE", "qata", "iou", "-1.1"),
    ):  # fmt: skip
        yield of("pacx", "1", "5.1", printed, row, less, dataset=dataset, metric=metric)
    yield of("pacx", "3", "5.3", "+1.5", "PaCX (Loss Ablation)", "Cont", dataset="vindr", metric="f1")


def markdown(checks: Sequence[Check]) -> str:
    """The table of docs/published-figures.md: where a paper disagrees with itself."""
    rows = [
        (
            name,
            f"Table {table}" if table.isdigit() else table,
            row.replace("*", "\\*"),
            what,
            one.printed,
            one.recomputed,
        )
        for one in checks
        for name, table, row, what in [one.place]
    ]
    head = ["| paper | where | row | what | printed | from its own cells |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def all_checks() -> list[Check]:
    return [*means_over_labels(), *means_over_datasets(), *sums_and_differences(), *repeats(), *tokens(), *prose()]
