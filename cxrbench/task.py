"""What a task must do: turn an encoder and a manifest into Predictions."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderSpec
from cxrbench.features.extract import ExtractOptions
from cxrbench.features.maps.dense import DenseMaps
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.predictions import Predictions
from cxrbench.progress import Progress


@dataclass(frozen=True)
class Cell:
    """One unit of work: encoder x task x label fraction x seed.

    ``parts`` are the ingredients of its identity (encoder weights, source and preprocessing, precision, dataset
    fingerprint, protocol version, ...). Same identity, same bits. ``fixed``: what the encoder gives for two fixed
    images; no part of the identity, for its last bits differ between machines, but kept and compared.
    """

    encoder: str
    dataset: str
    protocol: str
    fraction: float = 1.0
    seed: int = 0
    parts: Mapping[str, str] = field(default_factory=dict)
    fixed: FixedFeatures | None = field(default=None, compare=False, repr=False)

    @property
    def task(self) -> str:
        """``DATASET:PROTOCOL``."""
        return f"{self.dataset}:{self.protocol}"

    @property
    def identity(self) -> str:
        """Hex sha256 of the parts, the label fraction and the seed. The encoder's display name is not part of it."""
        text = json.dumps([dict(self.parts), self.task, self.fraction, self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def facts(self) -> dict[str, Any]:
        """What predictions say of the cell that they are of, as plain JSON values."""
        names = ("encoder", "dataset", "protocol", "fraction", "seed", "identity")
        kept = {} if self.fixed is None else {"fixed_images": self.fixed.to_json()}
        return {name: getattr(self, name) for name in names} | {"parts": dict(self.parts)} | kept


@dataclass(frozen=True)
class RunContext:
    """``options``: device, precision, batch size, decoding threads. ``scratch``: the cache folder. ``progress``."""

    options: ExtractOptions
    scratch: Path
    progress: Progress


@dataclass(frozen=True)
class TaskOptions:
    """What the command line may say of a task; None is the task's own default. A task takes what concerns it.

    ``decoder``: linear, unet or upernet. ``finetune``: train the encoder, too. ``augment``: augmented copies per
    training image. ``epochs``: at most so many. ``views``: ``1``, ``2`` or ``all`` views of a study fused. ``preset``:
    a paper's recipe. ``text_encoder``: a folder with a transformers sentence encoder.
    """

    decoder: str | None = None
    finetune: bool = False
    augment: int = 0
    epochs: int | None = None
    views: str | None = None
    preset: str | None = None
    text_encoder: Path | None = None


class FrozenEncoder(Protocol):
    """An encoder as a task sees it: features of a manifest's images, extracted once and cached."""

    @property
    def spec(self) -> EncoderSpec:
        """Who it is."""
        ...

    @property
    def module(self) -> Encoder:
        """The network itself, for tasks that train it; loading it is put off until somebody asks."""
        ...

    def pooled(self, manifest: Manifest) -> NDArray[np.float32]:
        """Image embeddings [len(manifest), D], rows in the manifest's order."""
        ...

    def maps(self, manifest: Manifest, copies: int = 0) -> DenseMaps:
        """Dense features of whole images and of ``copies`` augmented copies of the training images.

        Raises NotApplicableError if the encoder gives no maps.
        """
        ...

    @property
    def context(self) -> RunContext:
        """Where and how to compute: for tasks that train networks."""
        ...


class Task(Protocol):
    """A protocol, e.g. ``classification``: what an entry point in group ``cxrbench.tasks`` names."""

    @property
    def protocol(self) -> str:
        """Its name on the command line, after the colon."""
        ...

    @property
    def version(self) -> str:
        """Part of every cell's identity: change it whenever the same inputs would give other predictions."""
        ...

    @property
    def summary(self) -> str:
        """One line for ``cxrbench tasks list``."""
        ...

    @property
    def opt_in(self) -> bool:
        """Whether it is run only when it is named (``siim:finetune``), not by ``siim`` alone: it takes long."""
        ...

    @property
    def sees_test_truth(self) -> bool:
        """Whether ``run`` is given the truth of the test images: only for tasks that train on none of it."""
        ...

    def configured(self, options: TaskOptions) -> "Task":
        """The task as the options want it, its ``protocol`` naming what is not its default (``segmentation+linear``).

        Raises UserError for an option value that the task cannot serve; options of other tasks are ignored.
        """
        ...

    def not_applicable(self, manifest: Manifest) -> str | None:
        """Why this dataset cannot be asked this, or None."""
        ...

    def seeds_matter(self, fraction: float) -> bool:
        """Whether another seed can give other predictions at this label fraction. If not, one seed is run."""
        ...

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Train on the train split, select on the validation split only, predict validation and test.

        Raises NotApplicableError if this encoder cannot be asked this.
        """
        ...


@runtime_checkable
class Adapts(Protocol):
    """A task that wants a dataset otherwise than its adapter reads it: a paper's split, a paper's labels."""

    def adapted(self, manifest: Manifest) -> Manifest:
        """The dataset as this task wants it, or itself; called before the test truth is taken out.

        The image table keeps its rows (and so its cached features); images that are left out get another split name.
        Raises NotApplicableError if the dataset cannot be made so.
        """
        ...
