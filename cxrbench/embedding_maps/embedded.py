"""The embeddings that a map is made of: from the cache, as in a run, for the images that every encoder could read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import SPLITS, Manifest
from cxrbench.embedding_maps.grouping import grouping
from cxrbench.embedding_maps.projection import Projection
from cxrbench.engine.cached_encoder import CachedEncoder
from cxrbench.engine.job import Job
from cxrbench.engine.plan import EncoderRef
from cxrbench.errors import UserError
from cxrbench.progress import Progress
from cxrbench.task import RunContext

EVERY = "all"
SPLIT_WORDS = {"train": "training", "val": "validation", "test": "test", EVERY: "training, validation and test"}


@dataclass(frozen=True)
class Drawn:
    """Which images are on the map: of each dataset those of a ``split``, at most ``most``, drawn by ``seed``."""

    split: str
    most: int
    seed: int

    def images(self, manifest: Manifest) -> tuple[Manifest, int]:
        """The images in the order of the manifest, and how many there were to draw from. Raises UserError for none."""
        splits = SPLITS if self.split == EVERY else (self.split,)
        rows = np.flatnonzero(manifest.images["split"].isin(splits).to_numpy())
        if not len(rows):
            there = [name for name in SPLITS if len(manifest.rows_of(name))]
            raise UserError(
                f"{manifest.name} has no {SPLIT_WORDS[self.split]} images: give --split {' or '.join(there)}"
            )
        drawn = rows
        if len(rows) > self.most:
            drawn = np.sort(np.random.default_rng(self.seed).choice(rows, self.most, replace=False))
        return replace(manifest, images=manifest.images.iloc[drawn]), len(rows)


@dataclass(frozen=True)
class Embedded:
    """By encoder the embeddings [n, D] of the images of ``manifests``, in their order.

    ``of``: by dataset, how many images there were to draw from; ``left_out``: unreadable ones of the dataset.
    """

    drawn: Drawn
    manifests: tuple[Manifest, ...]
    embeddings: Mapping[str, NDArray[np.float32]]
    refs: Mapping[str, EncoderRef]
    of: Mapping[str, int]
    left_out: Mapping[str, int]

    def seen(self, encoder: str) -> tuple[str, ...]:
        """Datasets of the map from whose images the encoder was pretrained, as far as it says so."""
        trained = set(self.refs[encoder].spec.card.pretrained_on or ())
        return tuple(one.name for one in self.manifests if trained & {one.name, *one.lineage})


def planned(job: Job) -> tuple[dict[str, EncoderRef], dict[str, Manifest]]:
    """The encoders and the datasets of a job, by name. Raises UserError, with the reason, where one is blocked."""
    refs: dict[str, EncoderRef] = {}
    manifests: dict[str, Manifest] = {}
    for cell in job.plan.cells:
        if cell.encoder is None or cell.manifest is None:
            raise UserError(cell.reason)
        refs.setdefault(cell.encoder.spec.name, cell.encoder)
        manifests.setdefault(cell.manifest.name, cell.manifest)
    return refs, manifests


def check(manifests: Sequence[Manifest], by: Sequence[str], how: Projection) -> None:
    """Raise UserError for images that cannot be grouped, or are too few to be projected."""
    how.check(sum(map(len, manifests)))
    for one in by:
        grouping(manifests, one)


def embedded(job: Job, drawn: Drawn, by: Sequence[str], how: Projection, progress: Progress) -> Embedded:
    """Embed every dataset of a job by every encoder, as far as it is not in the cache, and keep what is drawn.

    Images that any encoder cannot read are left out for all (``--on-bad-image skip``). Raises UserError for a dataset
    without images of the split, for images that cannot be grouped ``by`` something or are too few to be projected, all
    before anything is extracted; and whatever an extraction raises.
    """
    refs, datasets = planned(job)
    drawn_from = {name: drawn.images(manifest) for name, manifest in datasets.items()}
    check([images for images, _ in drawn_from.values()], by, how)
    context = RunContext(job.extraction(), job.cache, progress)
    found = {
        (encoder, name): CachedEncoder(ref, manifest, context, job.request.skip_bad, job.request.cache_limit)
        for encoder, ref in refs.items()
        for name, manifest in datasets.items()
    }
    bad = {name: {image for encoder in refs for image in found[encoder, name].bad_images()} for name in datasets}
    if any(bad.values()):  # asked again of those that are left
        drawn_from = {name: drawn.images(manifest.without(bad[name])) for name, manifest in datasets.items()}
    chosen = {name: images for name, (images, _) in drawn_from.items()}
    embeddings = {
        encoder: np.concatenate(
            [found[encoder, name].pooled_of(one.images["image_id"]) for name, one in chosen.items()]
        )
        for encoder in refs
    }
    return Embedded(
        drawn,
        tuple(chosen.values()),
        embeddings,
        refs,
        {name: count for name, (_, count) in drawn_from.items()},
        {name: len(images) for name, images in bad.items()},
    )
