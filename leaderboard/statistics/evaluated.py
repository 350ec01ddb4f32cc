"""All metrics of one encoder on one test set, by label: measured, or kept from before."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cxrbench.leaderboard.board import HEADLINE
from cxrbench.leaderboard.statistics.bootstrap import percentile_p
from cxrbench.leaderboard.statistics.evaluate import ByLabel, Estimate, components_of
from cxrbench.leaderboard.statistics.inference import Components
from cxrbench.leaderboard.statistics.kept import Entries
from cxrbench.leaderboard.statistics.outline import Outline
from cxrbench.leaderboard.statistics.paired import gains_of_replicates, improvements
from cxrbench.metrics.measure import Measure
from cxrbench.metrics.prepared import Array

OTHERS = "others "  # what begins the key of all headlines' replicates but the first


@dataclass(frozen=True)
class OfMetric:
    """What a board needs of an encoder's metric, by label; as in ``Measured``."""

    values: Mapping[str, Components]
    gains: Mapping[str, Components]
    percentiles: Mapping[str, float]
    folds: Mapping[str, tuple[float, float]]
    sd_seeds: Mapping[str, float]
    headline: Estimate

    def facts(self) -> dict[str, Any]:
        """As plain values, without the replicates."""
        return {
            "values": {label: of.plain() for label, of in self.values.items()},
            "gains": {label: of.plain() for label, of in self.gains.items()},
            "percentiles": self.percentiles,
            "folds": self.folds,
            "sd_seeds": self.sd_seeds,
            "points": self.headline.points.tolist(),
            "seeds": self.headline.seeds,
            "patients_df": self.headline.patients_df,
            "of_folds": self.headline.folds.tolist(),
        }

    @staticmethod
    def of(facts: Mapping[str, Any], replicates: Array) -> "OfMetric":
        """From ``facts``, and replicates of the headline [S, B]."""
        return OfMetric(
            values={label: Components(*of) for label, of in facts["values"].items()},
            gains={label: Components(*of) for label, of in facts["gains"].items()},
            percentiles=facts["percentiles"],
            folds={label: (of[0], of[1]) for label, of in facts["folds"].items()},
            sd_seeds=facts["sd_seeds"],
            headline=Estimate(
                np.array(facts["points"]), replicates, tuple(facts["seeds"]), facts["patients_df"],
                np.array(facts["of_folds"], dtype=np.float64),
            ),
        )  # fmt: skip


@dataclass(frozen=True)
class Evaluated:
    """All metrics of an encoder; ``whole``: with the replicates of every headline, not of the first alone."""

    metrics: tuple[OfMetric, ...]
    whole: bool = True

    def keep(self, entries: Entries, key: str, *, small: bool) -> None:
        """Add to what is kept; of a ``small`` test set the replicates of the first headline only."""
        first, *others = (one.headline.replicates for one in self.metrics)
        entries.add(key, [one.facts() for one in self.metrics], first)
        if others and not small:
            entries.add(OTHERS + key, None, np.stack(others))

    @staticmethod
    def kept(entries: Entries, key: str) -> "Evaluated | None":
        """What was kept, the replicates of the first headline with it; None if nothing was."""
        if (entry := entries.get(key)) is None:
            return None
        facts, first = entry
        none = [first[:, :0]] * (len(facts) - 1)
        return Evaluated(tuple(map(OfMetric.of, facts, [first, *none])), whole=not none)

    def completed(self, entries: Entries, key: str) -> "Evaluated":
        """With the replicates of every headline, if they were kept."""
        if self.whole or (entry := entries.get(OTHERS + key)) is None:
            return self
        return self.with_replicates([self.metrics[0].headline.replicates, *entry[1]])

    def with_replicates(self, replicates: Iterable[Array]) -> "Evaluated":
        """With these of the headlines, by metric."""
        return Evaluated(
            tuple(
                replace(one, headline=replace(one.headline, replicates=drawn))
                for one, drawn in zip(self.metrics, replicates, strict=True)
            )
        )


def evaluated(outlines: Sequence[Outline], by_metric: Sequence[ByLabel], base: Sequence[ByLabel]) -> Evaluated:
    """From an encoder's estimates, and those of what it is compared with: of all metrics at once."""
    values = iter(components_of([one for by_label in by_metric for one in by_label.values()]))
    compared = [
        [label for label in by_label if label in against and label in outline.tested]
        for outline, by_label, against in zip(outlines, by_metric, base, strict=True)
    ]
    pairs_of = [(by_metric[k][x], base[k][x], outlines[k].measure) for k, of in enumerate(compared) for x in of]
    gains = iter(improvements(*map(list, zip(*pairs_of, strict=True))) if pairs_of else ())
    return Evaluated(
        tuple(
            _of_estimates(
                outline.measure, by_label, against, {label: next(values) for label in by_label},
                {label: next(gains) for label in of},
            )
            for outline, by_label, against, of in zip(outlines, by_metric, base, compared, strict=True)
        )
    )  # fmt: skip


def _of_estimates(
    measure: Measure, by_label: ByLabel, base: ByLabel, values: dict[str, Components], gains: dict[str, Components]
) -> OfMetric:
    headline = by_label[HEADLINE]
    return OfMetric(
        values=values,
        gains=gains,
        percentiles=_percentiles(measure, by_label, base, gains),
        folds={label: fold for label, one in by_label.items() if (fold := _folds(one))},
        sd_seeds={label: float(one.points.std(ddof=1)) for label, one in by_label.items() if len(one.points) > 1},
        headline=replace(headline, replicates=headline.replicates.copy()),  # it may be a part of all labels'
    )


def _percentiles(measure: Measure, by_label: ByLabel, base: ByLabel, labels: Iterable[str]) -> dict[str, float]:
    """The percentile p of each label's gain; of the same replicates once."""
    known: dict[tuple[int, int], float] = {}
    found: dict[str, float] = {}
    for label in labels:
        one, other = by_label[label], base[label]
        both = id(one.replicates), id(other.replicates)
        if both not in known:
            known[both] = percentile_p(gains_of_replicates(one, other, measure))
        found[label] = known[both]
    return found


def _folds(one: Estimate) -> tuple[float, float] | None:
    """Mean and SD over the folds that have a value, where folds were ranked one by one."""
    known = one.folds[~np.isnan(one.folds)]
    return (float(known.mean()), float(known.std(ddof=1))) if len(known) > 1 else None
