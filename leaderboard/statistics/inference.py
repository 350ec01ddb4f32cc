"""How sure is a value, or a paired difference? Variance from patients and from training seeds; intervals and p of both.

An estimate is a mean over S training seeds on one test set. Two things vary: which patients were drawn (V_P: the
bootstrap over patients, the seeds as they are) and which seeds (V_S: from the variance between the seeds' values). Then

    half width of an interval = sqrt(t(P)² V_P + t(K)² V_S)

t(k) is the quantile of Student's t with k degrees of freedom: P of the patients of the rarer class, K of the seeds.
This is the modified large-sample interval for a sum of variances (Graybill and Wang 1980). p is the level at which that
interval ends at zero, so a mark and an interval never disagree.

Two or three seeds tell little of their variance. The variances of a family of estimates (all differences of a table)
are therefore moderated (Smyth 2004, section 6): each is drawn towards what they have in common, the more the more
alike they are, and K counts what was borrowed. They are put in relation to V_P first, which makes columns comparable.
A single comparison borrows nothing, and K is S - 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, expit, logit, polygamma, stdtr, stdtrit

from cxrbench.leaderboard.statistics.bootstrap import Interval, too_many_undefined

Array = NDArray[np.float64]
LARGE = 1e9  # degrees of freedom that count as infinitely many
SMALLEST = 1e-150  # p that is told from 0; the square of its quantile is a number at any degrees of freedom
AT_ONCE = 1 << 20  # bytes of replicates whose variances are computed in one call
FEWEST = 4  # estimates with several seeds: fewer have no variance in common that could be told


@dataclass(frozen=True, slots=True)
class Components:
    """A number and what its variances were measured to be, by itself.

    ``patients``: V_P, NaN where there is none (``note`` says why), with ``patients_df``. ``between``: variance of the
    mean over seeds from the values of the ``seeds_df`` + 1 seeds; ``shared``: that part of it which ``patients`` has,
    too (seeds that are right about different patients).
    """

    value: float
    patients: float
    patients_df: float
    between: float = 0.0
    shared: float = 0.0
    seeds_df: float = 0.0
    note: str = ""

    def plain(self) -> list[float | str]:
        """The fields in their order."""
        return [getattr(self, name) for name in (*NUMBERS, "note")]

    def with_patients_df(self, df: float) -> "Components":
        """The same variances, that of the patients with other degrees of freedom."""
        return self if df == self.patients_df else replace(self, patients_df=df)


NUMBERS = tuple(name for name in Components.__dataclass_fields__ if name != "note")


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A number with the variances from patients and from seeds, and the degrees of freedom of both."""

    value: float
    patients: float
    patients_df: float
    seeds: float = 0.0
    seeds_df: float = 0.0
    note: str = ""

    @property
    def error(self) -> float:
        """Standard error from both."""
        return math.sqrt(self.patients + self.seeds)

    def half_width(self, tail: float) -> float:
        """How far the limit lies from the value beyond which a share ``tail`` is left."""
        if math.isnan(self.patients):
            return math.nan
        parts = ((self.patients, self.patients_df), (self.seeds, self.seeds_df))
        return math.sqrt(sum(_quantile(df, tail) ** 2 * v for v, df in parts if v > 0))

    def interval(self, level: float) -> Interval:
        """value -+ half width."""
        width = self.half_width((1 - level) / 2)
        return Interval(self.value - width, self.value + width, self.note)

    def interval_of_share(self, level: float) -> Interval:
        """Of a value in [0, 1]: made on the logit scale, so that it stays within and reaches further to the middle.

        The standard error is carried over by the delta method (Pepe 2003, section 5.2, for ROC areas). At 10 positive
        patients and an AUROC of .9 the percentile interval covers 86%, this 92%. 0 and 1 have no logit, and no
        interval.
        """
        if math.isnan(self.patients):
            return Interval(math.nan, math.nan, self.note)
        if not 0 < self.value < 1:
            return Interval(math.nan, math.nan, f"no interval: the value is {self.value:g}")
        width = self.half_width((1 - level) / 2) / (self.value * (1 - self.value))
        lower, upper = expit(logit(self.value) + width * np.array([-1, 1]))
        return Interval(float(lower), float(upper))

    def p(self, bound: float = 0.0) -> float:
        """One-tailed, H0: the number is no more than ``bound``. NaN where no test was made."""
        away = self.value - bound
        if math.isnan(self.patients) or (self.error == 0 and self.value != 0):
            return math.nan  # not measured, or something that no resample changes
        if self.error == 0:
            return 1.0 if bound >= 0 else 0.0  # the same predictions
        return self._tail(away) if away > 0 else 1 - self._tail(away)

    def p_two_sided(self) -> float:
        """H0: the number is 0."""
        if math.isnan(self.patients) or self.error == 0:
            return self.p()
        return 2 * self._tail(self.value)

    def _tail(self, away: float) -> float:
        """The share beyond the limit that lies ``away`` from the value, in (0, ½]."""
        if self.seeds == 0:
            return float(stdtr(min(self.patients_df, LARGE), -abs(away) / math.sqrt(self.patients)))
        return _crossing(lambda tail: self.half_width(tail) - abs(away), SMALLEST, 0.5)


@lru_cache(maxsize=4096)  # found by a search; the encoders of a column have the same patients, and so these degrees
def _quantile(df: float, tail: float) -> float:
    """Of Student's t."""
    return float(stdtrit(min(df, LARGE), tail))


def some_at_once(count: int, size: int) -> list[slice]:
    """``count`` arrays of ``size`` bytes in parts that are worked on at once: several calls for one, but in a cache."""
    step = max(1, AT_ONCE // max(1, size))
    return [slice(start, start + step) for start in range(0, count, step)]


def components(points: Array, replicates: Array, patients_df: float) -> Components:
    """From values [S] of training seeds on the test set, and their replicates [S, B] over the same resampled patients.

    The variance of the mean over seeds contains, divided by S, that of seeds which are right about different patients,
    and so does the variance between the seeds' values; it follows from the variances of the single seeds' replicates
    and of their mean. Undefined replicates are left out; above 5% of them there is no variance.
    """
    return components_of_each(points[None], replicates[None], [patients_df])[0]


def components_of_each(points: Array, replicates: Array, patients_df: Sequence[float]) -> list[Components]:
    """``components`` of K numbers, points [K, S] and replicates [K, S, B], at once."""
    means = replicates.mean(1) if replicates.shape[1] > 1 else replicates[:, 0]
    if means.shape[1] < 2:
        return [_of_defined(*one) for one in zip(points, replicates, means, patients_df, strict=True)]
    found = _of_whole(points, replicates, means, patients_df)
    return [  # where one of the replicates is undefined, so is their variance
        _of_defined(points[k], replicates[k], means[k], patients_df[k]) if math.isnan(one.patients) else one
        for k, one in enumerate(found)
    ]


def _of_defined(points: Array, replicates: Array, means: Array, df: float) -> Components:
    """``components`` from the replicates that are not undefined, if those are few."""
    value, undefined = float(points.mean()), np.isnan(means)
    if math.isnan(value):
        return Components(value, math.nan, df, note="undefined on this test set")
    if why := too_many_undefined(means):
        return Components(value, math.nan, df, note=why)
    kept = replicates[:, ~undefined]
    return _of_whole(points[None], kept[None], kept.mean(0)[None] if len(kept) > 1 else kept, [df])[0]


def _of_whole(points: Array, replicates: Array, means: Array, patients_df: Sequence[float]) -> list[Components]:
    """``components`` of K numbers; ``means`` [K, B] over their seeds. Nothing is NaN but, it may be, a point."""
    seeds = points.shape[1]
    numbers = zip(points.mean(1).tolist(), means.var(axis=1, ddof=1).tolist(), patients_df, strict=True)
    found = [
        Components(v, p, df) if v == v else Components(v, math.nan, df, note="undefined on this test set")
        for v, p, df in numbers
    ]
    if seeds == 1:
        return found
    each = replicates.var(axis=2, ddof=1).mean(1).tolist()
    between = (points.var(axis=1, ddof=1) / seeds).tolist()
    return [
        c if c.note
        else Components(c.value, c.patients, c.patients_df, b, max(0.0, e - c.patients) / (seeds - 1), seeds - 1)
        for c, b, e in zip(found, between, each, strict=True)
    ]  # fmt: skip


def moderated(family: Sequence[Components]) -> list[Uncertain]:
    """The family's numbers with their variances, those from seeds moderated by each other (Smyth 2004, section 6).

    With d degrees of freedom, s² = V_S / V_P of each, and d0, s0² fitted to all of them by the moments of log s², the
    variance is V_P (d0 s0² + d s²) / (d0 + d), with d0 + d degrees of freedom, less what the patients' part has too.
    """
    several = [i for i, one in enumerate(family) if one.seeds_df > 0 and one.patients > 0]
    found = [Uncertain(c.value, c.patients, c.patients_df, c.between, c.seeds_df, c.note) for c in family]
    if len(several) < FEWEST:
        return found
    ratio = np.array([family[i].between / family[i].patients for i in several])
    df = np.array([family[i].seeds_df for i in several])
    prior_df, prior = _prior(ratio, df)
    posterior = (prior_df * prior + df * ratio) / (prior_df + df)
    for i, one, k in zip(several, posterior, df, strict=True):
        c = family[i]
        seeds = max(0.0, float(one) * c.patients - c.shared)
        found[i] = Uncertain(c.value, c.patients, c.patients_df, seeds, min(LARGE, prior_df + float(k)), c.note)
    return found


def p_two_sided(values: Array, patients: Array, df: Array) -> Array:
    """``Uncertain.p_two_sided`` of many numbers [K] at once, with variances from patients alone."""
    known = patients > 0  # neither NaN nor the variance of what no resample changes
    p = np.where((patients == 0) & (values == 0), 1.0, np.nan)
    p[known] = 2 * stdtr(np.minimum(df[known], LARGE), -np.abs(values[known]) / np.sqrt(patients[known]))
    return p


def _prior(variances: Array, df: Array) -> tuple[float, float]:
    """d0 and s0² of Smyth (2004), section 6.2: by mean and variance of log s², whose distribution is a known one."""
    least = 1e-8 * float(np.median(variances)) or 1e-300  # a variance of 0 (the same predictions) has no logarithm
    e = np.log(np.maximum(variances, least)) - digamma(df / 2) + np.log(df / 2)
    excess = float(e.var(ddof=1) - polygamma(1, df / 2).mean())
    if excess <= 0:
        return LARGE, math.exp(float(e.mean()))
    prior_df = 2 * _crossing(lambda x: float(polygamma(1, x)) - excess, 1e-6, LARGE / 2)
    return prior_df, math.exp(float(e.mean() + digamma(prior_df / 2) - np.log(prior_df / 2)))


def _crossing(falls: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function of a positive number crosses zero between two limits, or at which limit it ends."""
    from scipy.optimize import brentq  # here: most boards have one seed, and need no search

    if falls(high) >= 0 or falls(low) <= 0:
        return high if falls(high) >= 0 else low
    root: Any = brentq(lambda x: falls(math.exp(x)), math.log(low), math.log(high), xtol=1e-13)
    return math.exp(root)
