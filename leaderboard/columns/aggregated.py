"""A column as sufficient statistics: what a board needs of it, and no row of any patient.

Of a metric and label an encoder has a value with its variances (from patients and from seeds, and the degrees of
freedom of both); so have its gains over the baseline, and of the headline the differences of all pairs. From these
every interval, test, letter and correction of a board follows exactly. What is said of several columns together (means,
ranks, who wins) rests on the bootstrap's replicates. They do not leave: who knows the identifiers can draw the same
patients again, and solve for what each of them contributes. In their place stands the covariance of the encoders'
headlines over the replicates, and normal draws with exactly that covariance take part where replicates would.

Labels of fewer than ``FEWEST`` patients on their rarer side are left out, values and counts.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import HEADLINE
from cxrbench.leaderboard.columns.drafts import Draft
from cxrbench.leaderboard.statistics.alignment import AlignedTask, TestFacts
from cxrbench.leaderboard.statistics.counting import FEWEST_TESTED, Counted
from cxrbench.leaderboard.statistics.evaluate import Estimate
from cxrbench.leaderboard.statistics.inference import Components
from cxrbench.leaderboard.statistics.measured import Key, Measured
from cxrbench.metrics.kinds import KINDS
from cxrbench.metrics.prepared import Array

FEWEST = FEWEST_TESTED
FORMAT = 2


@dataclass(frozen=True)
class Aggregated:
    """A column from elsewhere. ``fingerprints``: of its encoders; ``efficiency``: what they cost."""

    draft: Draft
    baseline: str | None
    replicates: int
    fingerprints: Mapping[str, str]
    efficiency: Mapping[str, Mapping[str, Any]]

    @property
    def task(self) -> AlignedTask:
        """The column."""
        return self.draft.tests.task


def aggregate(
    draft: Draft,
    baseline: str | None,
    replicates: int,
    fingerprints: Mapping[str, str],
    efficiency: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """A column as plain values for JSON. Raises UserError where no label has ``FEWEST`` patients on its rarer side."""
    tests = draft.tests
    metrics = [one for one in (_metric(one, draft) for one in draft.metrics) if one["values"]]
    if not metrics:
        raise UserError(f"{tests.task.title}: no label has {FEWEST} patients with, and without, the finding")
    return {
        "format": FORMAT, "task": list(tests.task), "labels": list(tests.labels), "kind": tests.kind,
        "groups": {name: list(of) for name, of in tests.groups.items()}, "notes": list(tests.notes),
        "baseline": baseline, "replicates": replicates, "rows": draft.rows, "patients": draft.patients,
        "marks": dict(draft.marks), "not_applicable": dict(draft.not_applicable), "assumed": dict(draft.assumed),
        "metrics": metrics,
        "fingerprints": dict(fingerprints), "efficiency": {name: dict(of) for name, of in efficiency.items()},
    }  # fmt: skip


def read(facts: Mapping[str, Any], replicates: int) -> Aggregated:
    """What ``aggregate`` gave, with as many draws as other columns have ``replicates``.

    Raises UserError for what another version wrote.
    """
    if facts.get("format") != FORMAT:
        raise UserError("an aggregate was written by another version of cxrbench: ask for it again from this one")
    tests = TestFacts(
        AlignedTask(*facts["task"]), tuple(facts["labels"]), facts["kind"],
        {name: tuple(of) for name, of in facts["groups"].items()}, tuple(facts["notes"]),
    )  # fmt: skip
    draft = Draft(
        tests, tuple(_measured(one, tests, replicates) for one in facts["metrics"]), facts["rows"], facts["patients"],
        {one["name"]: one["left_out"] for one in facts["metrics"]}, facts["marks"], facts["not_applicable"],
        facts["assumed"],
    )  # fmt: skip
    return Aggregated(draft, facts["baseline"], facts["replicates"], facts["fingerprints"], facts["efficiency"])


def against(one: Measured, baseline: str | None) -> Measured:
    """The metric with the gains over another encoder: of the headline, from the pairs; of labels there are none."""
    gains: dict[Key, Components] = {}
    for (a, b), pair in one.pairs.items():
        if b == baseline:
            gains[a, HEADLINE] = pair
        elif a == baseline:
            gains[b, HEADLINE] = replace(pair, value=-pair.value)
    return replace(one, gains=gains, percentiles=dict.fromkeys(gains, float("nan")))


def _metric(one: Measured, draft: Draft) -> dict[str, Any]:
    """A metric without labels of few patients."""
    few = sorted(label for label, of in one.rests_on.items() if of.rarer < FEWEST)
    kept = {label for label in one.rests_on if label not in few}
    said = [line for line in draft.left_out[one.measure.name] if not any(f"{label} (" in line for label in few)]
    if hidden := [label for label in few if label not in draft.tests.groups]:
        said.append(f"fewer than {FEWEST} patients on their rarer side, so not in the aggregate: {', '.join(hidden)}")

    def of(values: Mapping[Key, Any]) -> list[list[Any]]:
        return [[*key, _plain(value)] for key, value in values.items() if key[1] in kept]

    names = [name for name in one.headlines if HEADLINE in kept]
    return {
        "name": one.measure.name, "values": of(one.values), "gains": of(one.gains), "percentiles": of(one.percentiles),
        "pairs": [[*pair, _plain(value)] for pair, value in one.pairs.items() if HEADLINE in kept],
        "headlines": {
            name: {"points": one.headlines[name].points.tolist(), "seeds": list(one.headlines[name].seeds),
                   "patients_df": one.headlines[name].patients_df} for name in names
        },
        "covariance": covariance([one.headlines[name] for name in names]).tolist(),
        "folds": of(one.folds), "sd_seeds": of(one.sd_seeds), "by_chance": of(one.by_chance),
        "undefined": [x for x in one.undefined if x in kept], "rare": [x for x in one.rare if x in kept],
        "counted": list(one.counted), "tested": sorted(one.tested & kept), "seeds": dict(one.seeds),
        "rests_on": {label: list(one.rests_on[label]) for label in sorted(kept)}, "left_out": said,
    }  # fmt: skip


def covariance(headlines: Sequence[Estimate]) -> Array:
    """Of the encoders' means over seeds, over the replicates that all have; NaN where there are none."""
    if not headlines or headlines[0].replicates.shape[-1] < 2:
        return np.full((len(headlines), len(headlines)), np.nan)
    drawn = np.stack([one.means for one in headlines])
    drawn = drawn[:, ~np.isnan(drawn).any(0)]
    return np.atleast_2d(np.cov(drawn)) if drawn.shape[1] > 1 else np.full((len(headlines),) * 2, np.nan)


def draws(points: Array, covariance: Array, key: str, count: int) -> Array:
    """Normal draws [k, count] about ``points`` [k], the same for one key.

    Their sample covariance is exactly this one, if there are more draws than encoders.
    """
    k = len(points)
    if np.isnan(covariance).any() or not k:
        return np.full((k, count), np.nan)
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:16]))
    white = generator.standard_normal((k, count))
    white -= white.mean(1, keepdims=True)
    if count > k + 1:
        white = np.linalg.solve(np.linalg.cholesky(np.atleast_2d(np.cov(white))), white)
    values, vectors = np.linalg.eigh(covariance)
    return points[:, None] + (vectors * np.sqrt(np.maximum(values, 0.0))) @ white


def _measured(facts: Mapping[str, Any], tests: TestFacts, replicates: int) -> Measured:
    """A metric as a board has it."""

    def of(name: str) -> dict[Key, Any]:
        return {(a, b): value for a, b, value in facts[name]}

    heads = facts["headlines"]
    points = np.array([float(np.mean(head["points"])) for head in heads.values()])
    drawn = draws(
        points, np.array(facts["covariance"], dtype=np.float64), json.dumps([*tests.task, facts["name"]]), replicates
    )
    return Measured(
        tests=tests,
        measure=KINDS[tests.kind].measures[facts["name"]],
        values={key: Components(*value) for key, value in of("values").items()},
        gains={key: Components(*value) for key, value in of("gains").items()},
        percentiles=of("percentiles"),
        pairs={key: Components(*value) for key, value in of("pairs").items()},
        headlines={
            name: Estimate(
                np.array(head["points"]), np.repeat(row[None], len(head["points"]), axis=0), tuple(head["seeds"]),
                head["patients_df"], np.empty(0),
            )
            for (name, head), row in zip(heads.items(), drawn, strict=True)
        },
        folds={key: (value[0], value[1]) for key, value in of("folds").items()},
        sd_seeds=of("sd_seeds"),
        by_chance=of("by_chance"),
        undefined=tuple(facts["undefined"]),
        rare=tuple(facts["rare"]),
        counted=tuple(facts["counted"]),
        tested=frozenset(facts["tested"]),
        rests_on={label: Counted(*value) for label, value in facts["rests_on"].items()},
        seeds=facts["seeds"],
    )  # fmt: skip


def _plain(value: Any) -> Any:
    """A number, or the numbers of a pair or of Components in their order."""
    if isinstance(value, Components):
        return value.plain()
    return list(value) if isinstance(value, tuple) else value
