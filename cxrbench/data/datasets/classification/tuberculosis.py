"""What the National Library of Medicine's two tuberculosis sets have in common: folders, names, readings, masks.

Jaeger et al., Quantitative Imaging in Medicine and Surgery 4(6):475, 2014. An image is ``CHNCXR_0327_1.png`` or
``MCUCXR_0104_1.png``: the set, a number, and 1 where there is tuberculosis.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.annotations.masks import check_sizes
from cxrbench.data.datasets.layout import File, Layout
from cxrbench.data.splits import SEED, stratified
from cxrbench.data.tables import Table
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

LABEL = "Tuberculosis"
LICENCE = (
    "National Library of Medicine: free for research and education, with a citation of Jaeger et al. 2014 "
    "(QIMS 4:475) and Candemir et al. 2014 (IEEE TMI 33:577)"
)
FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
NAME = re.compile(r"(CHNCXR|MCUCXR)_\d+_([01])")
IMAGE_FOLDERS = ("CXR_png", "images/images", "images/img", "images")
SEX = re.compile(r"Sex:\s*([MF])|^\W*(fem|mal)", re.IGNORECASE | re.MULTILINE)
AGE = re.compile(r"(\d{1,3})\s*([ymwd])", re.IGNORECASE)


def find_images(layout: Layout, prefix: str, wrappers: Sequence[str]) -> tuple[str, dict[str, File], int]:
    """The folder that a set's folders lie in, its images by name, and how many images there are the other set's.

    Images lie in ``CXR_png`` (NLM) or ``images`` (Kaggle's copies), in the root or in one of ``wrappers``, the folders
    in the archives, which some copies have twice inside each other. Raises UserError where there are none, and for
    names that are of neither set.
    """
    if not layout.root.is_dir():
        raise layout.error("there is no such folder")
    bases = ["", *(f"{name}/" for name in wrappers), *(f"{name}/{name}/" for name in wrappers)]
    there = ((base, base + folder) for base in bases for folder in IMAGE_FOLDERS)
    base, place = next(((base, place) for base, place in there if (layout.root / place).is_dir()), ("", ""))
    if not place:
        raise layout.error(f"folder {IMAGE_FOLDERS[0]} (or {IMAGE_FOLDERS[-1]}) is missing")
    found = layout.files([place], (".png",))
    if strange := sorted(name for name in found if not NAME.fullmatch(name)):
        raise layout.error(f"{place} has {len(strange):,} image(s) that are not named {prefix}_0001_0: {some(strange)}")
    mine = {name: file for name, file in found.items() if name.startswith(f"{prefix}_")}
    if not mine:
        raise layout.error(f"{place} has no images {prefix}_*.png")
    return base, mine, len(found) - len(mine)


def targets_of(names: Iterable[str]) -> NDArray[np.float32]:
    """Targets [images, 1]: the last figure of each name."""
    return np.array([[name.endswith("_1")] for name in names], np.float32)


def splits_of(names: Sequence[str]) -> NDArray[np.str_]:
    """70/10/20 of the images, each a patient of its own, with as many positives in each split as that allows."""
    return stratified(names, FRACTIONS, targets_of(names).astype(bool), SEED)


def what_is_known(
    layout: Layout, table: str, readings: str, files: Mapping[str, File]
) -> tuple[Table, tuple[str, ...]]:
    """Sex and age of each image, by its name, from Kaggle's table or NLM's readings; and notes on what they leave open.

    Raises UserError where the table lacks an image that is there, has one that is not, or has two rows of one image
    that differ; and for a reading that cannot be opened.
    """
    ids, path = sorted(files), layout.root / table
    if not path.is_file():
        known = read_readings(layout, readings, ids)
        silent = known["sex"].count("")
        return known, (f"{silent:,} images have no reading that tells the sex.",) if silent else ()
    rows = layout.table(path, ("study_id", "age", "findings"))
    of, repeated = _row_of_each(layout, rows, path.name)
    if absent := [name for name in ids if name not in of]:
        raise layout.error(f"{path.name} lacks {len(absent):,} image(s) that are there: {some(absent)}")
    layout.require(of, files, path.name)
    ordered = {("sex" if n == "gender" else n): [cells[of[name]] for name in ids] for n, cells in rows.items()}
    return ordered, (*repeated, *contradictions(ids, ordered["findings"]))


def _row_of_each(layout: Layout, rows: Table, where: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """The row of each image, by its name without extension, and a note where an image has several that say the same."""
    of: dict[str, int] = {}
    told = [column for name, column in rows.items() if name != "study_id"]
    repeated = 0
    for row, study in enumerate(rows["study_id"]):
        name = study.rpartition(".")[0] or study
        first = of.setdefault(name, row)
        repeated += first != row
        if odd := next((column for column in told if column[first] != column[row]), None):
            raise layout.error(
                f"{where} has image {plain(name)} twice, and its rows differ ({some([odd[first], odd[row]])}): remove "
                "the wrong one"
            )
    return of, ((f"{repeated:,} repeated row(s) of {where} count once.",) if repeated else ())


def read_readings(layout: Layout, folder: str, names: Sequence[str]) -> Table:
    """Columns ``sex`` and ``age`` from ``ClinicalReadings``, one text per image; "" where there is none, or no figure.

    Shenzhen's begin with ``male 45yrs`` (also ``femal 32yrs``, ``female, 64days``, ``male 16month``), Montgomery's with
    ``Patient's Sex: F`` and ``Patient's Age: 027Y``. Raises UserError for one that cannot be opened.
    """
    texts = [_text(layout, f"{folder}/{name}.txt") for name in names]
    return {"sex": [_sex(text) for text in texts], "age": [_age(text) for text in texts]}


def mask_table(
    layout: Layout, masks: Mapping[str, Mapping[str, File]], images: Mapping[str, File]
) -> pd.DataFrame | None:
    """``Manifest.masks`` of mask files per label, by image; None where there are none. They have the images' sizes."""
    rows = [(name, label, file.path, np.nan, np.nan) for label, of in masks.items() for name, file in _of(of, images)]
    if not rows:
        return None
    table = pd.DataFrame(rows, columns=["image_id", "label", "path", "value", "ignore"])
    try:
        check_sizes(table, {name: layout.root / file.path for name, file in images.items()}, layout.root)
    except UserError as error:
        raise layout.error(str(error)) from error
    return table


def contradictions(names: Sequence[str], findings: Sequence[str]) -> tuple[str, ...]:
    """A note where a table calls normal what the file's name calls tuberculosis, or the other way round."""
    pairs = zip(names, findings, strict=True)
    odd = [name for name, finding in pairs if name.endswith("_1") == (finding.strip().lower() == "normal")]
    return (f"{len(odd):,} findings contradict the file's name, which is believed: {some(odd)}.",) if odd else ()


def _of(files: Mapping[str, File], images: Mapping[str, File]) -> Iterator[tuple[str, File]]:
    """The mask files of known images; they are called as their image or with ``_mask`` behind."""
    for stem, file in sorted(files.items()):
        if (name := stem.removesuffix("_mask")) in images:
            yield name, file


def _text(layout: Layout, path: str) -> str:
    try:
        with open(layout.root / path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise layout.error(f"{plain(path)} cannot be read ({error.strerror}); mend it, or remove it") from error


def _sex(text: str) -> str:
    found = SEX.search(text)
    return "" if found is None else (found[1] or found[2])[0].upper()


def _age(text: str) -> str:
    found = AGE.search(text)
    return "" if found is None else found[1] + found[2].lower()
