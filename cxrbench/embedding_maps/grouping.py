"""What a map is coloured by: the group of each image, by its label, view, patient or dataset."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.attributes import BY, group_of
from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

LABEL, DATASET = "label", "dataset"
ONE_LABEL = "label:"
NONE, SEVERAL, UNKNOWN = "none of them", "several", "unknown"
MOST = 7
"""Groups with a colour of their own: no more can be told apart."""
FEWEST = 5
"""Images of a group with a colour of its own: of fewer, a silhouette says nothing."""


@dataclass(frozen=True)
class MapGroup:
    """One entry of a legend. ``rest``: images that are in no group of their own; drawn gray, and in no silhouette."""

    name: str
    images: int
    rest: bool = False


@dataclass(frozen=True)
class Grouping:
    """The groups of a map's images: ``codes`` [n], each the place of the image's group in ``groups``.

    Groups stand in the order of their size (age bands in their own), the rest behind them.
    """

    by: str
    groups: tuple[MapGroup, ...]
    codes: NDArray[np.int64]

    @property
    def named(self) -> NDArray[np.bool_]:
        """Which images [n] are in a group of their own."""
        return ~np.array([group.rest for group in self.groups])[self.codes]

    def names(self) -> list[str]:
        """The group of each image [n] in words."""
        return [self.groups[code].name for code in self.codes]


def grouping(manifests: Sequence[Manifest], by: str) -> Grouping:
    """The groups of all images of the manifests, in their order.

    ``by``: ``label``: the one label that is known to be positive, else ``none of them`` (all are known to be negative),
    ``several`` or ``unknown``, of which the last two are no groups of their own; ``label:NAME``: whether an image has
    it; ``dataset``; ``view``, ``sex``, ``age`` (in bands), ``site``, ``scanner``. Groups of fewer than ``FEWEST``
    images, and of more than ``MOST`` groups the smaller ones, are ``N others``, no group of its own. Raises UserError
    for anything else, where no dataset knows, and where fewer than two groups have enough images.
    """
    if by == DATASET:
        cells = [(m.name, False) for m in manifests for _ in range(len(m))]
    elif by == LABEL:
        cells = [cell for manifest in manifests for cell in _labels(manifest)]
    elif by.startswith(ONE_LABEL):
        cells = _one_label(manifests, by.removeprefix(ONE_LABEL))
    elif by in BY:
        cells = _attribute(manifests, by)
    else:
        raise UserError(f"--by {plain(by)}: choose from {', '.join((LABEL, 'label:NAME', DATASET, *BY))}")
    counts = Counter(cells)
    named = sorted((cell for cell in counts if not cell[1]), key=lambda cell: (-counts[cell], cell[0]))
    large = [cell for cell in named if counts[cell] >= FEWEST]
    if len(large) < 2:
        raise UserError(f"--by {plain(by)}: {_too_few(named, counts, len(cells))}: leave it out, or take more images")
    kept = set(large if len(large) <= MOST else large[: MOST - 1])
    fewer = (f"{len(named) - len(kept)} others", True)
    cells = [cell if cell in kept or cell[1] else fewer for cell in cells]
    counts = Counter(cells)
    order = sorted(counts, key=lambda cell: (cell[1], cell[0] if by == "age" or cell[1] else "", -counts[cell], cell))
    place = {cell: number for number, cell in enumerate(order)}
    groups = tuple(MapGroup(name, counts[name, rest], rest) for name, rest in order)
    return Grouping(by, groups, np.array([place[cell] for cell in cells], np.int64))


def _too_few(named: Sequence[tuple[str, bool]], counts: Mapping[tuple[str, bool], int], images: int) -> str:
    """Why there are no two groups to tell apart."""
    if not named:
        return "it is known of no image"
    of = ", ".join(f"{plain(cell[0])} {counts[cell]:,}" for cell in named[:3]) + (", ..." if len(named) > 3 else "")
    return f"of {images:,} images, no two groups have {FEWEST} ({of})"


def _labels(manifest: Manifest) -> list[tuple[str, bool]]:
    """Of each image its only positive label, and whether it is in no group of its own."""
    targets = manifest.targets()
    positive, unknown = targets == 1, np.isnan(targets).any(1) | (targets.shape[1] == 0)
    cells = []
    for row, count in enumerate(positive.sum(1)):
        if count == 1:
            cells.append((manifest.labels[int(positive[row].argmax())], False))
        elif count:
            cells.append((SEVERAL, True))
        else:
            cells.append((UNKNOWN, True) if unknown[row] else (NONE, False))
    return cells


def _one_label(manifests: Sequence[Manifest], label: str) -> list[tuple[str, bool]]:
    """Whether each image has a label."""
    if not any(label in manifest.labels for manifest in manifests):
        there = sorted({name for manifest in manifests for name in manifest.labels})
        raise UserError(f"--by {ONE_LABEL}{plain(label)}: the labels are {some(there)}")
    named = {1.0: (label, False), 0.0: (f"no {label}", False)}
    cells = []
    for manifest in manifests:
        known = manifest.images[label].tolist() if label in manifest.labels else [np.nan] * len(manifest)
        cells += [named.get(value, (UNKNOWN, True)) for value in known]
    return cells


def _attribute(manifests: Sequence[Manifest], by: str) -> list[tuple[str, bool]]:
    """The sex, view, ... of each image."""
    found = [group_of(manifest, by) for manifest in manifests]
    if not any(found):
        raise UserError(f"--by {by}: {some([m.name for m in manifests])} does not say the {by} of its images")
    return [
        (group, False) if (group := of.get(image, "")) else (UNKNOWN, True)
        for manifest, of in zip(manifests, found, strict=True)
        for image in manifest.images["image_id"]
    ]
