"""MedMod: radiographs of ICU stays with 25 phenotypes and 3 kinds of death. Elsharief et al., CHIL 2025 (PMLR 287).

The stays and their labels are made of MIMIC-IV by MedMod's ``mimic4extract``; the images are MIMIC-CXR-JPG's, which are
paired with them by MedMod's own training code or by PaCX-MAE's scripts. Both repositories' code was read; no built copy
was at hand. Two of the three columns of deaths are one: the code copies ``mortality`` to ``mortality_inhospital``.
"""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cxrbench.data.attributes import with_attributes
from cxrbench.data.datasets.classification.medmod_stays import are_there, pair
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import by_patient, shared_patients
from cxrbench.data.tables import Table, identifier
from cxrbench.files.names import plain, some

TITLE = "MedMod (MIMIC-IV with MIMIC-CXR-JPG)"
SOURCE = "https://github.com/nyuad-cai/MedMod and https://github.com/Lyce24/PACX-MAE (Scripts/medmod), from MIMIC"
LICENCE = "PhysioNet Credentialed Health Data License 1.5.0: training and a signed agreement; no redistribution"
LINEAGE = ("medmod", "mimic")
OFFICIAL = 9_098
PHENOTYPES = (
    "Acute and unspecified renal failure", "Acute cerebrovascular disease", "Acute myocardial infarction",
    "Cardiac dysrhythmias", "Chronic kidney disease", "Chronic obstructive pulmonary disease and bronchiectasis",
    "Complications of surgical procedures or medical care", "Conduction disorders",
    "Congestive heart failure; nonhypertensive", "Coronary atherosclerosis and other heart disease",
    "Diabetes mellitus with complications", "Diabetes mellitus without complication", "Disorders of lipid metabolism",
    "Essential hypertension", "Fluid and electrolyte disorders", "Gastrointestinal hemorrhage",
    "Hypertension with complications and secondary hypertension", "Other liver diseases",
    "Other lower respiratory disease", "Other upper respiratory disease", "Pleurisy; pneumothorax; pulmonary collapse",
    "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)",
    "Respiratory failure; insufficiency; arrest (adult)", "Septicemia (except in labor)", "Shock",
)  # fmt: skip
DEATHS = ("mortality_inunit", "mortality", "mortality_inhospital")
LABELS = (*PHENOTYPES, *DEATHS)
COLUMNS = ("cxr_path", "subject_id", "stay_id", *LABELS)
SPLIT_TABLES = ("train/train.csv", "val/val.csv", "test/test.csv")
WHOLE = "medmod_final.csv"
FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}


def read(root: Path) -> Manifest:
    """Read MedMod's ``phenotyping/{train,val,test}_listfile.csv`` and ``root/all_stays.csv`` with MIMIC-CXR-JPG's
    ``mimic-cxr-2.0.0-metadata.csv`` and ``files/``, or what PaCX-MAE's scripts make of them: ``train/train.csv`` and so
    on with their images beside them, or ``medmod_final.csv`` with ``files/``.

    An image is of one stay: in MedMod's code the last AP image of it, in PaCX-MAE's the first of any view. The headline
    is the mean over the 25 phenotypes; the columns of deaths, which make up the 28 that a paper counts, are the group
    ``deaths``. MedMod's lists are official, and by patient. PaCX-MAE's scripts deal out rows, so that patients with
    several stays are on both sides: their rows are split anew, 70/10/20 by patient. Sex and age are read where a table
    has kept MIMIC's columns (``gender``, ``anchor_age``). ``phenotype_labels.csv`` is in the order of ``stay_id``, and
    the scripts join it by row: a whole table in another order has other stays' phenotypes, and is refused.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    stays = _official(layout) if root.is_dir() and are_there(layout) else _dealt(layout)
    layout.unique(stays.images, stays.where)
    files = layout.files([""], (".jpg", ".jpeg", ".png"))
    layout.require(stays.images, files, stays.where)
    table = stays.table
    images = image_table(
        stays.images, files, patients=table["subject_id"], splits=stays.splits, views=stays.views,
        studies=table["stay_id"], labels=LABELS, targets=layout.binary(table, LABELS, stays.where),
    )  # fmt: skip
    return Manifest(
        name="medmod",
        root=root,
        images=with_attributes(images, table, {"sex": "gender", "age": "anchor_age"}),
        labels=LABELS,
        groups={"macro": PHENOTYPES, "deaths": DEATHS, "all": LABELS},
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        notes=(*stays.notes, *subset_note(len(images), OFFICIAL, "images")),
    )


class Stays(NamedTuple):
    """What a layout says of the stays: aligned lists, the table that they are from, and what to tell of it."""

    where: str
    table: Table
    images: list[str]
    views: list[str]
    splits: list[str]
    notes: tuple[str, ...]


def _official(layout: Layout) -> Stays:
    """MedMod's lists, with the images that its code pairs them with."""
    pairs = pair(layout, PHENOTYPES, DEATHS)
    patients = pairs.table["subject_id"]
    if shared := shared_patients(patients, pairs.splits):
        raise layout.error(f"the lists put {len(shared):,} patient(s) in two splits: {some(shared)}")
    return Stays(
        "phenotyping/*_listfile.csv",
        pairs.table,
        pairs.table["dicom_id"],
        ["AP"] * len(patients),
        pairs.splits,
        (
            "MedMod's lists and pairs: the last AP image of each stay.",
            *((f"{pairs.unpaired:,} stays without an image were left out.",) if pairs.unpaired else ()),
        ),
    )


def _dealt(layout: Layout) -> Stays:
    """The scripts' table or tables, split anew."""
    table, where = _table(layout)
    table |= {name: [_number(layout, cell, name, where) for cell in table[name]] for name in ("subject_id", "stay_id")}
    return Stays(
        where,
        table,
        [PurePosixPath(path).stem for path in table["cxr_path"]],
        [""] * len(table["cxr_path"]),
        by_patient(table["subject_id"], FRACTIONS).tolist(),
        (
            f"{where}: split anew, 70/10/20 by patient (the scripts' split is of rows, across patients).",
            "Views are not in the table.",
        ),
    )


def _table(layout: Layout) -> tuple[Table, str]:
    """The rows of all splits, and what to call their table or tables."""
    there = [name for name in SPLIT_TABLES if (layout.root / name).is_file()]
    if not there:
        table = layout.table(layout.first(WHOLE), COLUMNS)
        stays = [int(_number(layout, cell, "stay_id", WHOLE)) for cell in table["stay_id"]]
        if stays != sorted(stays):
            raise layout.error(
                f"{WHOLE} is not in the order of stay_id, which is that of phenotype_labels.csv: its phenotypes are "
                "other stays'; sort all_stays.csv by stay_id and join them again"
            )
        return table, WHOLE
    if absent := [name for name in SPLIT_TABLES if name not in there]:
        raise layout.error(f"file {absent[0]} is missing beside {there[0]}")
    tables = [layout.table(layout.root / name, COLUMNS) for name in SPLIT_TABLES]
    shared = [column for column in tables[0] if all(column in table for table in tables)]
    joined = {column: [cell for table in tables for cell in table[column]] for column in shared}
    return joined, ", ".join(PurePosixPath(name).name for name in SPLIT_TABLES)


def _number(layout: Layout, cell: str, column: str, where: str) -> str:
    """An identifier of MIMIC's, which is a number: 10000032, or 10000032.0 where pandas has been at it."""
    if not (whole := identifier(cell)).isdigit():
        raise layout.error(f"{where} has the {column} {plain(cell)!r}, which is no number")
    return whole


DATASET = Dataset("medmod", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE, patients="mimic")
