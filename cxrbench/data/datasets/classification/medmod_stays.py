"""MedMod's own lists of ICU stays, each with the image that MedMod's training code pairs it with.

The code (``src/data/utils.py``: ``load_phenotyping_meta``, ``get_final_meta``) does this anew at each start, and keeps
no table of it: the last AP image between a stay's beginning and end, if it has CheXpert's labels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from cxrbench.data.datasets.layout import Layout
from cxrbench.data.tables import Table, first_repeated, identifier
from cxrbench.files.names import plain

LISTS = {split: f"phenotyping/{split}_listfile.csv" for split in ("train", "val", "test")}
STAYS = ("root/all_stays.csv", "all_stays.csv")
MIMIC = "mimic-cxr-2.0.0"
TIMES = ("intime", "outtime")


class PairedStays(NamedTuple):
    """A row per stay that has an image: its split, its table's columns and ``dicom_id``; and how many have none."""

    splits: list[str]
    table: Table
    unpaired: int


def are_there(layout: Layout) -> bool:
    """Whether one of MedMod's lists is in the folder."""
    return any((layout.root / name).is_file() for name in LISTS.values())


def pair(layout: Layout, phenotypes: Sequence[str], of_stay: Sequence[str]) -> PairedStays:
    """The stays of MedMod's lists with their images; ``of_stay`` names columns of ``all_stays.csv`` to be kept.

    Raises UserError for a file that is missing, a column that is not there, and a time that is none.
    """
    lists = []
    for split, name in LISTS.items():
        rows = layout.table(layout.first(name), ("stay_id", *phenotypes))
        lists.append(_frame(layout, rows, ("stay_id", *phenotypes), name).assign(split=split))
    listed = pd.concat(lists, ignore_index=True)
    if twice := first_repeated(listed["stay_id"].tolist()):
        raise layout.error(f"the lists name stay {twice[0]} twice")
    path = layout.first(*STAYS)
    rows = layout.table(path, ("subject_id", "stay_id", *TIMES, *of_stay))
    kept = [*("subject_id", "stay_id", *TIMES, *of_stay), *(name for name in ("gender", "anchor_age") if name in rows)]
    stays = _frame(layout, rows, kept, path.name)
    for name in TIMES:
        stays[name] = _times(layout, stays[name].tolist(), None, f"{name} of {path.name}")
    joined = listed.merge(stays, on="stay_id").merge(_images(layout), on="subject_id")
    during = pd.DataFrame(joined[(joined["taken"] >= joined["intime"]) & (joined["taken"] <= joined["outtime"])])
    last = during.sort_values(["taken", "dicom_id"]).groupby("stay_id", sort=True).tail(1)
    columns = ["dicom_id", "study_id", "subject_id", "stay_id", *phenotypes, *kept[4:]]
    table = {name: last[name].astype(str).tolist() for name in columns}
    return PairedStays(last["split"].tolist(), table, len(listed) - len(last))


def _images(layout: Layout) -> pd.DataFrame:
    """MIMIC's AP images with the time when they were taken; where CheXpert's table is there, those that it labels."""
    columns = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
    path = layout.first(f"{MIMIC}-metadata.csv", f"{MIMIC}-metadata.csv.gz")
    images = _frame(layout, layout.table(path, columns), columns, path.name)
    wanted = [view == "AP" for view in images["ViewPosition"].tolist()]
    labelled = [
        name for name in (f"{MIMIC}-chexpert.csv", f"{MIMIC}-chexpert.csv.gz") if (layout.root / name).is_file()
    ]
    if labelled:
        table = layout.table(layout.root / labelled[0], ("study_id",))
        studies = {identifier(cell) for cell in table["study_id"]}
        wanted = [want and study in studies for want, study in zip(wanted, images["study_id"].tolist(), strict=True)]
    images = pd.DataFrame(images.loc[wanted])
    clocks = [
        cell.partition(".")[0].zfill(6) for cell in images["StudyTime"].tolist()
    ]  # 213014.531, and 93000 for 9:30
    times = [day + clock for day, clock in zip(images["StudyDate"].tolist(), clocks, strict=True)]
    taken = _times(layout, times, "%Y%m%d%H%M%S", f"StudyDate and StudyTime of {path.name}")
    return images[["dicom_id", "subject_id", "study_id"]].assign(taken=taken)


def _frame(layout: Layout, table: Table, columns: Sequence[str], where: str) -> pd.DataFrame:
    """Columns of a table; identifiers as whole numbers in text, which pandas may have written as 30000001.0."""
    frame = pd.DataFrame({name: table[name] for name in columns})
    for name in {"subject_id", "stay_id", "study_id"} & set(columns):
        frame[name] = [identifier(cell) for cell in table[name]]
        if odd := next((cell for cell in frame[name].tolist() if not cell.isdigit()), None):
            raise layout.error(f"{where} has the {name} {plain(odd)!r}, which is no number")
    return frame


def _times(layout: Layout, cells: Sequence[str], how: str | None, where: str) -> pd.DatetimeIndex:
    """Cells as times. Raises UserError for one that is none."""
    try:
        return pd.DatetimeIndex(pd.to_datetime(list(cells), format=how))
    except ValueError as error:
        raise layout.error(f"{where} is not all times ({plain(str(error))})") from error
