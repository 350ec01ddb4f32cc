"""A dataset as a paper splits and reads it."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from cxrbench.data.manifest import SAID_UNCERTAIN, Manifest
from cxrbench.data.subsets.frequent import TOP, most_frequent
from cxrbench.data.subsets.selection import UNUSED, Selection, selected
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.tasks.presets.recipes import data_settings, honour

SELECTED = tuple(entry.name for entry in fields(Selection))
KNOWN = (*SELECTED, "labels", "unknown", "uncertain", "min_positives", "headline", "top", "balance_training")


def adapted(manifest: Manifest, preset: str, protocol: str) -> Manifest:
    """The dataset as the preset's ``[[data]]`` tables want it, itself where they say nothing of it.

    Which images, and in which split, is a ``Selection``. ``labels``: those alone; ``min_positives``: labels with so
    many positives outside the test split. ``uncertain = "negative"``: labels that the tables call uncertain count as 0,
    whatever the reader made of them; ``unknown = "negative"``: so do unknown ones; in test as well. ``headline =
    "all"``: the mean of all labels comes first, whatever the reader's headline is. ``top = 5``: a group of the five
    labels with most positive training images. ``balance_training``: of the training images without any finding as many
    as there are with one (one at least). Raises NotApplicableError if nothing is left to be asked.
    """
    settings = data_settings(preset, protocol, manifest.name)
    honour(settings, KNOWN, f"{manifest.name}:{protocol}")
    if not settings:
        return manifest
    selection = Selection(**{key: _frozen(value) for key, value in settings.items() if key in SELECTED})
    manifest = _labelled(_certain(selected(manifest, selection), settings), settings, preset)
    return _balanced(manifest, int(settings.get("seed", 0))) if settings.get("balance_training") else manifest


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _certain(manifest: Manifest, settings: Mapping[str, Any]) -> Manifest:
    """With uncertain labels as the paper counts them. Raises UserError where nobody knows which they are."""
    if "uncertain" not in settings:
        return manifest
    if settings["uncertain"] != "negative":
        raise UserError(f"a preset can only count uncertain labels as negative, not {settings['uncertain']!r}")
    columns = [label for label in manifest.labels if SAID_UNCERTAIN + label in manifest.images]
    if not columns:
        raise UserError(
            f"{manifest.name} does not say which of its labels are uncertain: a copy that an earlier version prepared "
            "lacks that; delete the copy and prepare it again"
        )
    images = manifest.images.copy()
    said = images[[SAID_UNCERTAIN + label for label in columns]].to_numpy(bool)
    images[columns] = images[columns].where(~said, 0.0)
    note = f"Uncertain labels count as negative all the same, as in the paper: {said.sum():,} of them."
    return replace(manifest, images=images, notes=(*manifest.notes, note))


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
    groups = manifest.groups
    if labels != manifest.labels:
        images = images.drop(columns=[label for label in manifest.labels if label not in labels])
        groups = {"macro": labels}
    if settings.get("headline", "all") != "all":
        raise UserError(f"preset {preset}: the headline can only be all labels, not {settings['headline']!r}")
    if "headline" in settings and groups["macro"] != labels:
        groups = {**groups, "macro": labels}
    if (top := settings.get("top", len(labels))) < len(labels):
        groups = {**groups, f"{TOP}{top}": most_frequent(images, labels, top)}
    return replace(manifest, images=images, labels=labels, groups=groups, notes=notes)


def _balanced(manifest: Manifest, seed: int) -> Manifest:
    train = manifest.rows_of("train")
    positive = (manifest.targets()[train] == 1).any(1)
    negatives = np.random.default_rng(seed).permutation(train[~positive])
    surplus = negatives[max(1, int(positive.sum())) :]
    splits = manifest.images["split"].to_numpy(object).copy()
    splits[surplus] = UNUSED
    note = f"Training has {positive.sum():,} images with a finding and as many without; {len(surplus):,} are not used."
    return replace(manifest, images=manifest.images.assign(split=splits), notes=(*manifest.notes, note))
