"""A dataset as a paper splits and reads it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cxrbench.data.manifest import Manifest
from cxrbench.data.splits import by_patient, shared_patients
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.tasks.presets.recipes import data_settings, honour

UNUSED = "unused"
"""The split of images that a paper leaves out; their features stay in the cache, for other protocols."""

KNOWN = ("split", "unit", "seed", "labels", "unknown", "min_positives", "balance_training")


def adapted(manifest: Manifest, preset: str, protocol: str) -> Manifest:
    """The dataset as the preset's ``[[data]]`` tables want it, itself where they say nothing of it.

    ``split`` deals the images out anew: all of them if it has a ``test`` share, else all that are not test images.
    ``unit``: ``patient``, ``study`` or ``image``; where a patient then is in two splits, a note says so. ``labels``:
    those alone; ``min_positives``: labels with so many positives outside the test split. ``unknown = "negative"``:
    unknown labels count as 0, in test as well. ``balance_training``: of the training images without any finding as
    many as there are with one (one at least). Raises NotApplicableError if nothing is left to be asked.
    """
    settings = data_settings(preset, protocol, manifest.name)
    honour(settings, KNOWN, f"{manifest.name}:{protocol}")
    if not settings:
        return manifest
    manifest = _labelled(_split(manifest, settings), settings, preset)
    return _balanced(manifest, int(settings.get("seed", 0))) if settings.get("balance_training") else manifest


def _split(manifest: Manifest, settings: Mapping[str, Any]) -> Manifest:
    shares = settings.get("split")
    if not shares:
        return manifest
    unit = settings.get("unit", "patient")
    if unit not in ("patient", "study", "image"):
        raise UserError(f"a preset's split has the unit {unit!r}: it is patient, study or image")
    images = manifest.images.copy()
    dealt = np.ones(len(images), bool) if "test" in shares else (images["split"] != "test").to_numpy()
    who = images[f"{unit}_id"].to_numpy(str)[dealt]
    images.loc[dealt, "split"] = by_patient(who.tolist(), shares, int(settings.get("seed", 0)))
    shared = shared_patients(images["patient_id"].tolist(), images["split"].tolist())
    notes = manifest.notes
    if shared:
        notes += (f"Split by {unit} as the paper did: {len(shared):,} patients are in more than one split.",)
    return replace(manifest, images=images, notes=notes)


def _labelled(manifest: Manifest, settings: Mapping[str, Any], preset: str) -> Manifest:
    images = manifest.images.copy()
    labels = tuple(settings.get("labels", manifest.labels))
    if absent := [label for label in labels if label not in manifest.labels]:
        raise UserError(f"preset {preset} asks {manifest.name} for the label {absent[0]!r}, which it does not have")
    if least := settings.get("min_positives"):
        positives = images.loc[images["split"] != "test", list(labels)].sum()
        labels = tuple(label for label in labels if positives[label] >= least)
        if not labels:
            raise NotApplicableError(
                f"preset {preset} wants labels with {least} positives outside the test split: {manifest.name} has none"
            )
    notes = manifest.notes
    if settings.get("unknown", "negative") != "negative":
        raise UserError(f"preset {preset}: unknown labels can only count as negative, not {settings['unknown']!r}")
    if "unknown" in settings and bool(unknown := int(images[list(labels)].isna().to_numpy().sum())):
        images[list(labels)] = images[list(labels)].fillna(0.0)
        notes += (f"Unknown labels count as negative, as in the paper: {unknown:,} of them.",)
    if labels == manifest.labels:
        return replace(manifest, images=images, notes=notes)
    images = images.drop(columns=[label for label in manifest.labels if label not in labels])
    return replace(manifest, images=images, labels=labels, groups={"macro": labels}, notes=notes)


def _balanced(manifest: Manifest, seed: int) -> Manifest:
    train = manifest.rows_of("train")
    positive = (manifest.targets()[train] == 1).any(1)
    negatives = np.random.default_rng(seed).permutation(train[~positive])
    surplus = negatives[max(1, int(positive.sum())) :]
    splits = manifest.images["split"].to_numpy(object).copy()
    splits[surplus] = UNUSED
    note = f"Training has {positive.sum():,} images with a finding and as many without; {len(surplus):,} are not used."
    return replace(manifest, images=manifest.images.assign(split=splits), notes=(*manifest.notes, note))
