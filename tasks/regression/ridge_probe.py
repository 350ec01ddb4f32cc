"""Regression by ridge probe: the numbers of a dataset from frozen, standardized image embeddings."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.attributes import PREFIX
from cxrbench.data.manifest import QUANTITY, Manifest
from cxrbench.errors import NotApplicableError
from cxrbench.predictions import Predictions
from cxrbench.task import Asked, Cell, FrozenEncoder, Need, Task, lacking, predictions_of
from cxrbench.tasks.fractions import label_fraction, more_than_asked
from cxrbench.tasks.ridge import fit_ridge
from cxrbench.tasks.standardize import Standardizer

STRENGTHS = tuple(float(a) for a in np.logspace(-2, 6, 9))
"""scikit-learn's alpha: 1 / C of the linear probe's."""
AGE = "age"
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RidgeProbe(Task):
    """The ``regression`` protocol: the manifest's quantities or, where it has none and knows ages, the age in years.

    Train rows of the label fraction fit one ridge regression per quantity and strength, on what is known of it; for
    each quantity the strength with the smallest validation error (mean square) is kept. The whole validation split is
    used at every fraction. It has no randomness of its own: a seed only picks the label fraction's patients. Ages alone
    are asked for only where the protocol is named.
    """

    name: str = "regression"
    summary: str = "ridge probe on frozen embeddings, of numbers (severity; age where it is named): R², MAE"
    needs: tuple[Need, ...] = ("train", "val", "test")

    @property
    def asks(self) -> frozenset[Asked] | None:
        """Image embeddings."""
        return frozenset({"pooled"})

    def by_default(self, manifest: Manifest) -> bool:
        """A dataset whose numbers are named as such."""
        return bool(manifest.quantities)

    def adapted(self, manifest: Manifest) -> Manifest:
        """The dataset with its ages as a quantity, where it has no other."""
        if manifest.quantities or PREFIX + AGE not in manifest.images:
            return manifest
        years = np.array([float(cell or "nan") for cell in manifest.images[PREFIX + AGE]], np.float32)
        if len(np.unique(years[~np.isnan(years)])) < 2:
            return manifest
        return replace(manifest, images=manifest.images.assign(**{QUANTITY + AGE: years}), quantities=(AGE,))

    def not_applicable(self, manifest: Manifest) -> str | None:
        """A dataset without numbers to predict, or without one of the splits."""
        if not manifest.quantities:
            return "it has no numbers to predict: the key regression of its TOML file names them"
        return lacking(manifest, self.needs)

    def seeds_matter(self, fraction: float) -> bool:
        """At fraction 1 every seed gives the same bits."""
        return fraction < 1

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Fit, select, predict. Raises NotApplicableError where no quantity can be trained."""
        features, targets = np.asarray(encoder.pooled(manifest), np.float32), manifest.measured()
        train, val, test = (manifest.rows_of(split) for split in ("train", "val", "test"))
        patients = manifest.images["patient_id"].to_numpy(str)
        known = train[~np.isnan(targets[train]).all(1)]
        kept = known[label_fraction(patients[known], np.zeros((len(known), 0), np.float32), cell.fraction, cell.seed)]
        held_out = np.concatenate([val, test])
        standardize = Standardizer.of(features[kept])
        x, x_held_out = standardize(features[kept]), standardize(features[held_out])
        predicted = np.full((len(held_out), len(manifest.quantities)), np.nan)
        chosen: dict[str, float] = {}
        notes = [*more_than_asked(cell.fraction, len(kept), len(known))]
        for i, name in enumerate(manifest.quantities):
            y, y_val = targets[kept, i].astype(np.float64), targets[val, i].astype(np.float64)
            if len(np.unique(y[~np.isnan(y)])) < 2:
                notes.append(f"fewer than two different values among the training images, so not trained: {name}")
                continue
            predicted[:, i], chosen[name] = ridge_of(x, y, x_held_out, y_val)
            if np.isnan(y_val).all():
                notes.append(f"unknown in all validation images, so regularised by the middle strength: {name}")
        if not chosen:
            raise NotApplicableError("no number has two different values among the training images")
        columns = {f"score:{name}": predicted[:, i] for i, name in enumerate(manifest.quantities)}
        columns |= {f"target:{name}": targets[held_out, i].astype(float) for i, name in enumerate(manifest.quantities)}
        return predictions_of(
            cell, encoder, manifest, manifest.images.iloc[held_out], columns, labels=manifest.quantities,
            kind="regression", groups={"macro": manifest.quantities}, notes=tuple(notes),
            facts={"train_images": len(kept), "chosen": chosen},
        )  # fmt: skip


def ridge_of(x: Array, y: Array, held_out: Array, y_val: Array) -> tuple[Array, float]:
    """Predictions [val + test] of the ridge regression whose strength suits validation best, and that strength.

    x: [n, D], y: [n], NaN where unknown; held_out: [val + test, D]; y_val: [val]. Of equals the stronger is taken;
    where no validation number is known, the middle one.
    """
    known, judged = ~np.isnan(y), ~np.isnan(y_val)
    maps = fit_ridge(x[known], y[known, None], STRENGTHS)
    predicted = np.concatenate([one(held_out) for one in maps], axis=1)  # [val + test, S]
    best = len(STRENGTHS) // 2
    if judged.any():
        errors = ((predicted[: len(y_val)][judged] - y_val[judged, None]) ** 2).mean(0)
        best = len(STRENGTHS) - 1 - int(np.argmin(errors[::-1]))
    return predicted[:, best], STRENGTHS[best]


TASK = RidgeProbe()
