"""A protocol around a protocol: the inner one trains on so many images, studies or patients, and is what it was."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.data.subsets.order import covering_order
from cxrbench.data.subsets.selection import UNUSED
from cxrbench.engine.budgets.asked import PLURAL, Budget
from cxrbench.errors import NotApplicableError
from cxrbench.passes import images_in_training
from cxrbench.predictions import Predictions
from cxrbench.task import Asked, Cell, FrozenEncoder, Task, TaskOptions

VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class Budgeted(Task):
    """A protocol on a subset of its training units; validation and test stay whole.

    Units are put in one order that depends on the seed alone: first those by which every label has a positive and a
    negative, then the rest, at random. A budget is the prefix of exactly so many, so a smaller one lies in a larger
    one of the same seed; a label fraction is the prefix of that share, and never less than what the labels need. An
    image that is not drawn takes no part, though others of its study or patient may.
    """

    task: Task
    budget: Budget

    @staticmethod
    def of(task: Task, budget: Budget) -> "Budgeted":
        """A configured protocol with a budget. Raises NotApplicableError for one that trains on no such subset."""
        if not draws_subsets(task):
            raise NotApplicableError("it trains on no subset of the training images, so it has no --budget")
        if budget.count is None and (preset := getattr(task, "preset", None)):
            raise NotApplicableError(
                f"preset {preset} says what its label fractions are of, so it has no --budget-unit"
            )
        facts: Mapping[str, Any] = {
            "name": task.name, "summary": task.summary, "opt_in": task.opt_in, "needs": task.needs, "reads": task.reads,
            "sees_test_truth": task.sees_test_truth, "elsewhere": task.elsewhere,
        }  # fmt: skip
        return Budgeted(task=task, budget=budget, **facts)

    @property
    def asks(self) -> frozenset[Asked] | None:
        """The inner protocol's."""
        return self.task.asks

    @property
    def settings(self) -> tuple[str, ...]:
        """Those of the inner protocol, and the budget."""
        return (*self.task.settings, self.budget.setting)

    @property
    def version(self) -> str:
        """The inner protocol's, and that of the draw."""
        return f"{self.task.version}, budget {VERSION}"

    def configured(self, options: TaskOptions) -> "Budgeted":
        """The inner protocol as the options want it, with the same budget."""
        return Budgeted.of(self.task.configured(options), self.budget)

    def by_default(self, manifest: Manifest) -> bool:
        """As of the inner protocol."""
        return self.task.by_default(manifest)

    def not_applicable(self, manifest: Manifest) -> str | None:
        """What the inner protocol says; fewer training units than the budget; images without a study."""
        if reason := self.task.not_applicable(manifest):
            return reason
        taking_part = self.task.taking_part(manifest)
        units = len(np.unique(self._units(taking_part)))
        if self.budget.count is not None and self.budget.count > units:
            what = PLURAL[self.budget.unit]
            return f"it has {units:,} training {what}, fewer than the budget of {self.budget.count:,}"
        return None

    def seeds_matter(self, fraction: float) -> bool:
        """A seed draws other units."""
        return self.budget.count is not None or self.task.seeds_matter(fraction)

    def images_in_training(self, manifest: Manifest, cell: Cell) -> int:
        """The inner protocol's at the fraction that so many units are, each with about equally many images."""
        if self.budget.count is None:
            return images_in_training(self.task, manifest, cell)
        units = len(np.unique(self._units(self.task.taking_part(manifest))))
        share = min(self.budget.count / max(units, 1), 1.0)
        return images_in_training(self.task, manifest, replace(cell, fraction=share))

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Draw, then train, select and predict as the inner protocol does."""
        drawn, facts, notes = self.drawn(manifest, cell)
        predictions = self.task.run(encoder, drawn, replace(cell, fraction=1.0))
        return replace(predictions, cell={**predictions.cell, **facts}, notes=(*predictions.notes, *notes))

    def drawn(self, manifest: Manifest, cell: Cell) -> tuple[Manifest, dict[str, Any], tuple[str, ...]]:
        """The manifest in which training images that are not drawn are ``unused``, facts of the cell, and notes.

        Raises NotApplicableError where there are fewer units than the budget.
        """
        if reason := self.not_applicable(manifest):
            raise NotApplicableError(reason)
        taking_part = self.task.taking_part(manifest)
        train = taking_part.rows_of("train")
        codes = np.asarray(pd.factorize(self._units(taking_part), sort=True)[0], np.int64)
        targets = taking_part.targets()[train] if taking_part.labels else np.zeros((len(train), 0), np.float32)
        order, needed = covering_order(codes, targets, cell.seed)
        count, notes = self.budget.count, ()
        if count is None:
            asked = max(1, round(cell.fraction * len(order)))
            count = max(asked, needed)
            if count > asked:
                notes = (
                    f"label fraction {cell.fraction:g}: {count:,} {PLURAL[self.budget.unit]} instead of {asked:,}, for "
                    "every label needs a positive and a negative",
                )
        splits = taking_part.images["split"].to_numpy(object).copy()
        splits[train[~np.isin(codes, order[:count])]] = UNUSED
        facts = {"train_units": int(count), "train_unit": self.budget.unit}
        return replace(taking_part, images=taking_part.images.assign(split=splits)), facts, notes

    def _units(self, manifest: Manifest) -> NDArray[np.str_]:
        """The unit of each training image [n]; an image without one is a unit of its own."""
        images = manifest.images.iloc[manifest.rows_of("train")]
        units, ids = (images[f"{name}_id"].fillna("").to_numpy(str) for name in (self.budget.unit, "image"))
        return np.where(units != "", units, np.char.add("image ", ids))


def draws_subsets(task: Task) -> bool:
    """Whether a protocol trains on a part of its images where it is told to."""
    return innermost(task).seeds_matter(0.5)


def innermost(task: Task | None) -> Any:
    """The protocol itself, without folds, other training sets and budgets around it."""
    inner: Any = task
    while isinstance(getattr(inner, "task", None), Task):
        inner = inner.task
    return inner
