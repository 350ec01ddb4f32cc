"""From measured metrics to records: every test corrected within its family, every interval with its family's seeds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

from cxrbench.leaderboard.board import HEADLINE, NAN, Record
from cxrbench.leaderboard.statistics.bootstrap import Interval
from cxrbench.leaderboard.statistics.counting import Counted
from cxrbench.leaderboard.statistics.inference import Components, Uncertain, moderated
from cxrbench.leaderboard.statistics.measured import Key, Measured, families
from cxrbench.leaderboard.statistics.paired import Pair, p_of_pairs
from cxrbench.leaderboard.statistics.significance import (
    ALPHA,
    GAIN_LEVEL,
    VALUE_LEVEL,
    holm,
    smallest_detectable_difference,
    tie_groups,
)
from cxrbench.metrics.measure import NO_MEAN

T = TypeVar("T")


@dataclass(frozen=True)
class Tested:
    """The records of one metric of one column, and the smallest gain over the baseline that its marks would find.

    ``apart``: of each pair of encoders the two-sided p of the headline, corrected over the family.
    """

    records: tuple[Record, ...]
    detectable: float
    apart: Mapping[Pair, float]


def in_families(
    everything: Sequence[Measured], baseline: str | None, marks: Mapping[int, Mapping[str, str]]
) -> dict[int, Tested]:
    """What becomes of each metric (by its ``id``). ``marks``: by ``id`` of the test set, whose results may flatter."""
    found: dict[int, Tested] = {}
    for family in families(everything).values():
        values = _together([{k: v for k, v in one.values.items() if k[1] == HEADLINE} for one in family])
        gains = _together([{k: v for k, v in one.gains.items() if k[1] == HEADLINE} for one in family])
        tests = [[gain.p() for gain in of.values()] for of in gains]
        corrected = _split(holm([p for of in tests for p in of]), [len(of) for of in tests])
        apart = p_of_pairs([one.pairs for one in family])
        separated = _split(holm(apart), [len(one.pairs) for one in family])
        count = sum(not math.isnan(p) for of in tests for p in of)
        for i, one in enumerate(family):
            of_pairs = dict(zip(one.pairs, separated[i], strict=True))
            letters = _letters(one, of_pairs)
            heads = _Answers(values[i], gains[i], dict(zip(gains[i], corrected[i], strict=True)))
            errors = [gain.error for gain in gains[i].values() if math.isfinite(gain.error)]
            found[id(one)] = Tested(
                tuple(_records(one, heads.beside(_of_labels(one)), baseline, letters, marks.get(id(one.tests), {}))),
                smallest_detectable_difference(float(np.median(errors)), count) if errors else NAN,
                of_pairs,
            )
    return found


class _Answers(NamedTuple):
    """Values and gains with what their families lend them, and the p of the gains, corrected."""

    values: Mapping[Key, Uncertain]
    gains: Mapping[Key, Uncertain]
    corrected: Mapping[Key, float]

    def beside(self, other: "_Answers") -> "_Answers":
        """Both."""
        return _Answers(
            {**self.values, **other.values}, {**self.gains, **other.gains}, {**self.corrected, **other.corrected}
        )


def _of_labels(one: Measured) -> _Answers:
    """Of labels and groups but the headline: a family of their own, of this metric and task."""
    (values,) = _together([{k: v for k, v in one.values.items() if k[1] != HEADLINE}])
    (gains,) = _together([{k: v for k, v in one.gains.items() if k[1] != HEADLINE}])
    return _Answers(values, gains, dict(zip(gains, holm([gain.p() for gain in gains.values()]), strict=True)))


def _together(several: Sequence[Mapping[Key, Components]]) -> list[dict[Key, Uncertain]]:
    """``moderated`` over all of them at once."""
    family = moderated([c for of in several for c in of.values()])
    parts = _split(family, [len(of) for of in several])
    return [dict(zip(of, part, strict=True)) for of, part in zip(several, parts, strict=True)]


def _split(whole: Sequence[T], lengths: Sequence[int]) -> list[list[T]]:
    """Consecutive parts of given lengths."""
    ends = np.cumsum([0, *lengths]).tolist()
    return [list(whole[a:b]) for a, b in pairwise(ends)]


def _records(
    one: Measured, answers: _Answers, baseline: str | None, letters: Mapping[str, str], flattered: Mapping[str, str]
) -> Iterator[Record]:
    """A record for each encoder and label. ``letters``, ``flattered``: by encoder."""
    task = one.tests.task
    for key in one.values:
        (encoder, label), value, gain = key, answers.values[key], answers.gains.get(key)
        of = one.rests_on[label]
        limits = _interval(one, label, of, value)
        ends = gain.interval(GAIN_LEVEL) if gain else None
        yield Record(
            encoder=encoder, dataset=task.dataset, protocol=task.protocol, fraction=task.fraction,
            metric=one.measure.name, label=label, value=value.value, lower=limits.lower, upper=limits.upper, n=of.n,
            p=gain.p() if gain else NAN, p_holm=answers.corrected[key] if gain else NAN,
            p_percentile=one.percentiles[key] if gain else NAN,
            tie_group=letters.get(encoder, "") if label == HEADLINE else "", baseline=(baseline or "") if gain else "",
            gain=gain.value if gain else NAN, gain_lower=ends.lower if ends else NAN,
            gain_upper=ends.upper if ends else NAN, patients=of.patients, positives=of.positives, rarer=of.rarer,
            seeds=one.seeds[encoder], se_patients=math.sqrt(value.patients),
            se_seeds=math.sqrt(value.seeds) if value.seeds_df else NAN, sd_folds=one.folds.get(key, (NAN, NAN))[1],
            sd_seeds=one.sd_seeds.get(key, NAN), by_chance=one.by_chance.get(key, NAN), synthetic=task.synthetic,
            contaminated=bool(flattered.get(encoder)), note=limits.note,
        )  # fmt: skip


def _interval(one: Measured, label: str, of: Counted, value: Uncertain) -> Interval:
    """Of a value; none where the label's rarer side has too few patients."""
    if not one.measure.has_mean(one.tests.groups.get(label, ())):
        return Interval(NAN, NAN, NO_MEAN)
    if math.isnan(value.value):
        return Interval(NAN, NAN, f"undefined on this test set ({of.rarest}: {of.rarer} patients on the rarer side)")
    if of.gap:
        return Interval(NAN, NAN, of.gap)
    limits = value.interval_of_share(VALUE_LEVEL) if one.measure.share else value.interval(VALUE_LEVEL)
    return replace(limits, note=f"{limits.note} ({of.rarest}: {of.rarer} patients)") if limits.note else limits


def _letters(one: Measured, pairs: Mapping[Key, float]) -> dict[str, str]:
    """Tie-group letters of the encoders all of whose pairs were tested; of the others none.

    One whose own value has no variance (undefined in too many replicates) takes no letter, and none from the others.
    """
    known = {e for e in one.headlines if not math.isnan(one.values[e, HEADLINE].patients)}
    untested = {e for pair, p in pairs.items() if math.isnan(p) and known.issuperset(pair) for e in pair}
    names = [e for e in one.headlines if e in known and e not in untested]
    if len(names) < 2 or not pairs:
        return {}
    place = {name: i for i, name in enumerate(names)}
    separated = np.zeros((len(names), len(names)), dtype=bool)
    for (a, b), p in pairs.items():
        if p < ALPHA and a in place and b in place:
            separated[place[a], place[b]] = separated[place[b], place[a]] = True
    letters = tie_groups([one.measure.sign * one.headlines[name].value for name in names], separated)
    return dict(zip(names, letters, strict=True))
