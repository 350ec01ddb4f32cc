"""The files of a prepared copy: one PNG per image, one per mask file, one array per ECG.

An image's PNG says in a text chunk which image it is and what its original was like, so what is on the disk says what
is done. Files are written beside their place and renamed: a name means a whole file, but for power cuts, after which
the end of a PNG is missing.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cxrbench.data.annotations.mask_files import read_mask
from cxrbench.data.annotations.rescaling import Sizes, eight_bits, fitted, nearest
from cxrbench.data.decode.arrays import read_ecg
from cxrbench.data.decode.images import use_decoded
from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError

ORIGINAL = "original"  # the text chunk: [image id, bytes, stamp, height, width] as JSON
IEND = bytes.fromhex("0000000049454e44ae426082")  # the last chunk of every whole PNG
PER_FOLDER = 1000


class ImageFile(NamedTuple):
    """One image to copy: its file, with size and stamp, its place in the copy, and its mask files with theirs.

    Masks that are ``stretched`` over their image keep their size.
    """

    image_id: str
    bytes: int
    stamp: str
    path: Path
    name: str
    masks: Mapping[Path, str]
    stretched: bool = False


def image_files(manifest: Manifest) -> list[ImageFile]:
    """The images of a manifest in row order; each lies in the copy by its row, ``images/0000/0000017.png``."""
    masks = mask_names(manifest)
    table = manifest.masks
    stretched = set() if table is None or "stretched" not in table else set(table.loc[table["stretched"], "image_id"])
    columns = (manifest.images[name].tolist() for name in ("image_id", "bytes", "stamp"))
    found = []
    for row, (image_id, size, stamp, path) in enumerate(zip(*columns, manifest.paths(), strict=True)):
        name = f"images/{row // PER_FOLDER:04d}/{row:07d}.png"
        of_image = masks.get(image_id, {})
        found.append(ImageFile(image_id, int(size), stamp, path, name, of_image, image_id in stretched))
    return found


def mask_names(manifest: Manifest) -> dict[str, dict[Path, str]]:
    """For each image with mask files, their places in the copy."""
    found: dict[str, dict[Path, str]] = {}
    if manifest.masks is None or "path" not in manifest.masks:
        return found
    rows = dict(zip(manifest.images["image_id"], range(len(manifest)), strict=True))
    for image, path in zip(manifest.masks["image_id"], manifest.masks["path"], strict=True):
        if image in rows and isinstance(path, str):
            row, named = rows[image], found.setdefault(image, {})
            named.setdefault(manifest.root / path, f"masks/{row // PER_FOLDER:04d}/{row:07d}-{len(named)}.png")
    return found


def make(radiograph: ImageFile, folder: Path, longest: int, max_pixels: int) -> Sizes:
    """Decode, resize and write one image, its masks first: where the image is, all of it is done.

    Raises BadImageError, UserError for a mask that does not fit, OSError where it cannot be written.
    """

    def small(image: NDArray[np.float32]) -> tuple[Sizes, NDArray[np.uint8]]:
        sizes = fitted(image.shape[0], image.shape[1], longest)
        return sizes, eight_bits(image, sizes)

    sizes, pixels = use_decoded(radiograph.path, small, max_pixels=max_pixels)
    for path, name in radiograph.masks.items():
        values = read_mask(path)
        kept = values if radiograph.stretched else nearest(values, sizes, f"mask {path}")
        _write_png(folder / name, _storable(kept, path))
    said = json.dumps([radiograph.image_id, radiograph.bytes, radiograph.stamp, sizes.height, sizes.width])
    _write_png(folder / radiograph.name, pixels, said)
    return sizes


def made(radiograph: ImageFile, folder: Path) -> Sizes | None:
    """The sizes of an image that is there whole and comes of this original; None where it has yet to be made."""
    try:
        with open(folder / radiograph.name, "rb") as handle:
            handle.seek(-len(IEND), os.SEEK_END)
            if handle.read() != IEND:
                return None
            handle.seek(0)
            with Image.open(handle, formats=["PNG"]) as image:
                *original, height, width = json.loads(image.info[ORIGINAL])
                same = original == [radiograph.image_id, radiograph.bytes, radiograph.stamp]
                return Sizes(height, width, image.height, image.width) if same else None
    except (OSError, SyntaxError, ValueError, KeyError):
        return None


def copy_signals(manifest: Manifest, folder: Path) -> pd.DataFrame | None:
    """The table of signals with every ECG in a file of its own, [12, samples] float32; the leads keep their order."""
    if manifest.signals is None:
        return None
    (folder / "signals").mkdir(exist_ok=True)
    names = []
    for row, path in enumerate(manifest.signals["ecg"]):
        names.append(f"signals/{row:07d}.npy" if path else "")
        if path and not (folder / names[-1]).is_file():
            temporary = folder / f"{names[-1]}.tmp"
            signal = read_ecg(manifest.root / path)
            temporary.unlink(missing_ok=True)  # of a killed process: the folder is locked, so nobody else writes it
            with open(temporary, "xb") as handle:
                np.save(handle, signal)
            os.replace(temporary, folder / names[-1])
    return manifest.signals.assign(ecg=names)


def _write_png(path: Path, pixels: NDArray[Any], said: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    info, temporary = PngInfo(), path.with_name(f".{path.name}.tmp")
    if said:
        info.add_text(ORIGINAL, said)
    temporary.unlink(missing_ok=True)
    with open(temporary, "xb") as handle:  # never through a link
        Image.fromarray(pixels).save(handle, "PNG", pnginfo=info)
    os.replace(temporary, path)


def _storable(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """Mask values as a PNG can store them. Raises UserError."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high > 65535:
        raise UserError(f"mask {path} has values from {low} to {high}: a PNG holds 0 to 65535")
    return values.astype(np.uint8 if high < 256 else np.uint16)
