"""Cross-validation: K models, every image a test image exactly once, one cell."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxrbench.data.manifest import Manifest
from cxrbench.data.splits import by_patient
from cxrbench.engine.truth import without_test_truth
from cxrbench.passes import images_in_training
from cxrbench.predictions import Predictions
from cxrbench.task import Asked, Cell, FrozenEncoder, Task, TaskOptions

VERSION = "1"
MIN_FOLDS = 3  # one to test on, one to select on, the rest to train on


def kfold(manifest: Manifest, k: int, seed: int) -> list[Manifest]:
    """The dataset split ``k`` times, by patient: fold i is the test split, fold i + 1 the validation split.

    Every image is a test image in exactly one of the manifests and a validation image in exactly one. Folds hold about
    equally many images. The dataset's own splits are not looked at. Raises ValueError for fewer than 3 folds, or for
    fewer patients than folds.
    """
    patients = _patients(manifest)
    if k < MIN_FOLDS or len(np.unique(patients)) < k:
        raise ValueError(f"{k} folds need at least {max(k, MIN_FOLDS)} patients, and there must be {MIN_FOLDS} folds")
    fold = by_patient(patients.tolist(), {str(i): 1.0 for i in range(k)}, seed).astype(int)
    offsets = (fold[None] - np.arange(k)[:, None]) % k  # [k, n]: 0 is tested, 1 validates
    splits = np.select([offsets == 0, offsets == 1], ["test", "val"], "train")
    return [replace(manifest, images=manifest.images.assign(split=split)) for split in splits]


@dataclass(frozen=True, kw_only=True)
class Folded(Task):
    """A trained protocol, run once per fold. Its cell holds every image as a test row, scored by the model of its fold.

    The label fraction is drawn from each fold's training rows; a seed is another partition into folds. It sees the
    truth of all images, and hides that of each fold's test images from the inner protocol.
    """

    task: Task
    folds: int

    @property
    def asks(self) -> frozenset[Asked] | None:
        """The inner protocol's."""
        return self.task.asks

    @staticmethod
    def of(task: Task, folds: int) -> "Folded":
        """A configured protocol in ``folds`` folds."""
        summary = f"{task.summary}, {folds}-fold cross-validation"
        return Folded(
            name=task.name, summary=summary, opt_in=task.opt_in, sees_test_truth=True, needs=task.needs,
            reads=task.reads, task=task, folds=folds,
        )  # fmt: skip

    @property
    def settings(self) -> tuple[str, ...]:
        """Those of the inner protocol, and the number of folds: ``folds5``."""
        return (*self.task.settings, f"folds{self.folds}")

    @property
    def version(self) -> str:
        """The inner protocol's, and that of the folds."""
        return f"{self.task.version}, folds {VERSION}"

    def configured(self, options: TaskOptions) -> "Folded":
        """The inner protocol as the options want it, folded as before."""
        return Folded.of(self.task.configured(options), self.folds)

    def not_applicable(self, manifest: Manifest) -> str | None:
        """Too few patients, or what the inner protocol says of the first fold."""
        patients = len(np.unique(_patients(manifest)))
        if patients < self.folds:
            return f"it has {patients} patients, fewer than {self.folds} folds"
        return self.task.not_applicable(kfold(manifest, self.folds, 0)[0])

    def images_in_training(self, manifest: Manifest, cell: Cell) -> int:
        """As many times the inner protocol's as there are folds, which are about equally large."""
        if not images_in_training(self.task, manifest, cell):
            return 0
        return self.folds * images_in_training(self.task, kfold(manifest, self.folds, cell.seed)[0], cell)

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Train and predict fold by fold, then put the rows together; column ``fold`` says whose model made a row."""
        parts = [
            self.task.run(encoder, without_test_truth(fold), cell) for fold in kfold(manifest, self.folds, cell.seed)
        ]
        rows = pd.concat([part.rows.assign(fold=i) for i, part in enumerate(parts)], ignore_index=True)
        pooled = (
            f"{self.folds}-fold cross-validation: {self.folds} models score the test images; what ranks images is the "
            "mean over the folds, weighted by their patients, the rest is of all images"
        )
        notes = dict.fromkeys([pooled, *(note for part in parts for note in part.notes)])
        return replace(parts[0], rows=rows, notes=tuple(notes))


def _patients(manifest: Manifest) -> "np.ndarray[tuple[int], np.dtype[np.str_]]":
    """A patient per image [n]; an image without one is a patient of its own."""
    patients, images = (manifest.images[name].fillna("").astype(str) for name in ("patient_id", "image_id"))
    return patients.where(patients != "", images).to_numpy(str)
