"""COVIDx: radiographs with and without COVID-19 from many open sources. Wang et al., Scientific Reports 10:19549, 2020.

The lists of versions 3 to 9 were looked at (github.com/lindawangg/COVID-Net, ``labels/``); what is written of CXR-3
(Pavlova et al., arXiv:2206.03671) are its counts, and of CXR-4 (Wu et al., arXiv:2311.17677) that it has ``val.txt``:
their lists were not at hand. Nearly all normal images come from RSNA and nearly all COVID-19 from elsewhere, so an
encoder can tell the sources apart in place of the disease.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.attributes import with_attributes
from cxrbench.data.datasets.layout import Layout, image_table
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.files.names import plain, some

TITLE = "COVIDx CXR"
SOURCE = "https://www.kaggle.com/datasets/andyczhao/covidx-cxr2 (lists: https://github.com/lindawangg/COVID-Net)"
VALIDATION = {True: "Validation is val.txt.", False: "Validation is a fifth of the other images, by patient."}
LICENCE = "the terms of each source (Cohen et al., RSNA, RICORD, BIMCV, Stony Brook, ...); the lists: GNU AGPL 3.0"
SOURCES: Mapping[str, tuple[str, ...]] = {
    "cohen": ("covid-chestxray",),
    "fig1": ("figure1-covid",),
    "actmed": ("actmed-covid",),
    "sirm": ("covid-radiography",),
    "rsna": ("rsna", "nih"),
    "ricord": ("ricord",),
    "stonybrook": ("stonybrook-covid",),
    "bimcv": ("bimcv-covid19",),
}
"""What the lists call a source, and whose images these are. The lists of version 9 also spell rsna ``rnsa``."""
LINEAGE = (
    "covidx", "covid-chestxray", "figure1-covid", "actmed-covid", "covid-radiography", "rsna", "nih", "ricord",
    "stonybrook-covid", "bimcv-covid19",
)  # fmt: skip
THREE = {"normal": "Normal", "pneumonia": "Pneumonia", "COVID-19": "COVID-19"}
TWO = {"negative": 0.0, "positive": 1.0}
LABEL = "COVID-19"
TRAIN_VAL = {"train": 0.8, "val": 0.2}
LIST = re.compile(r"train(?:_COVIDx_?((?:CXR-)?\d+[AB]?))?\.txt")
IMAGE = re.compile(r".+\.(png|jpe?g)", re.IGNORECASE)
PUBLISHED: Mapping[tuple[int, int], str] = {
    (13_670, 300): "3", (13_898, 300): "4", (13_958, 300): "5", (14_311, 200): "6", (15_111, 300): "7A",
    (15_464, 200): "7B", (15_599, 400): "8A", (15_952, 400): "8B", (30_130, 400): "9A", (30_482, 400): "9B",
    (29_634, 400): "CXR-3A", (29_986, 400): "CXR-3B",
}  # fmt: skip
"""Rows of the training and test lists of each version."""


class ListedImage(NamedTuple):
    """A row of a list: whose image it is, its file in the split's folder, its class, and its source ("" before 3)."""

    patient: str
    file: str
    found: str
    source: str


def read(root: Path) -> Manifest:
    """Read ``train.txt`` and ``test.txt`` (or ``train_COVIDx9A.txt``, ...) and the images in ``train/`` and ``test/``.

    A row is patient, file, class and source, separated by blanks, and the patient may have one (``COVID 1``): rows are
    read from their end. The lists of versions A have three classes (normal, pneumonia, COVID-19) and make a dataset of
    classes that exclude each other; those of B, of 6 and of Kaggle's ``train.txt`` have two (negative, positive) and
    make one label. Where there are several (in ``labels/``, too), three classes come before two, Kaggle's list before
    others and a later version before an earlier one.
    Two files may differ in their endings alone (``000004.jpg``, ``000004.png``): an image is called by its whole name.

    The test list is official, and ``val.txt`` where there is one; else a fifth of the training patients are validation
    (papers deal out images). Training rows of test patients are left out (version 6 has one). The source is the
    attribute ``site``, and says whose images these are (``lineage``).
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    chosen, others = _lists(layout)
    rows = {split: _rows(layout, path) for split, path in chosen.items()}
    if len({row.found in THREE for of in rows.values() for row in of}) > 1:
        names = " and ".join(path.name for path in chosen.values())
        raise layout.error(f"{names} are not of one version: {', '.join(THREE)} and {', '.join(TWO)} are in them")
    files = {split: layout.listed(split) for split in rows}
    for split, path in chosen.items():
        layout.require([row.file for row in rows[split]], files[split], path.name)
    kept, crossing = _apart(rows)
    listed = [row for split in kept for row in kept[split]]
    ids = [row.file for row in listed]
    layout.unique(ids, " and ".join(path.name for path in chosen.values()))
    labels, targets = _targets([row.found for row in listed])
    images = image_table(
        ids, {row.file: files[split][row.file] for split in kept for row in kept[split]},
        patients=[row.patient for row in listed], splits=_splits(kept), views=[""] * len(ids), labels=labels,
        targets=targets,
    )  # fmt: skip
    lineage, unknown = _lineage([row.source for row in listed])
    dealt = {"Official test list.": ("test",), VALIDATION["val" in rows]: ("train", "val")}
    unread = sum(len({*filter(IMAGE.fullmatch, files[split])} - {row.file for row in rows[split]}) for split in rows)
    return Manifest(
        name="covidx",
        root=root,
        images=with_attributes(images, {"source": [row.source for row in listed]}, {"site": "source"}),
        labels=labels,
        kind="multiclass" if len(labels) > 1 else "multilabel",
        lineage=lineage,
        source=SOURCE,
        licence=LICENCE,
        split_notes=dealt,
        notes=(
            _version(chosen, others, {split: len(rows[split]) for split in rows}),
            *dealt,
            *((f"{len(crossing):,} rows were left out: their patients are in test or val, too ({some(crossing)}).",)
              if crossing else ()),
            *((f"{unread:,} files without a row were left out.",) if unread else ()),
            *((f"Unknown sources: whose images these are cannot be told: {some(unknown)}.",) if unknown else ()),
        ),
    )  # fmt: skip


def _lists(layout: Layout) -> tuple[dict[str, Path], list[str]]:
    """The list of each split, and the training lists that were not chosen."""
    if not layout.root.is_dir():
        raise layout.error("there is no such folder")
    found = [path for place in (layout.root, layout.root / "labels") if place.is_dir() for path in place.iterdir()]
    trains = {path: LIST.fullmatch(path.name) for path in found}
    ranked = sorted((_rank(match[1] or ""), path) for path, match in trains.items() if match)
    if not ranked:
        raise layout.error("file train.txt (or train_COVIDx9A.txt, ...) is missing")
    train = ranked[-1][1]
    paths = {split: train.with_name(train.name.replace("train", split, 1)) for split in ("train", "val", "test")}
    if not paths["test"].is_file():
        raise layout.error(f"file {paths['test'].name} is missing, without which there is no test set")
    others = [path.name for _, path in ranked[:-1]]
    return {split: path for split, path in paths.items() if path.is_file()}, others


def _rank(version: str) -> tuple[bool, bool, bool, tuple[int, ...], str]:
    """Three classes (versions A, and all before 6) before two, Kaggle's ("") before others, CXR-3 after 9."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version))
    three = version.endswith("A") or (version.isdigit() and numbers < (6,))
    return three, not version, "CXR" in version, numbers, version


def _rows(layout: Layout, path: Path) -> list[ListedImage]:
    """The rows of a list, read from their ends."""
    rows = []
    for number, line in enumerate(layout.text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        source = [] if words[-1] in {*THREE, *TWO} else [words.pop()]
        if len(words) < 3 or words[-1] not in {*THREE, *TWO} or not IMAGE.fullmatch(words[-2]):
            raise layout.error(
                f"{path.name} line {number} is {plain(line)!r}; known are rows of patient, file, class (one of "
                f"{', '.join([*THREE, *TWO])}) and source"
            )
        rows.append(
            ListedImage(" ".join(words[:-2]), words[-2], words[-1], "".join(source).lower().replace("rnsa", "rsna"))
        )
    if not rows:
        raise layout.error(f"{path.name} has no rows")
    return rows


def _apart(rows: Mapping[str, Sequence[ListedImage]]) -> tuple[dict[str, list[ListedImage]], list[str]]:
    """The rows by split without patients who are in test, or val, as well; and the files that this leaves out."""
    kept: dict[str, list[ListedImage]] = {}
    taken: set[str] = set()
    crossing: list[str] = []
    for split in sorted(rows, key=("test", "val", "train").index):
        kept[split] = [row for row in rows[split] if row.patient not in taken]
        crossing += [row.file for row in rows[split] if row.patient in taken]
        taken |= {row.patient for row in rows[split]}
    return kept, crossing


def _splits(kept: Mapping[str, Sequence[ListedImage]]) -> list[str]:
    """The split of each row, in their order."""
    splits = []
    for split, rows in kept.items():
        deal = split == "train" and "val" not in kept
        splits += by_patient([row.patient for row in rows], TRAIN_VAL).tolist() if deal else [split] * len(rows)
    return splits


def _targets(found: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The labels of three classes or of two, and the targets [images, labels]."""
    if found[0] in THREE:
        return tuple(THREE.values()), np.array([[name == one for name in THREE] for one in found], np.float32)
    return (LABEL,), np.array([[TWO[one]] for one in found], np.float32)


def _lineage(sources: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Whose images these are (all that may be, where the list does not say), and sources that we do not know."""
    named = dict.fromkeys(sources)
    unknown = sorted(name for name in named if name and name not in SOURCES)
    if "" in named:
        return LINEAGE, unknown
    return ("covidx", *(of for name in SOURCES if name in named for of in SOURCES[name])), unknown


def _version(chosen: Mapping[str, Path], others: Sequence[str], counts: Mapping[str, int]) -> str:
    """Which list was read, which version it is by its counts, and which were not read."""
    version = PUBLISHED.get((counts["train"], counts["test"]))
    rows = " and ".join(f"{count:,} {split}" for split, count in counts.items())
    said = f"version {version}" if version else "of none of the versions 3 to 9B, CXR-3A and CXR-3B"
    return f"{chosen['train'].name}: {rows} rows, {said}." + (f" Not read: {some(others)}." if others else "")


DATASET = Dataset("covidx", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
