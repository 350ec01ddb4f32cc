"""True masks at the size of the stored image: from run lengths, mask files, or the boxes of a single finding."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.annotations.mask_files import inside, is_jpeg, mask_size, read_mask
from cxrbench.data.annotations.rescaling import Sizes, nearest
from cxrbench.data.annotations.rle import decode_counts
from cxrbench.data.decode.images import image_size
from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError

IGNORE = 255
"""A pixel that counts neither for nor against: marked so in the mask, or of a label that is unknown for the image."""

Mask = NDArray[np.uint8]


class Counts(NamedTuple):
    """COCO's uncompressed run lengths of a mask. ``stretched``: over its image, by nearest pixels, of any size."""

    height: int
    width: int
    counts: str
    stretched: bool = False


class MaskFile(NamedTuple):
    """A mask image: pixels equal to ``value`` (None: any but 0 and ``ignore``, see ``inside``) belong to the label.

    ``stretched``: as of ``Counts``.
    """

    path: Path
    value: int | None
    ignore: int | None
    stretched: bool = False


class Box(NamedTuple):
    """A box in pixels of the stored image, edges at whole numbers."""

    x: float
    y: float
    width: float
    height: float


Part = Counts | MaskFile | Box


@dataclass(frozen=True)
class TrueMasks:
    """The true masks of a dataset.

    ``labels``: what is outlined. ``exclusive``: every pixel has at most one of them, because the masks are maps of
    class indices. ``parts``: by image and label index; several parts are united. ``empty``: for an image and label
    without a part, whether the mask is empty (else it is unknown).
    """

    labels: tuple[str, ...]
    exclusive: bool
    parts: Mapping[str, Mapping[int, Sequence[Part]]]
    empty: Mapping[str, NDArray[np.bool_]]

    @staticmethod
    def of(manifest: Manifest) -> "TrueMasks":
        """The masks of a manifest or, where it has boxes of one label and no masks, its boxes as masks.

        An image without a row is empty if ``masks_complete``. Boxes are taken for complete, too: an image without one
        is empty, unless the label of that name is positive or unknown there. Raises UserError where ``no_masks`` has a
        reason.
        """
        if reason := no_masks(manifest):
            raise UserError(f"{manifest.name} cannot be segmented: {reason}")
        boxes = manifest.masks is None or not len(manifest.masks)
        table = manifest.boxes if boxes else manifest.masks
        assert table is not None  # no_masks has looked
        named = dict.fromkeys(table["label"].astype(str))
        labels = tuple(sorted(named, key=lambda n: manifest.labels.index(n) if n in manifest.labels else len(named)))
        index = {label: i for i, label in enumerate(labels)}
        parts: dict[str, dict[int, list[Part]]] = {}
        for row in table.to_dict("records"):
            part = _part(row, manifest.root)
            parts.setdefault(str(row["image_id"]), {}).setdefault(index[str(row["label"])], []).append(part)
        ids = manifest.images["image_id"].astype(str)
        empty = np.full((len(ids), len(labels)), manifest.masks_complete or boxes)
        if boxes and labels[0] in manifest.labels:
            empty[:, 0] = manifest.images[labels[0]].to_numpy() == 0
        return TrueMasks(labels, _exclusive(parts, len(labels)), parts, dict(zip(ids, empty, strict=True)))

    def known(self, image_id: str) -> NDArray[np.bool_]:
        """Whether the masks [labels] of an image are known."""
        found = self.empty[image_id].copy()
        found[list(self.parts.get(image_id, ()))] = True
        return found

    def present(self, image_id: str) -> NDArray[np.float32]:
        """1 where an image shows a label, 0 where not, NaN where that is unknown: [labels]."""
        parts = self.parts.get(image_id, {})
        files = any(isinstance(part, MaskFile) for several in parts.values() for part in several)
        shown = np.where(self.empty[image_id], np.float32(0), np.float32(np.nan))
        for label, several in parts.items():
            shown[label] = any(isinstance(p, Box) or (isinstance(p, Counts) and " " in p.counts) for p in several)
        if files:
            height, width = _size_of_file(parts)
            masks = self.native(image_id, height, width)
            shown[list(parts)] = (masks[list(parts)] == 1).any((1, 2))
        return shown

    def native(self, image_id: str, height: int, width: int) -> Mask:
        """The masks [labels, height, width] of an image of that size: 1 inside, 0 outside, 255 for IGNORE.

        Raises UserError if a mask has another size, its run lengths do not fit, or its file cannot be read.
        """
        masks = np.where(self.empty[image_id], 0, IGNORE).astype(np.uint8)[:, None, None].repeat(height, 1)
        masks = masks.repeat(width, 2)
        files: dict[Path, NDArray[np.integer]] = {}
        for label, several in self.parts.get(image_id, {}).items():
            masks[label] = 0
            for part in several:
                where = f"the mask of {self.labels[label]} of image {image_id}"
                if isinstance(part, MaskFile):
                    if part.path not in files:
                        files[part.path] = read_mask(part.path)
                    _paint_file(masks[label], files[part.path], part, where)
                elif isinstance(part, Counts):
                    _paint_counts(masks[label], part, where)
                else:
                    _paint_box(masks[label], part, image_id)
        return masks


def no_masks(manifest: Manifest) -> str | None:
    """Why a dataset cannot be segmented, or None."""
    if manifest.masks is not None and len(manifest.masks):
        return None
    if manifest.boxes is None or not len(manifest.boxes):
        return "it has no masks"
    if len(set(manifest.boxes["label"])) > 1:
        return f"its boxes are of several findings: use {manifest.name}:detection"
    return None


def check_sizes(masks: pd.DataFrame, paths: Mapping[str, Path], root: Path) -> None:
    """Compare mask files with their images, from the headers alone. Raises UserError for the first that do not fit.

    ``paths``: the file of each image. Images that cannot be read are left to whoever decodes them. A JPEG keeps no
    values apart, so it cannot be a mask of several classes, or one with an ignored value. What is stretched fits.
    """
    masks = masks.loc[~masks["stretched"].astype(bool)] if "stretched" in masks else masks
    named = masks[["value", "ignore"]].notna().any(axis=1)
    pairs = masks[["image_id", "path"]].assign(named=named).drop_duplicates(["image_id", "path"])

    def one(image_id: str, mask: str, named: bool) -> None:
        if named and is_jpeg(root / mask):
            raise UserError(
                f"mask {root / mask} is a JPEG: its values are not those that were drawn, so no class or ignored value "
                "can be told; save it as PNG"
            )
        try:
            size = image_size(paths[image_id])
        except UserError:
            return
        try:
            _check_size(f"mask {root / mask}", mask_size(root / mask), size)
        except UserError as error:
            raise UserError(str(error).replace("read image", "read mask", 1)) from error

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(one, pairs["image_id"], pairs["path"], pairs["named"]):
            pass


def _part(row: Mapping[Any, Any], root: Path) -> Part:
    """A row of the manifest's mask or box table."""
    if "x" in row:
        return Box(float(row["x"]), float(row["y"]), float(row["width"]), float(row["height"]))
    stretched = bool(row.get("stretched", False))
    if isinstance(row.get("counts"), str):
        return Counts(int(row["height"]), int(row["width"]), str(row["counts"]), stretched)
    value, ignore = (_whole(row.get(name)) for name in ("value", "ignore"))
    return MaskFile(root / str(row["path"]), value, ignore, stretched)


def _whole(number: float | None) -> int | None:
    return None if number is None or np.isnan(number) else int(number)


def _exclusive(parts: Mapping[str, Mapping[int, Sequence[Part]]], labels: int) -> bool:
    """Whether every image's masks are values of one file."""
    if labels < 2:
        return False
    for of_image in parts.values():
        flat = [part for several in of_image.values() for part in several]
        if not all(isinstance(part, MaskFile) and part.value is not None for part in flat):
            return False
        if len({part.path for part in flat if isinstance(part, MaskFile)}) > 1:
            return False
    return True


def _size_of_file(parts: Mapping[int, Sequence[Part]]) -> tuple[int, int]:
    """The size of an image's first mask file."""
    path = next(part.path for several in parts.values() for part in several if isinstance(part, MaskFile))
    height, width = read_mask(path).shape
    return height, width


def _check_size(where: str, mask: tuple[int, int], image: tuple[int, int]) -> None:
    if mask != image:
        raise UserError(
            f"{where} has {mask[1]} x {mask[0]} pixels, the image {image[1]} x {image[0]}; "
            "give the mask the size of the stored image, or leave it out"
        )


def _fitted(values: NDArray[Any], target: Mask, stretched: bool, where: str) -> NDArray[Any]:
    """A mask's values at the size of its image. Raises UserError where it has another and is not to be stretched."""
    (height, width), (new_height, new_width) = values.shape, target.shape
    if stretched:
        return nearest(values, Sizes(height, width, new_height, new_width), where)
    _check_size(where, (height, width), (new_height, new_width))
    return values


def _paint_counts(target: Mask, part: Counts, where: str) -> None:
    if not part.stretched:
        _check_size(where, (part.height, part.width), (target.shape[0], target.shape[1]))
    try:
        drawn = decode_counts(part.counts, part.height, part.width)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    target[_fitted(drawn, target, part.stretched, where)] = 1


def _paint_file(target: Mask, values: NDArray[np.integer], part: MaskFile, where: str) -> None:
    values = _fitted(values, target, part.stretched, f"{where}, {part.path},")
    if part.value is not None:
        target[values == part.value] = 1
    elif part.ignore is not None:
        target[values != 0] = 1
    else:
        target[inside(values)] = 1
    if part.ignore is not None:
        target[values == part.ignore] = IGNORE


def _paint_box(target: Mask, box: Box, image_id: str) -> None:
    """The pixels whose centres lie in the box."""
    height, width = target.shape
    first = np.ceil(np.array([box.x, box.y]) - 0.5).astype(int)
    last = np.ceil(np.array([box.x + box.width, box.y + box.height]) - 0.5).astype(int)
    if (last <= 0).any() or (first >= (width, height)).any():
        raise UserError(
            f"box {tuple(box)} of image {image_id} lies outside of its {width} x {height} pixels; mend or remove it"
        )
    (left, top), (right, bottom) = np.maximum(first, 0), np.maximum(last, 0)
    target[top:bottom, left:right] = 1
