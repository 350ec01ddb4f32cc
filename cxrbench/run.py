"""Do what a plan says is left to do."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.efficiency import measure
from cxrbench.encoder import Encoder, EncoderSpec
from cxrbench.errors import UserError
from cxrbench.extract import ExtractOptions
from cxrbench.features import PooledFeatures, pooled_features
from cxrbench.plan import EncoderRef, Plan, PlannedCell, RunRequest
from cxrbench.predictions import Predictions
from cxrbench.progress import Progress


class Finished(NamedTuple):
    """A cell that has just been computed and saved."""

    planned: PlannedCell
    predictions: Predictions


@dataclass(frozen=True)
class CachedEncoder:
    """A FrozenEncoder: features of one manifest's images, from the cache, for that manifest or a part of it."""

    ref: EncoderRef
    images: Manifest
    features: PooledFeatures

    @property
    def spec(self) -> EncoderSpec:
        """Who it is."""
        return self.ref.spec

    @property
    def module(self) -> Encoder:
        """The network itself, loaded when asked for."""
        return self.ref.load()

    def pooled(self, manifest: Manifest) -> NDArray[np.float32]:
        """Image embeddings [len(manifest), D]."""
        if len(manifest) == len(self.images):
            return self.features.pooled
        row_of = {image: row for row, image in enumerate(self.images.images["image_id"])}
        return self.features.pooled[[row_of[image] for image in manifest.images["image_id"]]]


def execute(
    plan: Plan, request: RunRequest, cache: Path, options: ExtractOptions, progress: Progress
) -> Iterator[Finished]:
    """Compute the missing and stale cells one by one, saving each before it is yielded.

    Raises UserError at once, before anything is computed, if a cell is blocked.
    """
    for planned in plan.cells:
        if planned.state == "blocked":
            raise UserError(planned.reason)
    todo = [planned for planned in plan.cells if planned.state != "done"]
    for _, group in groupby(todo, key=lambda p: (id(p.encoder), id(p.manifest))):
        cells = list(group)
        ref, manifest = cells[0].encoder, cells[0].manifest
        assert ref is not None  # only blocked cells lack them
        assert manifest is not None
        features = pooled_features(
            ref.spec, ref.load, ref.preprocess, manifest, cache, options, skip_bad=request.skip_bad, progress=progress
        )
        request.results.save_manifest(manifest)
        _keep_efficiency(request, ref, features, options)
        encoder = CachedEncoder(ref, manifest, features)
        bad = {path for path, _ in features.bad}
        ids = [i for i, p in zip(manifest.images["image_id"], manifest.paths(), strict=True) if str(p) in bad]
        whole = manifest.without(ids) if ids else manifest
        for planned in cells:
            assert planned.task is not None
            predictions = planned.task.run(encoder, without_test_targets(whole), planned.cell)
            predictions = with_test_targets(predictions, whole, dropped=len(ids))
            request.results.save(planned.cell, predictions)
            yield Finished(planned, predictions)


def without_test_targets(manifest: Manifest) -> Manifest:
    """What a task is given: no task can see a test label, even by mistake."""
    images = manifest.images.copy()
    images.loc[images["split"] == "test", list(manifest.labels)] = np.nan
    return replace(manifest, images=images)


def with_test_targets(predictions: Predictions, manifest: Manifest, *, dropped: int) -> Predictions:
    """Put the test targets beside the finished test scores, and the number of dropped images beside the dataset."""
    rows = predictions.rows.copy()
    truth = manifest.images.set_index("image_id").loc[rows["image_id"], list(manifest.labels)].to_numpy(np.float64)
    rows[[f"target:{label}" for label in manifest.labels]] = truth
    dataset = dict(predictions.dataset)
    notes = predictions.notes
    if dropped:
        dataset["dropped"] = dropped
        notes += (f"{dropped} unreadable images of {manifest.name} were dropped (--on-bad-image skip)",)
    return replace(predictions, rows=rows, dataset=dataset, notes=notes)


def _keep_efficiency(request: RunRequest, ref: EncoderRef, features: PooledFeatures, options: ExtractOptions) -> None:
    """Measure an encoder once: the counts do not depend on the data, the images per second are the last seen."""
    path = request.results.efficiency_path(ref.spec.name, ref.spec.fingerprint)
    if path.exists() and features.from_cache:
        return
    counts = measure(ref.load(), ref.preprocess)
    speed = features.images_per_second
    facts = {
        "parameters": ref.spec.parameters,
        "gflops_per_image": counts.gflops_per_image,
        "images_per_second": None if math.isnan(speed) else speed,
        "width": features.pooled.shape[1],
        "device": str(options.device),
        "precision": options.precision,
    }
    request.results.save_efficiency(ref.spec.name, ref.spec.fingerprint, facts)
