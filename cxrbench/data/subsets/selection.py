"""Which of a dataset's images a paper uses, and in which split each of them is."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import PART, SPLITS, Manifest
from cxrbench.data.splits import SEED, by_patient, shared_patients
from cxrbench.errors import UserError
from cxrbench.files.names import some

Unit = Literal["patient", "study", "image"]

UNUSED = "unused"
"""The split of images that a paper leaves out; their features stay in the cache, for other protocols."""


@dataclass(frozen=True)
class Selection:
    """How a paper chooses and deals out a dataset's images; by default it takes it as its reader gives it.

    ``views``: of these alone (``PA``, ``AP``, ``L``, "" for any other), the others are not used. ``laterals``: of the
    lateral training images so many, drawn image by image. ``test_part``: the official part that is the test set; images
    of a part called ``test`` are then not used, the others are to train on. ``split``: relative sizes by split; all
    images are dealt out anew if there is a ``test`` among them, else all that are not test images. ``unit``: what is
    never divided. ``shares_of``: what the sizes count.
    """

    views: tuple[str, ...] = ()
    laterals: int | None = None
    test_part: str = ""
    split: Mapping[str, float] = field(default_factory=dict)
    unit: Unit = "patient"
    shares_of: Literal["images", "studies"] = "images"
    seed: int = SEED

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit) or self.shares_of not in ("images", "studies"):
            raise UserError(
                f"images are dealt out by {', '.join(get_args(Unit))}, in shares of images or studies, not by "
                f"{self.unit!r} in shares of {self.shares_of!r}"
            )


def selected(manifest: Manifest, selection: Selection) -> Manifest:
    """The dataset as the selection has it: the same rows, with other splits, and notes on what was done, in the place
    of those on how its reader made these splits.

    Raises UserError where the dataset does not know its official parts, and one of them is asked for.
    """
    splits = manifest.images["split"].to_numpy(object).copy()
    notes: list[str] = []
    if selection.test_part:
        splits = _official(manifest, selection.test_part)
        notes.append(f"Test is the official {selection.test_part}.")
    if selection.views:
        other = ~np.isin(manifest.images["view"].to_numpy(str), selection.views) & (splits != UNUSED)
        splits[other] = UNUSED
        names = ", ".join(view or "other" for view in selection.views)
        notes.append(f"Views {names} alone: {other.sum():,} images are not used.")
    if selection.split:
        notes += _deal(manifest, splits, selection)
    if selection.laterals is not None:
        notes += _some_laterals(manifest, splits, selection.laterals, selection.seed)
    if selection == Selection(unit=selection.unit, seed=selection.seed):
        return manifest
    images = manifest.images.assign(split=[str(split) for split in splits])
    anew = SPLITS if selection.test_part else tuple(selection.split)
    return replace(manifest, images=images, notes=(*manifest.notes_without(anew), *notes))


def _official(manifest: Manifest, test: str) -> NDArray[np.object_]:
    """The splits if the official part ``test`` is tested on."""
    if PART not in manifest.images:
        raise UserError(
            f"{manifest.name} does not say in which official part ({test}, ...) its images are: a copy that an earlier "
            "version prepared lacks that; delete the copy and prepare it again"
        )
    parts = manifest.images[PART].to_numpy(str)
    if test not in parts:
        raise UserError(f"{manifest.name} has no official part {test!r}: it has {some(sorted(set(parts)))}")
    splits = np.where(parts == "test", UNUSED, "train").astype(object)
    splits[parts == test] = "test"
    return splits


def _deal(manifest: Manifest, splits: NDArray[np.object_], selection: Selection) -> list[str]:
    """Deal the images out in place; notes of that, and where patients are then in several splits."""
    images, shares = manifest.images, selection.split
    dealt = splits != UNUSED if "test" in shares else np.isin(splits.astype(str), ("train", "val"))
    units = images[f"{selection.unit}_id"].to_numpy(str)[dealt]
    counted = np.arange(len(units))
    if selection.shares_of == "studies":
        pairs = np.char.add(np.char.add(units, "|"), images["study_id"].to_numpy(str)[dealt])
        counted = np.unique(pairs, return_index=True)[1]
    names = by_patient(units[counted].tolist(), shares, selection.seed)
    split_of = dict(zip(units[counted].tolist(), names.tolist(), strict=True))
    splits[dealt] = [split_of[unit] for unit in units.tolist()]
    used = splits != UNUSED
    said = "/".join(f"{100 * share / sum(shares.values()):.4g}" for share in shares.values())
    of = "" if "test" in shares else ", of what is not test"
    notes = [f"Split anew as the paper did: {said} ({', '.join(shares)}) by {selection.unit}{of}."]
    if shared := shared_patients(images["patient_id"][used].tolist(), splits[used].tolist()):
        notes.append(f"{len(shared):,} patients are in more than one split, as in the paper.")
    return notes


def _some_laterals(manifest: Manifest, splits: NDArray[np.object_], count: int, seed: int) -> list[str]:
    """Leave out lateral training images in place until ``count`` are left, in the order of sha256("seed|image")."""
    views, ids = (manifest.images[name].to_numpy(str) for name in ("view", "image_id"))
    lateral = np.flatnonzero((views == "L") & (splits == "train"))
    keys = [hashlib.sha256(f"{seed}|{ids[row]}".encode()).digest() for row in lateral]
    surplus = lateral[np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)[count:]]
    splits[surplus] = UNUSED
    if not len(surplus):
        return [f"All {len(lateral):,} lateral training images are used: the paper draws {count:,} of more."]
    return [f"{count:,} of {len(lateral):,} lateral training images are used, drawn by image."]
