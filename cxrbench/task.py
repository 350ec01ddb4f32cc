"""What a protocol asks of an encoder, the cells that come of it, and the Predictions in which it ends.

A *protocol* is what is asked (``classification``), a *task* is a protocol asked of a dataset
(``siim:classification``), a *cell* is a task with an encoder, a label fraction and a seed.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.manifest import SPLITS, Manifest
from cxrbench.errors import NotApplicableError, check_choices
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.predictions import Kind, Predictions, encoder_facts
from cxrbench.progress import Progress

if TYPE_CHECKING:  # a plan needs no network, so it must not wait for torch
    from cxrbench.encoder import Encoder, EncoderSpec
    from cxrbench.features.extract import ExtractOptions
    from cxrbench.features.maps.dense import DenseMaps

DecoderName = Literal["linear", "unet", "upernet", "unet-wide", "upernet-wide", "vitdet", "transposed"]
DetectorName = Literal["yolo", "yolov3", "retinanet", "fcos"]
Views = Literal["1", "2", "all", "1of2", "2of2"]
Need = Literal["labels", "boxes", "reports", "signals", "train", "val", "test"]
Asked = Literal["pooled", "maps", "network"]
OptionName = Literal[
    "decoder", "detector", "finetune", "augment", "epochs", "views", "preset", "text_encoder",
    "ecg_teacher", "labs_teacher",
]  # fmt: skip


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

    options: "ExtractOptions"
    scratch: Path
    progress: Progress


@dataclass(frozen=True)
class TaskOptions:
    """What the command line may say of a protocol; None is the protocol's own default. Each takes what it ``reads``.

    ``decoder``: of segmentation. ``detector``: the head of detection. ``finetune``: train the encoder, too.
    ``augment``: augmented copies per training image. ``epochs``: at most so many. ``views``: how many views of a study
    are fused. ``preset``: a paper's recipe. ``text_encoder``: a folder with a transformers sentence encoder.
    ``ecg_teacher``, ``labs_teacher``: weights of networks whose embeddings are to be predicted. Raises UserError for a
    value that is no choice.
    """

    decoder: DecoderName | None = None
    detector: DetectorName | None = None
    finetune: bool = False
    augment: int = 0
    epochs: int | None = None
    views: Views | None = None
    preset: str | None = None
    text_encoder: Path | None = None
    ecg_teacher: Path | None = None
    labs_teacher: Path | None = None

    def __post_init__(self) -> None:
        check_choices(self, "--{}")


class FrozenEncoder(Protocol):
    """An encoder as a protocol sees it: features of a manifest's images, extracted once and cached."""

    @property
    def spec(self) -> "EncoderSpec":
        """Who it is."""
        ...

    @property
    def module(self) -> "Encoder":
        """The network itself, for protocols that train it; loading it is put off until somebody asks."""
        ...

    def pooled(self, manifest: Manifest) -> NDArray[np.float32]:
        """Image embeddings [len(manifest), D], rows in the manifest's order."""
        ...

    def maps(self, manifest: Manifest, copies: int = 0) -> "DenseMaps":
        """Dense features of whole images and of ``copies`` augmented copies of the training images.

        Raises NotApplicableError if the encoder gives no maps.
        """
        ...

    @property
    def context(self) -> RunContext:
        """Where and how to compute: for protocols that train networks."""
        ...


@dataclass(frozen=True, kw_only=True)
class Task:
    """A protocol as code, e.g. ``classification``: what an entry point in group ``cxrbench.tasks`` names.

    A protocol of one's own is a frozen dataclass on top of this one with ``name``, ``summary`` and ``run``.

    ``name``: on the command line, after the colon. ``summary``: one line for ``cxrbench tasks list``. ``revision``:
    change it whenever the same inputs would give other predictions. ``opt_in``: run only when it is named
    (``siim:finetune``), not by ``siim`` alone: it takes long. ``sees_test_truth``: ``run`` is given the truth of the
    test images; only for protocols that train on none of it. ``needs``: what a dataset must have, each split with an
    image. ``reads``: the TaskOptions that it takes notice of. ``elsewhere``: it may be trained on other datasets than
    it is tested on; only for protocols that take images, their labels and pooled features from the manifest, no boxes,
    masks, reports or maps. ``of_paper``: the preset of the paper that it follows as it stands.
    """

    name: str
    summary: str
    revision: str = "1"
    opt_in: bool = False
    sees_test_truth: bool = False
    needs: tuple[Need, ...] = ("labels", "train", "val", "test")
    reads: frozenset[OptionName] = frozenset()
    elsewhere: bool = False
    of_paper: str = ""

    @property
    def settings(self) -> tuple[str, ...]:
        """What differs from the protocol's default, a word each (``views2``): results of its own."""
        return ()

    @property
    def protocol(self) -> str:
        """The name and its settings: ``classification+views2``."""
        return "+".join((self.name, *self.settings))

    @property
    def version(self) -> str:
        """Part of every cell's identity: the revision, and that of whatever else decides what is predicted."""
        return self.revision

    @property
    def asks(self) -> frozenset[Asked] | None:
        """What it will ask its encoder for: ``pooled``, ``maps``, or ``network``, if it runs or trains networks.

        Several workers extract pooled features ahead of it, and one without a GPU does what needs no network. None:
        nobody can say beforehand.
        """
        return None

    def configured(self, options: TaskOptions) -> "Task":
        """The protocol as the options want it: fields that are called as an option it reads take its value.

        Raises UserError for an option value that it cannot serve, NotApplicableError for a preset that does not have
        it. Options that it does not read are ignored here: what nobody reads is refused before.
        """
        if options.preset is not None and "preset" not in self.reads:
            said = f"preset {options.preset} has no recipe for {self.name}", self.without_preset(options.preset)
            raise NotApplicableError(": ".join(filter(None, said)))
        mine = {entry.name for entry in fields(self)} & self.reads
        return replace(self, **{name: getattr(options, name) for name in mine})

    def without_preset(self, preset: str) -> str:
        """What to tell whoever asks for this preset, where the protocol is that paper's already; else ""."""
        own = self.of_paper and preset.partition(":")[0] == self.of_paper
        return f"{self.name} follows that paper as it stands, without a preset" if own else ""

    def by_default(self, manifest: Manifest) -> bool:
        """Whether a dataset that is named alone, as its adapter reads it, is asked this if it can be."""
        del manifest
        return not self.opt_in

    def taking_part(self, manifest: Manifest) -> Manifest:
        """The dataset with the images that it can use, other splits being ``unused``: what a label budget is of."""
        return manifest

    def not_applicable(self, manifest: Manifest) -> str | None:
        """Why this dataset cannot be asked this, or None."""
        return lacking(manifest, self.needs)

    def seeds_matter(self, fraction: float) -> bool:
        """Whether another seed can give other predictions at this label fraction. If not, one seed is run.

        By default it can: something random is trained.
        """
        del fraction
        return True

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Train on the train split, select on the validation split only, predict validation and test.

        Raises NotApplicableError if this encoder cannot be asked this.
        """
        raise NotImplementedError


def lacking(manifest: Manifest, needs: Collection[Need]) -> str | None:
    """What a dataset lacks of these needs, as a reason that begins with "it" or "its", or None."""
    if "labels" in needs and not manifest.labels:
        why = next((note.removeprefix("No labels") for note in manifest.notes if note.startswith("No labels")), "")
        return f"it has no labels{why.rstrip('.')}"
    tables = {"boxes": "boxes", "reports": "reports", "signals": "ECGs or laboratory values"}
    for table, words in tables.items():
        if table in needs and (getattr(manifest, table) is None or not len(getattr(manifest, table))):
            return f"it has no {words}"
    empty = [split for split in SPLITS if split in needs and not len(manifest.rows_of(split))]
    return f"its {' and '.join(empty)} split is empty" if empty else None


@runtime_checkable
class AsksTexts(Protocol):
    """A protocol that asks an encoder's text tower, and can say beforehand for which texts."""

    def texts(self, manifest: Manifest) -> list[str]:
        """What ``encode_text`` will be called with, in this order."""
        ...


@runtime_checkable
class Adapts(Protocol):
    """A protocol that wants a dataset otherwise than its adapter reads it: a paper's split, a paper's labels."""

    def adapted(self, manifest: Manifest) -> Manifest:
        """The dataset as this protocol wants it, or itself; called before the test truth is taken out.

        The image table keeps its rows (and so its cached features); images that are left out get another split name.
        Raises NotApplicableError if the dataset cannot be made so.
        """
        ...


def predictions_of(
    cell: Cell,
    encoder: FrozenEncoder,
    manifest: Manifest,
    images: pd.DataFrame,
    columns: Mapping[str, object] | pd.DataFrame,
    *,
    labels: tuple[str, ...],
    kind: Kind,
    groups: Mapping[str, tuple[str, ...]],
    facts: Mapping[str, Any],
    notes: tuple[str, ...] = (),
) -> Predictions:
    """A cell's Predictions.

    ``images``: one row for each row of the result, with ``image_id``, ``patient_id``, ``split``; ``columns``: what is
    predicted, in the same order (see Predictions). ``facts``: what the cell says beside its identity, as plain JSON
    values, ``train_images`` among them.
    """
    rows = images[["image_id", "patient_id", "split"]].reset_index(drop=True)
    return Predictions(
        rows=pd.concat([rows, pd.DataFrame(columns)], axis=1),
        labels=labels,
        kind=kind,
        groups=groups,
        synthetic=manifest.synthetic,
        cell=cell.facts() | dict(facts),
        encoder=encoder_facts(encoder.spec),
        dataset=manifest.facts(),
        notes=notes,
    )
