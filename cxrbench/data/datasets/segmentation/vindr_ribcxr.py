"""VinDr-RibCXR: 245 images of VinDr-CXR with the outlines of 20 ribs. Nguyen et al., MIDL 2021."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrbench.data.annotations.polygons import check_points, polygon_counts, read_points
from cxrbench.data.datasets.layout import File, Layout, image_table, subset_note
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.data.tables import read_json
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

TITLE = "VinDr-RibCXR"
SOURCE = "https://vindr.ai/datasets/ribcxr"
LICENCE = "VinDr-RibCXR Data Use Agreement: signed, scientific research and education, no redistribution"
LINEAGE = ("vindr-ribcxr", "vindr")
PARTS = {"train": "Vindr_RibCXR_train_mask", "val": "Vindr_RibCXR_val_mask"}
OFFICIAL = 245
RIBS = tuple(f"{side}{number}" for side in "RL" for number in range(1, 11))
ABSENT = ("None", None)
FRACTIONS = {"train": 9, "val": 1}
SPLIT = "Test is the official val; validation is a tenth of the official train."


def read(root: Path) -> Manifest:
    """Read ``Vindr_RibCXR_{train,val}_mask.json`` and the PNGs that they name, wherever below ``root`` both lie.

    The files hold columns: ``img`` (paths such as ``data/train/img/VinDr_RibCXR_train_000.png``, of which only the
    name counts here) and R1 to R10, L1 to L10, each a list of ``{"x": x, "y": y}`` by row, or ``"None"`` where a rib
    is not outlined: its mask is empty. Ribs overlap, since their front and back parts are outlined, so each is a
    label of its own. The official code fills outlines by OpenCV after cutting coordinates to whole numbers; here a
    pixel belongs to a rib if its centre does (``annotations/polygons.py``), half a pixel less on each side.

    As in the papers, the official validation set (49 images) is the test set; a tenth of the training images (196) is
    validation. The download has no patient ids: each image counts as a patient. The data itself was not at hand:
    layout and ``"None"`` are those of the official repository's README and code.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    if not root.is_dir():
        raise layout.error("there is no such folder")
    found = layout.files([""], (".json",))
    if missing := [f"{name}.json" for name in PARTS.values() if name not in found]:
        raise layout.error(f"file {' and '.join(missing)} is missing")
    files = layout.files([""], (".png", ".jpg", ".jpeg"))
    ids: list[str] = []
    parts: list[str] = []
    outlines: dict[tuple[str, str], Any] = {}
    for part, name in PARTS.items():
        table = _columns(layout, found[name])
        names = {row: Path(str(path).replace("\\", "/")).stem for row, path in table["img"].items()}
        layout.unique([*ids, *names.values()], f"{name}.json")
        layout.require(names.values(), files, f"{name}.json")
        ids += names.values()
        parts += [part] * len(names)
        outlines |= {(image, rib): table[rib][row] for row, image in names.items() for rib in RIBS}
    dealt = iter(by_patient([name for name, part in zip(ids, parts, strict=True) if part == "train"], FRACTIONS))
    images = image_table(
        ids, files, patients=ids, splits=[str(next(dealt)) if part == "train" else "test" for part in parts],
        labels=(), views=["PA"] * len(ids), targets=np.zeros((len(ids), 0), np.float32),
    )  # fmt: skip
    absent = [image for (image, _), values in outlines.items() if values in ABSENT]
    return Manifest(
        name="vindr-ribcxr",
        root=root,
        images=images,
        labels=(),
        masks=_masks(layout, outlines, {name: files[name] for name in ids}),
        masks_complete=True,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        own_patients=True,
        split_notes={SPLIT: SPLITS},
        notes=(
            "There are no patient ids: each image counts as a patient.",
            SPLIT,
            *((f"{len(absent):,} rib(s) of {len(set(absent)):,} image(s) are not outlined.",) if absent else ()),
            *subset_note(len(ids), OFFICIAL, "images"),
        ),
    )


def _columns(layout: Layout, file: File) -> dict[str, dict[str, Any]]:
    """The columns ``img`` and RIBS of a JSON file, each by row. Raises UserError for another form."""
    try:
        table = read_json(layout.root / file.path)
    except UserError as error:
        raise layout.error(str(error)) from error
    if not isinstance(table, dict) or not all(isinstance(column, dict) for column in table.values()):
        raise layout.error(f"{file.path} is no object of columns by row, as the published one is")
    if missing := [name for name in ("img", *RIBS) if name not in table]:
        raise layout.error(f"{file.path} lacks the column(s) {', '.join(missing)}; it has {some(list(table))}")
    if not table["img"]:
        raise layout.error(f"{file.path} has no rows")
    for name in RIBS:
        if lost := sorted(set(table["img"]) - set(table[name])):
            raise layout.error(f"{file.path} has no {name} for row(s) {some(lost)}")
        if left := sorted(set(table[name]) - set(table["img"])):
            raise layout.error(f"{file.path} has {name} for row(s) {some(left)}, of which img names no image")
    return table


def _masks(layout: Layout, outlines: dict[tuple[str, str], Any], files: dict[str, File]) -> pd.DataFrame:
    """One row per image and rib that is outlined, the ribs in the order of RIBS."""
    sizes = layout.sizes(files)
    rows = []
    for rib in RIBS:
        for name in files:
            if (values := outlines[name, rib]) in ABSENT:
                continue
            height, width = sizes[name]
            where = f"rib {rib} of image {plain(name)}"
            try:
                points = read_points(values, where)
                check_points(points, height, width, where)
            except UserError as error:
                raise layout.error(str(error)) from error
            rows.append((name, rib, height, width, polygon_counts([points], height, width)))
    return pd.DataFrame(rows, columns=["image_id", "label", "height", "width", "counts"])


DATASET = Dataset("vindr-ribcxr", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
