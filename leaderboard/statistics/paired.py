"""How much better is one encoder than another, on the same resampled patients? Of one pair, and of all."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType

import numpy as np

from cxrbench.leaderboard.board import HEADLINE
from cxrbench.leaderboard.statistics.bootstrap import threads
from cxrbench.leaderboard.statistics.digests import key
from cxrbench.leaderboard.statistics.evaluate import Estimate
from cxrbench.leaderboard.statistics.inference import (
    NUMBERS,
    Components,
    components,
    components_of_each,
    some_at_once,
)
from cxrbench.leaderboard.statistics.kept import Entries
from cxrbench.leaderboard.statistics.outline import Outline
from cxrbench.metrics.measure import Measure
from cxrbench.metrics.prepared import Array

Pair = tuple[str, str]
PAIRS = "pairs "  # what begins the keys of pairs that are kept


def improvement(candidate: Estimate, other: Estimate, measure: Measure) -> Components:
    """How much better the candidate is. Seeds of the same numbers drew the same training patients: they are paired.

    Otherwise the seeds of both vary by themselves, with Welch's degrees of freedom, and what only one of them has
    stands alone.
    """
    return improvements([candidate], [other], [measure])[0]


def improvements(
    candidates: Sequence[Estimate], others: Sequence[Estimate], measures: Sequence[Measure]
) -> list[Components]:
    """``improvement`` of each candidate over the other in its place, by the measure in its place.

    What is made of the same replicates as another one (a group of one label) is computed once.
    """
    if len({one.seeds for one in (*candidates, *others)}) > 1:
        return [
            _unpaired(a, b, measure) if a.seeds != b.seeds else improvement(a, b, measure)
            for a, b, measure in zip(candidates, others, measures, strict=True)
        ]
    if not candidates:
        return []
    keys = [(id(a.replicates), id(b.replicates)) for a, b in zip(candidates, others, strict=True)]
    first = dict(zip(keys, zip(candidates, others, measures, strict=True), strict=True))
    several = [*first.values()]
    found: list[Components] = []
    for part in some_at_once(len(several), candidates[0].replicates.nbytes):
        points = np.array([measure.sign * (a.points - b.points) for a, b, measure in several[part]])
        replicates = np.empty((len(points), *candidates[0].replicates.shape))
        for k, (a, b, _) in enumerate(several[part]):  # variances have no sign
            np.subtract(a.replicates, b.replicates, out=replicates[k])
        found += components_of_each(points, replicates, [_df(a, b) for a, b, _ in several[part]])
    by_replicates = dict(zip(first, found, strict=True))
    return [by_replicates[of].with_patients_df(_df(a, b)) for of, a, b in zip(keys, candidates, others, strict=True)]


def _df(a: Estimate, b: Estimate) -> float:
    """Degrees of freedom of the patients' variance of a difference."""
    return min(a.patients_df, b.patients_df)


def pairs(
    estimates: Mapping[str, Estimate], measure: Measure, known: Mapping[Pair, Components] = MappingProxyType({})
) -> dict[Pair, Components]:
    """The improvement of each encoder over each one after it; ``known``: of those for which it need not be computed."""
    found: dict[Pair, Components] = {}
    names = list(estimates)
    for i, a in enumerate(names):
        after = names[i + 1 :]
        others = [b for b in after if (a, b) not in known]
        gains = improvements([estimates[a]] * len(others), [estimates[b] for b in others], [measure] * len(others))
        new = dict(zip(others, gains, strict=True))
        found |= {(a, b): new[b] if b in new else known[a, b] for b in after}
    return found


@dataclass(frozen=True)
class KeptPairs:
    """Which pairs of a test set's encoders are known from before, by metric (``outlines``); of headlines.

    ``keys``: what each encoder is kept by, encoders in their order.
    """

    keys: Mapping[str, str]
    outlines: tuple[Outline, ...]
    known: tuple[Mapping[Pair, Components], ...]

    @staticmethod
    def of(entries: Entries, keys: Mapping[str, str], outlines: tuple[Outline, ...]) -> "KeptPairs":
        """From what is kept."""
        encoders = {of: encoder for encoder, of in keys.items()}
        tested = [k for k, one in enumerate(outlines) if HEADLINE in one.tested]
        known: tuple[dict[Pair, Components], ...] = tuple({} for _ in outlines)
        for (of_keys, notes), numbers in entries.beginning(PAIRS):
            here = [(i, (encoders[a], encoders[b])) for i, (a, b) in enumerate(of_keys) if {a, b} <= {*encoders}]
            for k, of_metric, said in zip(tested, numbers.swapaxes(1, 2).tolist(), notes, strict=True):
                known[k].update((pair, Components(*of_metric[i], note=said.get(str(i), ""))) for i, pair in here)
        return KeptPairs(keys, outlines, known)

    @property
    def lacking(self) -> set[str]:
        """Encoders some of whose pairs are not known."""
        known = [of for of, one in zip(self.known, self.outlines, strict=True) if HEADLINE in one.tested]
        return {e for pair in combinations(self.keys, 2) if any(pair not in of for of in known) for e in pair}

    def completed(self, headlines: Sequence[Mapping[str, Estimate]]) -> list[dict[Pair, Components]]:
        """All pairs, by metric, from its headlines; none where the headline is not tested."""

        def complete(
            one: Outline, of: Mapping[str, Estimate], known: Mapping[Pair, Components]
        ) -> dict[Pair, Components]:
            return pairs(of, one.measure, known) if HEADLINE in one.tested else {}

        with ThreadPoolExecutor(threads()) as pool:  # several MB of differences for each metric
            return list(pool.map(complete, self.outlines, headlines, self.known))

    def keep(self, entries: Entries, found: Sequence[Mapping[Pair, Components]]) -> None:
        """Add those that were not known to what is kept."""
        tested = [k for k, one in enumerate(self.outlines) if HEADLINE in one.tested]
        new = [pair for pair in combinations(self.keys, 2) if any(pair not in self.known[k] for k in tested)]
        if new:
            of_keys = [[self.keys[a], self.keys[b]] for a, b in new]
            of_each = [[found[k][pair] for pair in new] for k in tested]
            notes = [{i: one.note for i, one in enumerate(of) if one.note} for of in of_each]
            numbers = [[[getattr(one, name) for one in of] for name in NUMBERS] for of in of_each]
            entries.add(PAIRS + key(of_keys), [of_keys, notes], np.array(numbers, dtype=np.float64))


def gains_of_replicates(candidate: Estimate, other: Estimate, measure: Measure) -> Array:
    """How much better the candidate's mean over its seeds is in each replicate [B]."""
    return measure.sign * (candidate.means - other.means)


def _unpaired(candidate: Estimate, other: Estimate, measure: Measure) -> Components:
    value, df = measure.sign * (candidate.value - other.value), min(candidate.patients_df, other.patients_df)
    alone = components(np.array([value]), gains_of_replicates(candidate, other, measure)[None], df)
    parts = [one for one in (candidate.components(), other.components()) if one.seeds_df > 0]
    between = sum(one.between for one in parts)
    welch = between**2 / sum(one.between**2 / one.seeds_df for one in parts) if between else 0.0
    return Components(value, alone.patients, df, between, sum(one.shared for one in parts), welch, alone.note)
