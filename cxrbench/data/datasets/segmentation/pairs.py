"""Downloads that are folders of images and of mask files, without a table: which mask is of which image."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from cxrbench.data.annotations.masks import check_sizes
from cxrbench.data.datasets.layout import File, Layout
from cxrbench.files.names import some

EXTENSIONS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class MaskPairs:
    """Images of one folder and their masks, by the image's name without extension; ``spare``: masks of no image."""

    images: dict[str, File]
    masks: dict[str, File]
    spare: tuple[str, ...]


def base_folder(layout: Layout, wanted: str, places: Iterable[str]) -> str:
    """The first of ``places`` below the root ("": the root itself) with the folder ``wanted``, ending in ``/`` or "".

    Archives hold one folder or several inside each other, depending on who unpacked them. Raises UserError.
    """
    if not layout.root.is_dir():
        raise layout.error("there is no such folder")
    places = list(places)
    for place in places:
        if (layout.root / place / wanted).is_dir():
            return f"{place}/" if place else ""
    raise layout.error(f"folder {' or '.join(f'{place}/{wanted}' if place else wanted for place in places)} is missing")


def pair(layout: Layout, images: str, masks: str, *, prefix: str = "") -> MaskPairs:
    """The images of a folder with the masks of another, whose names are the images' behind ``prefix``.

    Raises UserError for a folder without images, and for images without a mask.
    """
    found = layout.files([images], EXTENSIONS)
    if not found:
        raise layout.error(f"there are no images in {images} ({', '.join(EXTENSIONS)})")
    drawn = layout.files([masks], EXTENSIONS)
    if alone := sorted(name for name in found if prefix + name not in drawn):
        raise layout.error(f"{len(alone):,} image(s) of {images} have no mask in {masks}: {some(alone)}")
    named = {prefix + name for name in found}
    return MaskPairs(
        {name: found[name] for name in sorted(found)},
        {name: drawn[prefix + name] for name in found},
        tuple(sorted(set(drawn) - named)),
    )


def mask_table(layout: Layout, rows: Iterable[tuple[str, str, File]], images: dict[str, File]) -> pd.DataFrame:
    """``Manifest.masks`` of mask files (image id, label, file): any value but 0 is inside.

    Raises UserError for a mask whose size is not its image's.
    """
    table = _table(rows)
    check_sizes(table, {name: layout.root / file.path for name, file in images.items()}, layout.root)
    return table


def stretched_table(rows: Iterable[tuple[str, str, File]]) -> pd.DataFrame:
    """As ``mask_table``, of masks that are stretched over their images, whatever the size of either."""
    return _table(rows).assign(stretched=True)


def _table(rows: Iterable[tuple[str, str, File]]) -> pd.DataFrame:
    return pd.DataFrame(
        [(name, label, file.path, float("nan"), float("nan")) for name, label, file in rows],
        columns=["image_id", "label", "path", "value", "ignore"],
    ).astype({"value": float, "ignore": float})
