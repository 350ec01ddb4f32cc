"""How much better is one encoder than another, on the same resampled patients? Of one pair, and of all."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

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
    moderated,
    p_two_sided,
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


@dataclass(frozen=True, eq=False)
class Pairs(Mapping[Pair, Components]):
    """Improvements of the first encoder over the second of each pair: there are so many that they are kept in columns.

    ``places``: of the pairs in ``numbers`` [pairs, fields of Components]; ``notes``: of those that have one.
    """

    places: Mapping[Pair, int]
    numbers: Array
    notes: Mapping[int, str]

    def __getitem__(self, pair: Pair) -> Components:
        at = self.places[pair]
        return Components(*self.numbers[at].tolist(), note=self.notes.get(at, ""))

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    @staticmethod
    def of(found: Mapping[Pair, Components]) -> "Pairs":
        """From a Mapping of any kind."""
        if isinstance(found, Pairs):
            return found
        rows = [one.plain() for one in found.values()]
        notes = {i: str(row[-1]) for i, row in enumerate(rows) if row[-1]}
        numbers = np.array([row[:-1] for row in rows], dtype=np.float64).reshape(len(rows), len(NUMBERS))
        return Pairs({pair: i for i, pair in enumerate(found)}, numbers, notes)


NO_PAIRS = Pairs({}, np.empty((0, len(NUMBERS))), {})


def pairs(estimates: Mapping[str, Estimate], measure: Measure, known: Pairs = NO_PAIRS) -> Pairs:
    """The improvement of each encoder over each one after it; ``known``: of those for which it need not be computed."""
    found: dict[Pair, Components] = {}
    names = list(estimates)
    for i, a in enumerate(names):
        others = [b for b in names[i + 1 :] if (a, b) not in known.places]
        gains = improvements([estimates[a]] * len(others), [estimates[b] for b in others], [measure] * len(others))
        found |= {(a, b): gain for b, gain in zip(others, gains, strict=True)}
    return _joined([known, Pairs.of(found)], {pair: pair for pair in combinations(names, 2)})


def _joined(several: Sequence[Pairs], wanted: Mapping[Pair, Pair]) -> Pairs:
    """The wanted pairs in their order, as far as they stand in any, where they are called by the other names."""
    ends = np.cumsum([0, *map(len, several)]).tolist()
    places = {pair: start + at for of, start in zip(several, ends, strict=False) for pair, at in of.places.items()}
    notes = {start + at: note for of, start in zip(several, ends, strict=False) for at, note in of.notes.items()}
    there = {pair: places[name] for pair, name in wanted.items() if name in places}
    order = list(there.values())
    return Pairs(
        {pair: i for i, pair in enumerate(there)},
        np.concatenate([of.numbers for of in several])[order],
        {i: notes[at] for i, at in enumerate(order) if at in notes},
    )


def p_of_pairs(several: Sequence[Mapping[Pair, Components]]) -> list[float]:
    """Two-sided p of all pairs of a family, moderated where anything is known of seeds."""
    columns = [Pairs.of(one) for one in several]
    numbers = np.concatenate([one.numbers for one in columns])
    if (numbers[:, NUMBERS.index("seeds_df")] > 0).any():
        return [one.p_two_sided() for one in moderated([pair for one in columns for pair in one.values()])]
    return p_two_sided(*numbers[:, :3].T).tolist()


@dataclass(frozen=True)
class KeptPairs:
    """Which pairs of a test set's encoders are known from before, by metric; of headlines that are tested.

    ``keys``: what each encoder is kept by, encoders in their order; ``known``: by the place of the outline.
    """

    keys: Mapping[str, str]
    outlines: tuple[Outline, ...]
    known: Mapping[int, Pairs]

    @staticmethod
    def of(entries: Entries, keys: Mapping[str, str], outlines: tuple[Outline, ...]) -> "KeptPairs":
        """From what is kept."""
        tested = [k for k, one in enumerate(outlines) if HEADLINE in one.tested]
        found: dict[int, list[Pairs]] = {k: [NO_PAIRS] for k in tested}
        here = {*keys.values()}
        for (of_keys, notes), numbers in entries.beginning(PAIRS):
            places = {(a, b): i for i, (a, b) in enumerate(of_keys) if a in here and b in here}
            if not places:  # of other labels or another baseline, it may be, of which other metrics are tested
                continue
            for k, of_metric, said in zip(tested, numbers, notes, strict=True):
                found[k].append(Pairs(places, of_metric, {int(i): note for i, note in said.items()}))
        wanted = {(a, b): (keys[a], keys[b]) for a, b in combinations(keys, 2)}
        return KeptPairs(keys, outlines, {k: _joined(of, wanted) for k, of in found.items()})

    @cached_property
    def missing(self) -> list[Pair]:
        """Pairs of which some metric is not known."""
        return [x for x in combinations(self.keys, 2) if any(x not in of.places for of in self.known.values())]

    def completed(self, headlines: Sequence[Mapping[str, Estimate]]) -> list[Pairs]:
        """All pairs, by metric, from its headlines; none where the headline is not tested."""

        def complete(k: int) -> Pairs:
            return pairs(headlines[k], self.outlines[k].measure, self.known[k])

        found = dict(self.known)
        if self.missing:
            with ThreadPoolExecutor(threads()) as pool:  # several MB of differences for each metric
                found = dict(zip(self.known, pool.map(complete, self.known), strict=True))
        return [found.get(k, NO_PAIRS) for k in range(len(self.outlines))]

    def keep(self, entries: Entries, found: Sequence[Pairs]) -> None:
        """Add those that were not known to what is kept."""
        if self.missing and self.known:
            of_keys = [[self.keys[a], self.keys[b]] for a, b in self.missing]
            new = [_joined([found[k]], {pair: pair for pair in self.missing}) for k in self.known]
            entries.add(
                PAIRS + key(of_keys), [of_keys, [one.notes for one in new]], np.stack([one.numbers for one in new])
            )


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
