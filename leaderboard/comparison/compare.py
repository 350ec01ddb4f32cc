"""Is encoder A better than encoder B? Differences, intervals and p for each task and label."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import NAN
from cxrbench.leaderboard.currency import current, versions
from cxrbench.leaderboard.families import CLASSIFICATION, FAMILIES, check_metrics, wanted_measures
from cxrbench.leaderboard.remarks import contamination, left_out
from cxrbench.leaderboard.render import task_title
from cxrbench.leaderboard.selection import check_tasks, of_tasks
from cxrbench.leaderboard.statistics.alignment import AlignedTask, TestSet, align, by_task
from cxrbench.leaderboard.statistics.bootstrap import REPLICATES
from cxrbench.leaderboard.statistics.counting import counts, patients_scored
from cxrbench.leaderboard.statistics.inference import Components, Uncertain, moderated
from cxrbench.leaderboard.statistics.kept import NOTHING_KEPT, Evaluations
from cxrbench.leaderboard.statistics.measured import Measured, measured
from cxrbench.leaderboard.statistics.significance import GAIN_LEVEL, delong, holm, smallest_detectable_difference
from cxrbench.metrics.measure import NO_MEAN
from cxrbench.predictions import Predictions
from cxrbench.progress import Advance, Count, unheard


@dataclass(frozen=True)
class ComparisonRow:
    """One test. ``difference`` is A minus B, turned so that positive means A is better, with its 90% interval.

    ``p``: one-tailed, H0: A is no better than B, at which the interval's lower limit is 0; ``p_holm`` over the table's
    rows of the same kind (group means over all tasks of a label fraction; labels over all labels and tasks of it).
    ``p_percentile``: the percentile bootstrap's. ``p_delong``: one-tailed, for AUROC of a label; patients vary,
    training seeds do not. With a margin d: ``p_noninferior``, H0: A is worse than B by d or more; ``p_equivalent``,
    H0: they differ by d or more (two one-sided tests, Schuirmann 1987); ``above``: confidence that A is better by more
    than d. ``error``: standard error of the difference; ``detectable``: the smallest one that the strictest of these
    tests finds with 80% power.
    """

    dataset: str
    protocol: str
    fraction: float
    synthetic: bool
    metric: str
    label: str
    value_a: float
    value_b: float
    n: int
    positives: int | None
    patients: int
    title: str
    difference: float = NAN
    lower: float = NAN
    upper: float = NAN
    p: float = NAN
    p_two_sided: float = NAN
    p_holm: float = NAN
    p_percentile: float = NAN
    p_delong: float = NAN
    p_noninferior: float = NAN
    p_equivalent: float = NAN
    above: float = NAN
    error: float = NAN
    detectable: float = NAN

    @property
    def task(self) -> AlignedTask:
        """The task that the row is about."""
        return AlignedTask(self.synthetic, self.dataset, self.protocol, self.fraction)


class _Row(NamedTuple):
    """A row before anything is corrected, and the gain of A over B; None where it is not tested."""

    row: ComparisonRow
    gain: Components | None


@dataclass(frozen=True)
class Comparison:
    """All tests of A against B: two encoders, or two protocols of one ``encoder``."""

    a: str
    b: str
    rows: tuple[ComparisonRow, ...]
    notes: tuple[str, ...]
    replicates: int
    seed: int
    margin: float | None = None
    encoder: str = ""


def compare(
    predictions: Sequence[Predictions],
    a: str,
    b: str,
    *,
    tasks: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    margin: float | None = None,
    kept: Evaluations = NOTHING_KEPT,
    advance: Advance = unheard,
) -> Comparison:
    """Test whether encoder ``a`` is better than ``b`` on the tasks (``DATASET[:PROTOCOL]``) that both have results for.

    ``metrics``: those that a task has of them; by default each task's headline. ``margin``: a difference that does not
    matter, for tests of non-inferiority and equivalence. ``kept``, ``advance``: as of the board. Raises UserError for
    an unknown encoder, task or metric, for a margin that is not above 0, or where no task has both.
    """
    if margin is not None and not 0 < margin < math.inf:
        raise UserError(f"--margin {margin:g}: a difference that does not matter is above 0, e.g. --margin 0.01")
    encoders = sorted({str(one.cell["encoder"]) for one in predictions})
    for name in (a, b):
        if name not in encoders:
            raise UserError(f"unknown encoder {name!r}: the results have {', '.join(encoders) or 'none'}")
    if a == b:
        raise UserError(f"cannot compare {a} with itself: name two encoders")
    now = current(predictions)
    check_tasks(now.predictions, tasks)
    wanted = of_tasks(now.predictions, tasks)
    check_metrics(metrics, [one.kind for one in wanted])
    drafts: list[_Row] = []
    notes = [stale.line for stale in now.left_out if stale.encoder in (a, b)]
    both = [one for one in wanted if one.cell["encoder"] in (a, b)]
    notes += versions(both)
    paired, told = False, Count(advance, replicates * len(metrics or "1") * len(both))
    for task, of_task in by_task(both).items():
        missing = {a, b} - {one.cell["encoder"] for one in of_task}
        if missing:
            notes.append(f"{task_title(task)}: left out, no result of {missing.pop()}")
            continue
        tests = align(task, of_task)
        notes += [f"{task_title(task)}: {note}" for note in tests.notes]
        flattered = {f"† {one.cell['encoder']}: {why}" for one in of_task if (why := contamination(one))}
        notes += [f"{task_title(task)}: {why}" for why in sorted(flattered)]
        for measure in wanted_measures(metrics, tests.kind):
            draft = measured(tests, [measure], b, replicates, seed, kept, told, first_only=True)
            found = [row for one in draft for row in _drafts(tests, one, a, b, notes)]
            drafts += found
            paired = True
            if found and metrics is None:
                break  # the first that a task has is its headline
    if not paired:
        raise UserError(f"no task has results of both {a} and {b}: run the missing ones first")
    if not drafts:
        raise UserError(f"no task that both {a} and {b} have results for has the metric {', '.join(metrics or ())}")
    return Comparison(a, b, _tested(drafts, margin), tuple(dict.fromkeys(notes)), replicates, seed, margin)


def _drafts(tests: TestSet, one: Measured, a: str, b: str, notes: list[str]) -> list[_Row]:
    """A row for each label and group, and notes on what is left out."""
    measure = one.measure
    why_not = left_out(tests, one.undefined, one.rare, measure.tested)
    notes += [f"{task_title(tests.task)}: {measure.title}: {why}" for why in why_not]
    with_delong = measure.name == "auroc" and FAMILIES[tests.kind] is CLASSIFICATION and not tests.folded
    drafts = []
    for label in [label for encoder, label in one.values if encoder == a]:
        n, positives = counts(tests, label)
        row = ComparisonRow(
            dataset=tests.task.dataset, protocol=tests.task.protocol, fraction=tests.task.fraction,
            synthetic=tests.task.synthetic, metric=measure.name, label=label, value_a=one.values[a, label].value,
            value_b=one.values[b, label].value, p_percentile=one.percentiles.get((a, label), NAN),
            p_delong=_delong(tests, label, a, b) if with_delong and label in one.tested else NAN, n=n,
            positives=positives, patients=patients_scored(tests, label), title=measure.title,
        )  # fmt: skip
        gain = one.gains.get((a, label))
        why = gain.note if gain else "" if measure.has_mean(tests.groups.get(label, ())) else NO_MEAN
        notes += [f"{task_title(tests.task)}: {measure.title}: {label}: {why}"] if why else []
        drafts.append(_Row(row, gain))
    return drafts


def _delong(tests: TestSet, label: str, a: str, b: str) -> float:
    """One-tailed DeLong p of a label's AUROC, the mean over seeds of A against that of B; NaN for a group."""
    if label not in tests.labels:
        return NAN
    of_a, of_b = tests.scores(a, label), tests.scores(b, label)
    scores, targets = np.concatenate([of_a, of_b]), tests.targets[:, tests.labels.index(label)]
    if np.isnan(scores[:, ~np.isnan(targets)]).any():
        return NAN
    contrast = np.concatenate([np.full(len(of_a), 1 / len(of_a)), np.full(len(of_b), -1 / len(of_b))])
    return delong(scores, targets, tests.patients).contrast(contrast)[2]


def _tested(drafts: Sequence[_Row], margin: float | None) -> tuple[ComparisonRow, ...]:
    """Every row with its test; means, and apart from them labels, of one metric and label fraction are a family."""
    families: dict[tuple[object, ...], list[int]] = {}
    for i, (row, _) in enumerate(drafts):
        key = (row.metric, row.synthetic, row.fraction, row.positives is None)
        families.setdefault(key, []).append(i)
    rows = [row for row, _ in drafts]
    for members in families.values():
        made = {i: gain for i in members if (gain := drafts[i].gain) is not None}
        gains = dict(zip(made, moderated(list(made.values())), strict=True))
        adjusted = dict(zip(gains, holm([gain.p() for gain in gains.values()]), strict=True))
        count = sum(not math.isnan(p) for p in adjusted.values())
        for i, gain in gains.items():
            limits = gain.interval(GAIN_LEVEL)
            rows[i] = replace(
                rows[i], difference=gain.value, lower=limits.lower, upper=limits.upper, p=gain.p(),
                p_two_sided=gain.p_two_sided(), p_holm=adjusted[i], **_against(gain, margin),
                error=gain.error, detectable=smallest_detectable_difference(gain.error, count),
            )  # fmt: skip
    return tuple(rows)


def _against(gain: Uncertain, margin: float | None) -> dict[str, float]:
    """The tests against a margin, by the names of their fields."""
    if margin is None:
        return {}
    not_worse, not_better = gain.p(-margin), 1 - gain.p(margin)
    return {
        "p_noninferior": not_worse, "p_equivalent": max(not_worse, not_better), "above": not_better,
    }  # fmt: skip
