"""A column before anything is corrected: its metrics, what they rest on, who is marked, and who could not be asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrbench.leaderboard.board import HEADLINE
from cxrbench.leaderboard.families import wanted_measures
from cxrbench.leaderboard.remarks import contamination, left_out
from cxrbench.leaderboard.statistics.alignment import AlignedTask, TestFacts, align
from cxrbench.leaderboard.statistics.counting import patients_scored, scored
from cxrbench.leaderboard.statistics.kept import NOTHING_KEPT, Evaluations
from cxrbench.leaderboard.statistics.measured import Measured, measured
from cxrbench.predictions import Predictions
from cxrbench.progress import Count


@dataclass(frozen=True)
class Draft:
    """``rows``: test images (or queries) of ``patients`` that the headline rests on; ``left_out``: by metric, which
    labels are left out of its means and why; ``marks``: by encoder, why its results may flatter it ("" if not);
    ``not_applicable``: by encoder, why it could not be asked; ``assumed``: by encoder, what nobody said of it.
    """

    tests: TestFacts
    metrics: tuple[Measured, ...]
    rows: int
    patients: int
    left_out: Mapping[str, Sequence[str]]
    marks: Mapping[str, str]
    not_applicable: Mapping[str, str]
    assumed: Mapping[str, str]


def drafted(
    task: AlignedTask,
    predictions: Sequence[Predictions],
    baseline: str | None,
    replicates: int,
    seed: int,
    *,
    metrics: Sequence[str] | None = None,
    not_applicable: Mapping[str, str],
    kept: Evaluations = NOTHING_KEPT,
    told: Count,
) -> Draft | None:
    """Measure the wanted metrics of one task; None where it has none of them.

    ``not_applicable``: by encoder; those that have predictions after all do not count.
    """
    there = {str(one.cell["encoder"]) for one in predictions}
    tests = align(task, predictions)
    found = measured(
        tests, wanted_measures(metrics, tests.kind), baseline, replicates, seed, kept, told, first_only=True
    )
    if not found:
        return None
    return Draft(
        tests=tests,
        metrics=tuple(found),
        rows=int(scored(tests, HEADLINE, found[0].counted).sum()),
        patients=patients_scored(tests, HEADLINE, found[0].counted),
        left_out={one.measure.name: left_out(tests, one.undefined, one.rare, one.measure.tested) for one in found},
        marks={str(one.cell["encoder"]): contamination(one) for one in predictions},
        not_applicable={encoder: why for encoder, why in not_applicable.items() if encoder not in there},
        assumed={str(one.cell["encoder"]): "; ".join(map(str, one.encoder.get("assumed", ()))) for one in predictions},
    )
