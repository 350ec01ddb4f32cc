"""Made-up test sets whose truth is known: scores of encoders, of which all but one are equally good.

An encoder's latent value of an image is x = (patient + image + encoder's own + seed's own) effect, together of unit
variance; images of one patient share the first, encoders the first two. Its skill is ``skill + gain + tau g``, g of
unit variance by encoder and seed, half of it common to the encoders that were trained with one seed. The metrics are
made from x so that their expectation over patients *and* seeds is an integral that is done by quadrature.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr

from cxrbench.leaderboard.statistics.alignment import AlignedTask, TestSet
from cxrbench.predictions import Kind

Array = NDArray[np.float64]
VARIANCES = {"patient": 0.3, "image": 0.3, "encoder": 0.3, "seed": 0.1}
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
QUANTILES = np.linspace(-9, 12, 4_001)  # thresholds over which a curve is followed
HIT = 0.735  # share of true boxes that a detector finds at all


@dataclass(frozen=True)
class Design:
    """One setting. ``spread``: seed SD of a paired difference, in its standard error from patients."""

    metric: str
    n: int = 300
    prevalence: float = 0.5
    images: int = 1
    seeds: int = 1
    spread: float = 0.0
    folds: int = 1
    columns: int = 3
    encoders: int = 4


@dataclass(frozen=True)
class World:
    """How a metric is made of latent values, and what it is then.

    ``kind``: of predictions; ``skill``: of an encoder. ``rows(x, skill, y, prevalence, hits)``: the columns of one
    encoder's table; x: [n] latent values, y: [n] whether an image has the finding, hits: [n] a second latent value.
    ``truth(skill, tau, prevalence)``: the metric, tau the SD of the skill over seeds.
    """

    kind: Kind
    skill: float
    rows: Callable[[Array, Array | float, Array, float, Array], dict[str, object]]
    truth: Callable[[float, float, float], float]


def _scores(x: Array, skill: Array | float, y: Array, prevalence: float, hits: Array) -> dict[str, object]:
    """Posterior probabilities at the usual skill: calibrated there, monotone in x always."""
    del hits
    usual = WORLDS["brier"].skill
    return {"score:a": expit(logit(prevalence) + usual * (x + skill * y) - usual**2 / 2), "target:a": y}


def _auroc(skill: float, tau: float, prevalence: float) -> float:
    del prevalence
    return float(ndtr(skill / np.sqrt(2 + tau**2)))


def _auprc(skill: float, tau: float, prevalence: float) -> float:
    def at(one: float) -> float:
        recall, alarms = ndtr(one - QUANTILES), ndtr(-QUANTILES)
        precision = prevalence * recall / (prevalence * recall + (1 - prevalence) * alarms)
        return float(-np.trapezoid(precision, recall))

    return _over_seeds(at, skill, tau)


def _brier(skill: float, tau: float, prevalence: float) -> float:
    usual = WORLDS["brier"].skill

    def at(one: float) -> float:
        p1, p0 = (expit(logit(prevalence) + usual * (NODES + m) - usual**2 / 2) for m in (one, 0.0))
        return float(WEIGHTS @ (prevalence * (1 - p1) ** 2 + (1 - prevalence) * p0**2))

    return _over_seeds(at, skill, tau)


def _masks(x: Array, skill: Array | float, y: Array, prevalence: float, hits: Array) -> dict[str, object]:
    """A tenth of the images without the finding gets a mask; where there is one, Dice is a logistic function."""
    del prevalence, hits
    dice = expit(1 + x + skill)
    alarm = x + skill < -1.28
    predicted = np.where(y == 1, 1_000.0, np.where(alarm, 100.0, 0.0))
    return {"target:a": 1_000.0 * y, "predicted:a": predicted, "intersection:a": 1_000 * dice * y}


def _dice(skill: float, tau: float, prevalence: float) -> float:
    wide = np.sqrt(1 + tau**2)
    of_positives = float(WEIGHTS @ expit(1 + skill + wide * NODES))
    return prevalence * of_positives + (1 - prevalence) * float(ndtr((1.28 + skill) / wide))


def _boxes(x: Array, skill: Array | float, y: Array, prevalence: float, hits: Array) -> dict[str, object]:
    """One detection in every image; of those of a true box, ``HIT`` fit it."""
    del prevalence
    found = (y == 1) & (ndtr(hits) < HIT)
    return {
        "target:a": y, "scores": list(expit(x + skill * y)[:, None]),
        "classes": [np.zeros(1, np.int64)] * len(x), "matches": list((4095 * found).astype(np.int32)[:, None]),
    }  # fmt: skip


def _map(skill: float, tau: float, prevalence: float) -> float:
    def at(one: float) -> float:
        every, alarms = ndtr(one - QUANTILES), ndtr(-QUANTILES)
        precision = HIT * prevalence * every / (prevalence * every + (1 - prevalence) * alarms)
        best = np.maximum.accumulate(precision)
        recalls = np.linspace(0, 1, 101)
        return float(np.interp(recalls, (HIT * every)[::-1], best[::-1], right=0.0).mean())

    return _over_seeds(at, skill, tau)


def _queries(x: Array, skill: Array | float, y: Array, prevalence: float, hits: Array) -> dict[str, object]:
    del y, prevalence, hits
    first = x + skill > 0
    return {"target:a": np.ones(len(x)), "rank:a": np.where(first, 1.0, 2.0), "value:recall@1:a": first.astype(float)}


def _recall(skill: float, tau: float, prevalence: float) -> float:
    del prevalence
    return float(ndtr(skill / np.sqrt(1 + tau**2)))


WORLDS: dict[str, World] = {
    "auroc": World("multilabel", 1.2, _scores, _auroc),
    "auprc": World("multilabel", 1.2, _scores, _auprc),
    "brier": World("multilabel", 1.2, _scores, _brier),
    "dice": World("segmentation", 0.0, _masks, _dice),
    "map": World("detection", 1.2, _boxes, _map),
    "recall@1": World("retrieval", 0.25, _queries, _recall),
}


def _over_seeds(at: Callable[[float], float], skill: float, tau: float) -> float:
    return float(sum(w * at(skill + tau * x) for x, w in zip(NODES, WEIGHTS, strict=True))) if tau else at(skill)


def truth(design: Design, gain: float = 0.0, tau: float = 0.0) -> float:
    """The metric of an encoder that is better by ``gain``, over patients and seeds without end."""
    world = WORLDS[design.metric]
    return world.truth(world.skill + gain, tau, design.prevalence)


def names(design: Design) -> list[str]:
    """The baseline, the equals, and the better one last."""
    return ["baseline", *(f"equal{i}" for i in range(1, design.encoders)), "better"]


def one_column(design: Design, rng: np.random.Generator, column: int, gain: float, tau: float) -> TestSet:
    """One column: patients, their images, and every encoder's predictions with every seed."""
    world, n = WORLDS[design.metric], design.n
    people = -(-n // design.images)
    person = np.arange(n) // design.images
    y = (rng.random(people) < design.prevalence).astype(np.float64)[person]
    sd = {name: np.sqrt(v) for name, v in VARIANCES.items()}
    encoders = names(design)
    shared = sd["patient"] * rng.standard_normal(people)[person] + sd["image"] * rng.standard_normal(n)
    own = sd["encoder"] * rng.standard_normal((len(encoders), 1, n))
    each = sd["seed"] * rng.standard_normal((len(encoders), design.seeds, n))
    x = shared + own + each
    hits = np.sqrt(0.6) * rng.standard_normal(n) + np.sqrt(0.4) * rng.standard_normal((len(encoders), 1, n))
    hits = np.broadcast_to(hits, x.shape)
    common = rng.standard_normal(design.seeds)
    g = np.sqrt(0.5) * (common + rng.standard_normal((len(encoders), design.seeds)))
    facts: dict[str, object] = {"image_id": np.char.add("i", np.arange(n).astype(str))}
    fold = person % design.folds
    rows: dict[str, tuple[pd.DataFrame, ...]] = {}
    for e, name in enumerate(encoders):
        of_seeds = []
        for s in range(design.seeds):
            skill = world.skill + tau * g[e, s] + (gain if name == "better" else 0.0)
            made = world.rows(x[e, s], skill, y, design.prevalence, hits[e, s])
            if design.folds > 1:  # every fold's model has a scale of its own
                moved = logit(np.asarray(made["score:a"])) + rng.standard_normal(design.folds)[fold]
                made |= {"score:a": expit(moved), "fold": fold}
            of_seeds.append(pd.DataFrame(facts | made))
        rows[name] = tuple(of_seeds)
    return TestSet(
        task=AlignedTask(True, f"column{column}", "made-up", 1.0), labels=("a",), kind=world.kind,
        groups={"macro": ("a",)}, key=str(rng.integers(2**62)), patients=person.astype(str),
        targets=rows["baseline"][0][["target:a"]].to_numpy(np.float64), rows=rows,
        seeds={name: tuple(range(design.seeds)) for name in encoders}, notes=(),
    )  # fmt: skip
