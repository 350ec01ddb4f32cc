"""Object-CXR: 9,000 published radiographs from township hospitals, half of them with foreign objects, and their shapes.

JF Healthcare, https://github.com/jfhealthcare/object-CXR (MIDL 2020); its README and baseline describe the layout.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxrbench.data.annotations.boxes import SIDES, image_sizes
from cxrbench.data.annotations.shapes import Shape, parse_shapes, shape_counts
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

TITLE = "Object-CXR"
SOURCE = "https://github.com/jfhealthcare/object-CXR (its Google Drive folder)"
LICENCE = "free for scientific research and non-commercial use"
LINEAGE = ("object-cxr",)
OFFICIAL = {"train": 8_000, "dev": 1_000}
FRACTIONS = {"train": 0.8, "val": 0.2}
LABEL = "Foreign object"
NAMES = ("image_name", "image_path")  # the files', the README's
EXTENSIONS = (".jpg", ".jpeg", ".png")

Shapes = Mapping[str, Sequence[Shape]]
Sizes = Mapping[str, tuple[int, int]]
"""Height and width of images, by image id."""


def read(root: Path) -> Manifest:
    """Read ``train.csv`` and ``dev.csv`` (``image_name,annotation``) and the images in ``train/`` and ``dev/``.

    An annotation is a list of shapes separated by semicolons, each a kind (0 rectangle, 1 ellipse, 2 polygon) and the
    coordinates of its points; it is empty where there is no foreign object. Masks are the shapes, boxes their boxes.
    (FaNe's code takes the same; MGCA's takes for a polygon a box around its pole of inaccessibility, which is larger.)

    ``dev.csv`` is the test set, as in MGCA and FaNe, for the official test set has no published annotations. A fifth of
    the training table validates, 6,400/1,600/1,000 as FaNe's paper has it; which images these are is not published.
    (Its code and MGCA's split 7,200/800: scikit-learn's ``train_test_split(test_size=0.1, random_state=0)``.)

    Not verified, for the files were not at hand: whether ``image_name`` has a folder before it (both are read), and
    whether shapes reach beyond their images (they are cut at the edge, with a note).
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    tables, boxes, masks, notes = [], [], [], []
    for part, official in OFFICIAL.items():
        shapes, where = _shapes(layout, part)
        files = layout.files([part], EXTENSIONS, parts=2)
        ids = list(shapes)
        layout.require(ids, files, where)
        targets = np.array([[bool(of_image)] for of_image in shapes.values()], np.float32)
        splits = by_patient(ids, FRACTIONS) if part == "train" else ["test"] * len(ids)
        tables.append(
            image_table(
                ids, files, patients=ids, splits=splits, views=[""] * len(ids), labels=(LABEL,), targets=targets
            )
        )
        shapes, flat = _with_an_area(shapes, where)
        sizes = image_sizes({name: root / files[name].path for name, of_image in shapes.items() if of_image})
        drawn, cut = _boxes(layout, shapes, sizes, where)
        boxes.append(drawn)
        masks += _masks(shapes, sizes)
        notes += [*flat, *cut, *_unread(shapes, sizes), *subset_note(len(ids), official, f"images in {where}")]
        if unread := len(files) - len(ids):
            notes.append(f"{unread:,} files in {part}/ are not in {where} and were left out.")
    if (root / "test").is_dir():
        notes.append("The images in test/ have no published annotations and were left out.")
    return Manifest(
        name="object-cxr",
        root=root,
        images=pd.concat(tables, ignore_index=True),
        labels=(LABEL,),
        boxes=pd.concat(boxes, ignore_index=True),
        masks=pd.DataFrame(masks, columns=["image_id", "label", "height", "width", "counts"]),
        masks_complete=True,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        notes=("Object-CXR publishes no patient ids: each image counts as a patient.", *notes),
    )


def _shapes(layout: Layout, part: str) -> tuple[Shapes, str]:
    """The shapes of each image, by ``train/00001``, and the table's name."""
    path = layout.first(f"{part}.csv")
    table = layout.table(path, ["annotation"])
    column = next((name for name in NAMES if name in table), None)
    if column is None:
        raise layout.error(f"{path.name} lacks the column {NAMES[0]}; it has {', '.join(map(plain, table))}")
    ids = [f"{part}/{Path(name).stem}" for name in table[column]]
    layout.unique(ids, path.name)
    shapes: dict[str, list[Shape]] = {}
    for name, text in zip(ids, table["annotation"], strict=True):
        try:
            shapes[name] = parse_shapes(text)
        except UserError as error:
            raise layout.error(f"{path.name}, image {plain(name)}: {error}") from error
    return shapes, path.name


def _with_an_area(shapes: Shapes, where: str) -> tuple[Shapes, tuple[str, ...]]:
    """The shapes that cover something, each once, and notes on those that were left out."""
    kept: dict[str, list[Shape]] = {}
    flat = repeated = 0
    for name, of_image in shapes.items():
        kept[name] = [shape for shape in of_image if shape.box.width > 0 and shape.box.height > 0]
        flat += len(of_image) - len(kept[name])
        distinct = {(shape.kind, shape.points.tobytes()): shape for shape in kept[name]}
        repeated += len(kept[name]) - len(distinct)
        kept[name] = list(distinct.values())
    return kept, (
        *([f"{flat:,} shape(s) of {where} without an area were left out."] * (flat > 0)),
        *([f"{repeated:,} repeated shape(s) of {where} count once."] * (repeated > 0)),
    )


def _boxes(layout: Layout, shapes: Shapes, sizes: Sizes, where: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One row per shape, in pixels of the stored image, and a note where one was cut at the edge."""
    rows = [(name, LABEL, *shape.box) for name, of_image in shapes.items() for shape in of_image]
    return layout.cut_boxes(pd.DataFrame(rows, columns=["image_id", "label", *SIDES]), sizes, where)


def _unread(shapes: Shapes, sizes: Sizes) -> tuple[str, ...]:
    """A note on images with shapes that do not open: nobody knows how large their masks would be."""
    lost = [name for name, of_image in shapes.items() if of_image and name not in sizes]
    return (f"{len(lost):,} image(s) cannot be read, so their masks are left out: {some(lost)}.",) if lost else ()


def _masks(shapes: Shapes, sizes: Sizes) -> list[tuple[str, str, int, int, str]]:
    """Rows of the mask table; the masks of one image and label are united. Images that do not open have none."""
    return [
        (name, LABEL, *sizes[name], counts)
        for name, of_image in shapes.items()
        if name in sizes
        for counts in shape_counts(of_image, *sizes[name])
    ]


DATASET = Dataset("object-cxr", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
