"""Lists of images and their splits as people publish them: one table with a split column, or a file for each split."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cxrbench.data.manifest import SPLITS, Manifest
from cxrbench.data.split_lists.called import ImageNames
from cxrbench.data.splits import shared_patients
from cxrbench.data.tables import read_table, read_text
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

IMAGE_COLUMNS = (
    "image", "image_id", "dicom_id", "image_name", "image index", "imageid", "path", "image_path", "filepath",
    "filename", "file_name", "file", "img", "patientid", "id",
)  # fmt: skip
"""What people call the column of images, in lower case; the first that is there is taken. RSNA's patientId is one."""
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold")
WORDS = {
    "train": "train", "training": "train", "tr": "train", "val": "val", "valid": "val", "validate": "val",
    "validation": "val", "dev": "val", "test": "test", "testing": "test", "te": "test",
}  # fmt: skip


class Listed(NamedTuple):
    """One line of a list: the image as it is called there, its split, and where it stands."""

    image: str
    split: str
    where: str


def read_lists(paths: Sequence[Path], image_column: str = "", split_column: str = "") -> list[Listed]:
    """The lines of one or several lists.

    A CSV has a column of images and one of splits; without that, and in a ``.txt`` with an image per line, the file's
    name says the split (``mgca_train.csv``). Raises UserError where a column or a split cannot be told.
    """
    rows: list[Listed] = []
    for path in paths:
        if path.suffix.lower() == ".txt":
            images, splits = read_text(path).split("\n"), None
            images = [line.strip() for line in images if line.strip()]
        else:
            table = read_table(path)
            column = _column(table, image_column, IMAGE_COLUMNS, "images", path)
            assert column is not None
            images = table[column]
            of = _column(table, split_column, SPLIT_COLUMNS, "", path)
            splits = table[of] if of is not None else None
        whole = _split_of_name(path) if splits is None else ""
        for number, image in enumerate(images):
            where = f"{path.name} line {number + (1 if path.suffix.lower() == '.txt' else 2)}"
            split = whole or WORDS.get(splits[number].lower(), "") if splits is not None else whole
            if not split:
                said = plain(splits[number]) if splits is not None else ""
                raise UserError(f"{where} has the split {said!r}: known are train, val (valid, dev) and test")
            if not image:
                raise UserError(f"{where} names no image")
            rows.append(Listed(image, split, where))
    if not rows:
        raise UserError(f"{', '.join(path.name for path in paths)}: no images are listed")
    return rows


def assigned(manifest: Manifest, rows: Iterable[Listed]) -> dict[str, str]:
    """The split of each listed image, by its identifier in the manifest.

    Raises UserError for images that the dataset does not have, for one that is listed twice, and for patients who would
    be in two splits.
    """
    names, splits, places, unknown = ImageNames(manifest), {}, {}, []
    for row in rows:
        found = names.find(row.image)
        if found is None:
            unknown.append(row)
        elif found in splits:
            raise UserError(
                f"{row.where}: image {plain(row.image)!r} is listed before, in {places[found]}; list it once"
            )
        else:
            splits[found], places[found] = row.split, row.where
    if unknown:
        raise UserError(
            f"{len(unknown):,} listed image(s) are not in {manifest.name} ({some([row.image for row in unknown])}; the "
            f"first in {unknown[0].where}): is the list of another dataset, or the dataset not whole?"
        )
    _refuse_shared(manifest, splits)
    return splits


def counted(splits: Mapping[str, str]) -> str:
    """How many images are in each split, in words."""
    values = list(splits.values())
    return ", ".join(f"{name} {values.count(name):,}" for name in SPLITS)


def _refuse_shared(manifest: Manifest, splits: Mapping[str, str]) -> None:
    of = dict(zip(manifest.images["image_id"].astype(str), manifest.images["patient_id"].astype(str), strict=True))
    if shared := shared_patients([of[image] for image in splits], list(splits.values())):
        first = [image for image in splits if of[image] == shared[0]]
        held = ", ".join(f"{plain(image)} in {splits[image]}" for image in first[:3])
        raise UserError(
            f"{len(shared):,} patient(s) of {manifest.name} would be in two splits, the first {plain(shared[0])} "
            f"({held}): results would be of patients who were trained on; mend the list"
        )


def _column(table: Mapping[str, Sequence[str]], named: str, usual: Sequence[str], what: str, path: Path) -> str | None:
    """The column that is meant; None where there is none and none is needed (``what`` is "")."""
    if named:
        if named not in table:
            raise UserError(f"{path.name} has no column {named!r}; it has {', '.join(map(plain, table))}")
        return named
    lower = {name.lower(): name for name in table}
    found = next((lower[name] for name in usual if name in lower), None)
    if found is None and what:
        raise UserError(
            f"{path.name} has no column of {what} that is known ({', '.join(map(plain, table))}): say it by "
            "--image-column"
        )
    return found


def _split_of_name(path: Path) -> str:
    """The split that a file's name says."""
    words = path.stem.lower().replace("-", "_").replace(".", "_").split("_")
    found = {WORDS[word] for word in words if word in WORDS}
    if len(found) != 1:
        raise UserError(
            f"{path.name} has no split column ({', '.join(SPLIT_COLUMNS)}), and its name does not say one of train, "
            "val and test: add the column, say it by --split-column, or rename the file"
        )
    return found.pop()
