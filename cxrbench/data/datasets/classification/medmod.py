"""MedMod: radiographs of ICU stays with 25 phenotypes and 3 kinds of death. Elsharief et al., CHIL 2025 (PMLR 287).

The stays and their labels are made of MIMIC-IV by MedMod's ``mimic4extract``; the images are MIMIC-CXR-JPG's, joined by
PaCX-MAE's scripts, whose table (``medmod_final.csv``, or one per split) is what is read here: MedMod's own lists
(``listfile.csv``) name stays and no images. Checked against both repositories' code; no built copy was at hand.
"""

from pathlib import Path, PurePosixPath

from cxrbench.data.attributes import with_attributes
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.data.tables import Table, identifier
from cxrbench.files.names import plain

TITLE = "MedMod (MIMIC-IV 3.1 with MIMIC-CXR-JPG, built by PaCX-MAE's scripts)"
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
    """Read ``train/train.csv``, ``val/val.csv`` and ``test/test.csv`` with their images beside them, or
    ``medmod_final.csv`` with MIMIC-CXR-JPG's ``files/``.

    A row is an ICU stay with the path of its first image (``cxr_path``); an image is found by its name, so that paths
    of either kind will do. The headline is the mean over the 25 phenotypes; the three columns of deaths, which make up
    the 28 that a paper counts, are the group ``mortality``. MedMod has no split of images, and the scripts deal out
    rows, so that patients with several stays are on both sides: here all rows are split anew, 70/10/20 by patient.
    Sex and age are read where a table has kept MIMIC's columns (``gender``, ``anchor_age``).
    ``phenotype_labels.csv`` is in the order of ``stay_id`` and is joined by row: a whole table in another order has
    other stays' phenotypes, and is refused.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    table, where = _table(layout)
    names = [PurePosixPath(path).stem for path in table["cxr_path"]]
    layout.unique(names, where)
    files = layout.files([""], (".jpg", ".jpeg", ".png"))
    layout.require(names, files, where)
    patients = [_number(layout, cell, "subject_id", where) for cell in table["subject_id"]]
    images = image_table(
        names, files, patients=patients, splits=by_patient(patients, FRACTIONS), views=[""] * len(names),
        studies=[_number(layout, cell, "stay_id", where) for cell in table["stay_id"]], labels=LABELS,
        targets=layout.binary(table, LABELS, where),
    )  # fmt: skip
    return Manifest(
        name="medmod",
        root=root,
        images=with_attributes(images, table, {"sex": "gender", "age": "anchor_age"}),
        labels=LABELS,
        groups={"macro": PHENOTYPES, "mortality": DEATHS, "all": LABELS},
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        notes=(
            f"{where}: split anew, 70/10/20 by patient (the scripts' split is of rows, across patients).",
            "Views are not in the table.",
            *subset_note(len(names), OFFICIAL, "images"),
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
