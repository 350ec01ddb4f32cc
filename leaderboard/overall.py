"""What a table says of its encoders over all of its columns: means, ranks, who wins how often."""

import math
from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from cxrbench.leaderboard.board import HEADLINE, NAN, Overall, Table
from cxrbench.leaderboard.statistics.bootstrap import percentile_interval
from cxrbench.leaderboard.statistics.inference import NUMBERS, Components, Uncertain, moderated
from cxrbench.leaderboard.statistics.measured import Measured, families
from cxrbench.leaderboard.statistics.paired import Pair, Pairs, p_of_pairs
from cxrbench.leaderboard.statistics.signed_rank import OverDatasets, over_datasets
from cxrbench.leaderboard.statistics.significance import GAIN_LEVEL, VALUE_LEVEL, holm

Array = NDArray[np.float64]
UNKNOWN = OverDatasets(NAN, NAN, NAN)
VALUE, PATIENTS = NUMBERS.index("value"), NUMBERS.index("patients")


def overall(
    headlines: Sequence[Measured], baseline: str | None, rope: float, seed: int
) -> dict[Table, tuple[Overall, ...]]:
    """By table, its encoders that have every column, with an interval; only for tables of several columns, all tested.

    ``rope``: differences of a metric in [0, 1] that do not matter.
    """
    found = {table: _of_table(of, baseline, rope, seed) for table, of in families(headlines).items() if _several(of)}
    return {table: encoders for table, encoders in found.items() if encoders}


def _several(columns: Sequence[Measured]) -> bool:
    """Whether there are several columns, and a mean over them."""
    labels = (label for one in columns for label in one.tests.groups[HEADLINE])
    return len(columns) > 1 and columns[0].measure.has_mean(labels)


def _of_table(columns: Sequence[Measured], baseline: str | None, rope: float, seed: int) -> tuple[Overall, ...]:
    names = [e for e in columns[0].headlines if all(_known(one, e) for one in columns)]
    if len(names) < 2:
        return ()
    measure = columns[0].measure
    sign = measure.sign
    draws = np.stack([[one.headlines[e].means for e in names] for one in columns])  # [columns, k, B]
    points = np.array([[one.headlines[e].value for e in names] for one in columns])
    draws = draws[:, :, ~np.isnan(draws).any((0, 1))]
    if draws.shape[2] < 2:
        return ()
    ranks, at_points = _ranks(-sign * draws).mean(0), _ranks(-sign * points[:, :, None]).mean(0)[:, 0]
    means = draws.mean(0)
    best = (sign * means == (sign * means).max(0)).astype(np.float64)
    best /= best.sum(0)
    values = moderated(_means([[one.values[e, HEADLINE] for e in names] for one in columns], means))
    gains = _gains(columns, names, means, sign, baseline)
    apart = _apart(columns, names, means, sign * points.mean(0))
    corrected = dict(zip(gains, holm([gain.p() for gain in gains.values()]), strict=True))
    wins = {
        (a, b): float((sign * (means[i] - means[j]) > 0).mean()) for (i, a), (j, b) in permutations(enumerate(names), 2)
    }
    rows = []
    for i, name in enumerate(names):
        limits = values[i].interval_of_share(VALUE_LEVEL) if measure.share else values[i].interval(VALUE_LEVEL)
        of_rank = percentile_interval(ranks[i], VALUE_LEVEL)
        gain = gains.get(name)
        ends = gain.interval(GAIN_LEVEL) if gain else None
        elsewhere = UNKNOWN
        if gain and baseline and measure.share:
            elsewhere = over_datasets(sign * (points[:, i] - points[:, names.index(baseline)]), rope, seed)
        rows.append(
            Overall(
                encoder=name, value=values[i].value, lower=limits.lower, upper=limits.upper, rank=float(at_points[i]),
                rank_lower=of_rank.lower, rank_upper=of_rank.upper, best=float(best[i].mean()),
                wins={b: share for (a, b), share in wins.items() if a == name},
                gain=gain.value if gain else NAN, gain_lower=ends.lower if ends else NAN,
                gain_upper=ends.upper if ends else NAN, p=gain.p() if gain else NAN, p_holm=corrected.get(name, NAN),
                apart={(a if b == name else b): p for (a, b), p in apart.items() if name in (a, b)},
                **elsewhere._asdict(),
            )
        )  # fmt: skip
    return tuple(rows)


def _known(one: Measured, encoder: str) -> bool:
    """Whether the encoder has a value in a column, of which enough replicates are defined to say how sure it is."""
    value = one.values.get((encoder, HEADLINE))
    return value is not None and HEADLINE in one.tested and not math.isnan(value.patients)


def _gains(
    columns: Sequence[Measured], names: Sequence[str], means: Array, sign: int, baseline: str | None
) -> dict[str, Uncertain]:
    if baseline is None or baseline not in names:
        return {}
    others = [e for e in names if e != baseline]
    at, base = [names.index(e) for e in others], names.index(baseline)
    found = _means([[one.gains[e, HEADLINE] for e in others] for one in columns], means[at] - means[base])
    return dict(zip(others, moderated(found), strict=True))


def _apart(columns: Sequence[Measured], names: Sequence[str], means: Array, values: Array) -> dict[Pair, float]:
    """Two-sided p of the difference of each pair's means, Holm over all pairs.

    ``means``: replicates [k, B]; ``values`` [k]: the encoders' means, more is better.
    """
    first, second = np.triu_indices(len(names), 1)
    wanted = [*combinations(names, 2)]
    of_columns = np.stack([_of_pairs(Pairs.of(one.pairs), wanted) for one in columns])
    drawn = np.concatenate([(means[i + 1 :] - means[i]).var(axis=1, ddof=1) for i in range(len(names) - 1)])
    numbers = _over_columns(of_columns, drawn)
    numbers[:, VALUE] = values[first] - values[second]
    pairs = Pairs({pair: i for i, pair in enumerate(wanted)}, numbers, {})
    return dict(zip(wanted, holm(p_of_pairs([pairs])), strict=True))


def _of_pairs(found: Pairs, wanted: Sequence[Pair]) -> Array:
    """The numbers [pairs, fields of Components] of the wanted pairs, whichever of the two stands first."""
    return found.numbers[[found.places[(a, b) if (a, b) in found.places else (b, a)] for a, b in wanted]]


def _means(columns: Sequence[Sequence[Components]], draws: Array) -> list[Components]:
    """Means over columns of K numbers, of which each column has the variances; draws [K, B]: of the means."""
    if not columns[0]:
        return []
    numbers = np.array([[one.plain()[:-1] for one in of] for of in columns], dtype=np.float64)
    notes = ["a column has no variance" if math.isnan(v) else "" for v in numbers[:, :, PATIENTS].sum(0)]
    found = _over_columns(numbers, draws.var(axis=1, ddof=1))
    return [Components(*row, note=note) for row, note in zip(found.tolist(), notes, strict=True)]


def _over_columns(numbers: Array, variances: Array) -> Array:
    """Means over columns of K numbers, patients resampled in each column by itself: [K, fields of Components].

    ``numbers``: [columns, K, fields]; ``variances`` [K]: of the means' replicates. Degrees of freedom are
    Satterthwaite's, of the columns' variances. Where a column has no variance, the mean has none.
    """
    k = len(numbers)
    value, patients, patients_df, between, shared, seeds_df = np.moveaxis(numbers, 2, 0)
    total, together = patients.sum(0), between.sum(0)
    weighed = (patients**2 / patients_df).sum(0)
    of_seeds = (between**2 / np.where(seeds_df > 0, seeds_df, 1.0)).sum(0)
    df = np.divide(total**2, weighed, out=np.ones_like(total), where=weighed > 0)
    known = ~np.isnan(total)
    return np.stack(
        [
            value.mean(0), np.where(known, variances, NAN), df, np.where(known, together / k**2, 0.0),
            np.where(known, shared.sum(0) / k**2, 0.0),
            np.divide(together**2, of_seeds, out=np.zeros_like(total), where=known & (of_seeds > 0)),
        ],
        axis=1,
    )  # fmt: skip


def _ranks(values: Array) -> Array:
    """Ranks from 1 along axis 1 of [columns, k, B], smaller first, ties at their mean."""
    from scipy.stats import rankdata  # here: a board of one column shall not wait for it

    return rankdata(values, axis=1)
