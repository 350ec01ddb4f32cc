"""What a table says of its encoders over all of its columns: means, ranks, who wins how often."""

import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from cxrbench.leaderboard.board import HEADLINE, NAN, Overall, Table
from cxrbench.leaderboard.statistics.bootstrap import percentile_interval
from cxrbench.leaderboard.statistics.inference import Components, Uncertain, moderated
from cxrbench.leaderboard.statistics.measured import Measured, families
from cxrbench.leaderboard.statistics.signed_rank import OverDatasets, over_datasets
from cxrbench.leaderboard.statistics.significance import GAIN_LEVEL, VALUE_LEVEL, holm

Array = NDArray[np.float64]
UNKNOWN = OverDatasets(NAN, NAN, NAN)


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
    values = moderated([_mean([one.values[e, HEADLINE] for one in columns], means[i]) for i, e in enumerate(names)])
    gains = _gains(columns, names, means, sign, baseline)
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
    base = names.index(baseline)
    parts = {e: [one.gains[e, HEADLINE] for one in columns] for e in others}
    drawn = {e: sign * (means[names.index(e)] - means[base]) for e in others}
    return dict(zip(others, moderated([_mean(parts[e], drawn[e]) for e in others]), strict=True))


def _mean(parts: Sequence[Components], draws: Array) -> Components:
    """The mean over columns, patients resampled in each of them by itself: draws [B].

    Degrees of freedom are Satterthwaite's, of the columns' variances.
    """
    k = len(parts)
    patients = np.array([c.patients for c in parts])
    if np.isnan(patients).any():
        return Components(float(np.mean([c.value for c in parts])), NAN, 1.0, note="a column has no variance")
    total = float(patients.sum())
    df = total**2 / sum(c.patients**2 / c.patients_df for c in parts) if total else 1.0
    between = np.array([c.between for c in parts])
    seeds_df = [c.seeds_df or 1.0 for c in parts]
    together = float(between.sum())
    return Components(
        value=float(np.mean([c.value for c in parts])), patients=float(draws.var(ddof=1)), patients_df=df,
        between=together / k**2, shared=sum(c.shared for c in parts) / k**2,
        seeds_df=together**2 / float((between**2 / seeds_df).sum()) if together else 0.0,
    )  # fmt: skip


def _ranks(values: Array) -> Array:
    """Ranks from 1 along axis 1 of [columns, k, B], smaller first, ties at their mean."""
    from scipy.stats import rankdata  # here: a board of one column shall not wait for it

    return rankdata(values, axis=1)
