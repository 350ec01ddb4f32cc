"""A protocol around a protocol: the inner one trains and selects on some datasets, and is tested on another."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.engine.elsewhere import patients
from cxrbench.engine.elsewhere.joined import SET, Joined
from cxrbench.engine.folds import Folded
from cxrbench.engine.names import TOGETHER
from cxrbench.errors import NotApplicableError
from cxrbench.files.names import some
from cxrbench.passes import images_in_training
from cxrbench.predictions import Predictions
from cxrbench.task import Asked, Cell, FrozenEncoder, Task

VERSION = "1"
UNUSED = "unused"


@dataclass(frozen=True, kw_only=True)
class InRoles(Task):
    """A protocol on a joined manifest, of which each set has its roles: ``training`` and ``testing`` name the sets.

    Images of a set that has not the role of their split take no part. Nor do training and validation images of patients
    who are tested, nor training images of those who validate: sets may share patients.
    """

    task: Task
    training: tuple[str, ...]
    testing: tuple[str, ...]

    @property
    def asks(self) -> frozenset[Asked] | None:
        """The inner protocol's."""
        return self.task.asks

    @property
    def settings(self) -> tuple[str, ...]:
        """The inner protocol's."""
        return self.task.settings

    @property
    def version(self) -> str:
        """The inner protocol's, and that of the roles."""
        return f"{self.task.version}, elsewhere {VERSION}"

    def not_applicable(self, manifest: Manifest) -> str | None:
        """What the inner protocol says of the images that take part."""
        return self.task.not_applicable(self.cast(manifest)[0])

    def seeds_matter(self, fraction: float) -> bool:
        """As in the inner protocol."""
        return self.task.seeds_matter(fraction)

    def images_in_training(self, manifest: Manifest, cell: Cell) -> int:
        """The inner protocol's, of the images that take part."""
        if not images_in_training(self.task, manifest, cell):
            return 0
        return images_in_training(self.task, self.cast(manifest)[0], cell)

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Train, select and predict as the inner protocol does, and say who was left out."""
        taking_part, notes = self.cast(manifest)
        if why := self.task.not_applicable(taking_part):
            raise NotApplicableError(f"without the patients of the test set {why}")
        predictions = self.task.run(encoder, taking_part, cell)
        return replace(predictions, notes=(*predictions.notes, *notes))

    def with_a_role(self, manifest: Manifest) -> NDArray[np.bool_]:
        """Which images [n] are of a set that has the role of their split."""
        names, splits = (manifest.images[column].to_numpy(str) for column in (SET, "split"))
        learnt = np.isin(names, self.training) & np.isin(splits, ("train", "val"))
        return learnt | (np.isin(names, self.testing) & (splits == "test"))

    def cast(self, manifest: Manifest) -> tuple[Manifest, tuple[str, ...]]:
        """The manifest in which the split of all that take no part is ``unused``, and who was left out."""
        images = manifest.images
        names, splits, who = (images[column].to_numpy(str) for column in (SET, "split", "patient_id"))
        splits = np.where(self.with_a_role(manifest), splits, UNUSED).astype(object)
        notes = []
        for held, out, why in (
            ("test", ("train", "val"), "are in the test set: left out of training and validation"),
            ("val", ("train",), "validate: left out of training"),
        ):
            shared = np.isin(splits.astype(str), out) & np.isin(who, np.unique(who[splits == held]))
            for name in np.unique(names[shared]):
                rows = shared & (names == name)
                notes.append(f"{len(np.unique(who[rows])):,} patients of {name} ({rows.sum():,} images) {why}")
            splits[shared] = UNUSED
        return replace(manifest, images=images.assign(split=splits)), tuple(notes)


def told(joined: Joined) -> list[str]:
    """What a plan says of joined datasets: labels of the tested one that are lost, and whom they may share."""
    names, labels, own = " + ".join(joined.training), joined.manifest.labels, joined.tested.labels
    lines = []
    if len(labels) < len(own):
        lines.append(
            f"{joined.tested.name}: {len(labels)} of its {len(own)} labels shared with {names}: {some(labels)}"
        )
    lines += [f"{joined.tested.name}: {line}" for line in joined.united.told()]
    lines += [
        f"{one} and {other} have images of one source under other names: their pictures tell who is who, when it runs"
        for one, other in joined.unclear
    ]
    return lines


@dataclass(frozen=True, kw_only=True)
class Elsewhere(Task):
    """A protocol that is trained and selected on some datasets and tested on another: ``classification+train-nih``.

    ``task``: the inner protocol in its ``roles``, in folds or not. ``unclear``: as of Joined. ``sources``: what
    predictions say of the training sets. ``pooled``: it is tested on the test sets of all of them together, which has
    a table of its own, for a mean of it and of these test sets would count patients twice.
    """

    task: Task
    roles: InRoles
    unclear: tuple[tuple[str, str], ...]
    sources: tuple[Mapping[str, object], ...]
    pooled: bool

    @property
    def asks(self) -> frozenset[Asked] | None:
        """The inner protocol's."""
        return self.task.asks

    @staticmethod
    def of(task: Task, joined: Joined, folds: int | None) -> "Elsewhere":
        """A configured protocol on joined datasets; each of ``folds`` folds is of the patients of all of them."""
        facts: Mapping[str, Any] = {
            "name": task.name, "summary": task.summary, "opt_in": task.opt_in, "needs": task.needs, "reads": task.reads,
        }  # fmt: skip
        roles = InRoles(task=task, training=joined.training, testing=joined.testing, **facts)
        inner = Folded.of(roles, folds) if folds else roles
        return Elsewhere(
            task=inner, roles=roles, unclear=joined.unclear, sources=joined.sources,
            pooled=joined.tested.name == TOGETHER, sees_test_truth=inner.sees_test_truth, **facts,
        )  # fmt: skip

    @property
    def settings(self) -> tuple[str, ...]:
        """Those of the inner protocol, a word for each training set (``train-nih``), and ``pooled``."""
        train = (f"train-{name}" for name in self.roles.training)
        return (*self.task.settings, *train, *(["pooled"] if self.pooled else []))

    @property
    def version(self) -> str:
        """The inner protocol's; where pictures tell who is who, that of the comparison, too."""
        pictures = f", pictures {patients.VERSION}" if self.unclear else ""
        return f"{self.task.version}{pictures}"

    def not_applicable(self, manifest: Manifest) -> str | None:
        """What the inner protocol says of the joined datasets."""
        return self.task.not_applicable(manifest)

    def seeds_matter(self, fraction: float) -> bool:
        """As in the inner protocol."""
        return self.task.seeds_matter(fraction)

    def images_in_training(self, manifest: Manifest, cell: Cell) -> int:
        """The inner protocol's."""
        return images_in_training(self.task, manifest, cell)

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Learn who is who, then train, select and predict. The test images' patients keep the names that they have.

        Raises UserError where related datasets do not tell which of their patients are the same.
        """
        all_used = np.ones(len(manifest), bool)
        used = all_used if self.task is not self.roles else self.roles.with_a_role(manifest)
        known, notes = patients.one_identity(manifest, self.unclear, used, encoder.context)
        predictions = self.task.run(encoder, known, cell)
        rows = predictions.rows
        images = manifest.images
        own = dict(zip(images["study_id"], images["patient_id"], strict=True))
        own |= dict(zip(images["image_id"], images["patient_id"], strict=True))
        return replace(
            predictions,
            rows=rows.assign(patient_id=[own[name] for name in rows["image_id"]]),
            dataset={**predictions.dataset, "training": [dict(one) for one in self.sources]},
            notes=(*predictions.notes, *notes),
        )
