"""What must be told of a column beside its numbers: who has seen the test images, what is left out, what is rare."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from cxrbench.leaderboard.families import CLASSIFICATION, FAMILIES, REGRESSION
from cxrbench.leaderboard.statistics.alignment import AlignedTask, TestSet
from cxrbench.leaderboard.statistics.counting import FEW, FEWEST_TESTED, counts, rarer_patients
from cxrbench.leaderboard.statistics.in_folds import FOLD
from cxrbench.predictions import NotApplicable, Predictions


def contamination(one: Predictions) -> str:
    """Why these results may flatter the encoder: it has seen images of the test set, of what its probe was trained on
    where that is another dataset, or of the source of either. Else "".
    """
    return "; ".join(why for why in (_seen_in_test(one), _seen_in_training(one)) if why)


def _seen_in_training(one: Predictions) -> str:
    """What a probe that was trained on other datasets (``dataset["training"]``) learnt on images that are not new."""
    seen = {str(name) for name in one.encoder.get("pretrained_on", ())}
    found = []
    for source in one.dataset.get("training", ()):
        if source["name"] != one.dataset.get("name") and (of := seen & {source["name"], *source["lineage"]}):
            where = "" if source["name"] in of else f", where images of {source['name']} come from"
            found.append(source["name"] if not where else f"{', '.join(sorted(of))}{where}")
    return f"pretrained on images that the probe is trained on: {'; '.join(found)}" if found else ""


def _seen_in_test(one: Predictions) -> str:
    """What the encoder has seen of the test set's dataset or of its source."""
    dataset = str(one.dataset.get("name", one.cell["dataset"]))
    seen = [str(name) for name in one.encoder.get("pretrained_on", ())]
    lineage = _lineage(one)
    if dataset in seen and FOLD in one.rows:
        return f"pretrained on images of {dataset}; cross-validation tests on every image, so on those, too"
    if dataset in seen:
        return (
            f"pretrained on images of {dataset}, the source of the test images; "
            "`cxrbench pretrain` keeps test patients out, others may not"
        )
    shared = ", ".join(sorted(set(seen) & set(lineage)))
    if shared:
        return f"pretrained on {shared}, where images of {dataset} come from; it may have seen test images"
    return ""


def _lineage(one: Predictions) -> list[str]:
    return [str(name) for name in one.dataset.get("lineage", ())]


def left_out(tests: TestSet, undefined: Sequence[str], rare: Sequence[str], tested: bool = True) -> list[str]:
    """Which labels are left out of the means, or are in them with few patients, and why.

    ``undefined``, ``rare``: as in ``Evaluation``; ``tested``: whether the metric is.
    """
    told = _undefined(tests, undefined)
    if rare:
        named = ", ".join(f"{label} ({_patients(tests, label)})" for label in rare)
        others = len(tests.labels) > len(rare) + len(undefined)
        fate = " and left out of every mean" if others else ""
        told.append(f"fewer than {FEWEST_TESTED} patients {_sides(tests)}, so not tested{fate}: {named}")
    few = [x for x in tests.labels if x not in (*rare, *undefined) and rarer_patients(tests, x) < FEW]
    if few and tested:
        named = ", ".join(f"{label} ({_patients(tests, label)})" for label in few)
        told.append(f"fewer than {FEW} patients {_sides(tests)}, so of little weight by itself: {named}")
    return told


def shared_sources(predictions: Sequence[Predictions]) -> tuple[str, ...]:
    """A line for each pair of data sets, of cells of one table, whose test sets may have patients in common."""
    sources = {str(one.cell["dataset"]): {str(one.cell["dataset"]), *_lineage(one)} for one in predictions}
    return tuple(
        f"{one} and {other} have images of one source, so a patient may be in both test sets: over all columns they "
        "count as two, and if so, intervals and p of means and gains there are too small"
        for one, other in combinations(sorted(sources), 2)
        if sources[one] & sources[other]
    )


def merged(gaps: Mapping[tuple[str, str], list[str]]) -> dict[str, list[str]]:
    """(encoder, note) -> metrics as note -> metrics: encoders with the same note for the same metrics together."""
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (encoder, note), titles in gaps.items():
        together.setdefault((note, tuple(titles)), []).append(encoder)
    return {f"{note} ({', '.join(encoders)})": list(titles) for (note, titles), encoders in together.items()}


def reasons(not_applicable: Sequence[NotApplicable]) -> dict[AlignedTask, dict[str, str]]:
    """Why encoders could not be asked, by task and encoder, in a fixed order."""
    found: dict[AlignedTask, dict[str, str]] = {}
    for one in sorted(
        not_applicable, key=lambda r: (str(r.cell["dataset"]), str(r.cell["protocol"]), str(r.cell["encoder"]))
    ):
        task = AlignedTask(one.synthetic, one.cell["dataset"], one.cell["protocol"], float(one.cell["fraction"]))
        found.setdefault(task, {})[str(one.cell["encoder"])] = one.reason
    return found


def _undefined(tests: TestSet, undefined: Sequence[str]) -> list[str]:
    family = FAMILIES[tests.kind]
    why = {True: f"nothing to find in any of the test {family.rows}", False: "not all have scores of it"}
    if family is CLASSIFICATION:
        why[True] = f"one class only among the test {family.rows}"
    if family is REGRESSION:
        why[True] = f"fewer than two different numbers among the test {family.rows}"
    found: dict[bool, list[str]] = {True: [], False: []}
    for label in undefined:
        known, positives = counts(tests, label)
        one_class = positives == 0 or (family is CLASSIFICATION and positives == known)
        if family is REGRESSION:
            numbers = tests.targets[:, tests.labels.index(label)]
            one_class = len(np.unique(numbers[~np.isnan(numbers)])) < 2
        said = "known" if family is REGRESSION else f"of {known:,} positive"
        found[one_class].append(f"{label} ({positives} {said})")
    return [f"{why[k]}, so left out of every mean: {', '.join(labels)}" for k, labels in found.items() if labels]


def _patients(tests: TestSet, label: str) -> str:
    return f"{rarer_patients(tests, label)} patients"


def _sides(tests: TestSet) -> str:
    """Of what a label's rarer side is."""
    sides = {CLASSIFICATION.title: "with, or without, the finding", REGRESSION.title: "with a known number"}
    return sides.get(FAMILIES[tests.kind].title, "with something to find")
