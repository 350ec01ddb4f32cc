"""BRAX 1.1.0: radiographs of a Brazilian hospital, 14 labels mined from reports. Reis et al., Scientific Data 2022.

The names of the columns and folders are from descriptions of the release and UNVERIFIED: no copy of it was at hand.
"""

from pathlib import Path, PurePosixPath

from cxrbench.data.attributes import with_attributes
from cxrbench.data.datasets.chexpert import LABELS, POLICY, targets_of
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.data.splits import by_patient

TITLE = "BRAX 1.1.0"
SOURCE = "https://physionet.org/content/brax/1.1.0/"
LICENCE = "PhysioNet Credentialed Health Data License 1.5.0: training and a signed agreement; no redistribution"
LINEAGE = ("brax",)
OFFICIAL = 40_967
TABLES = ("master_spreadsheet_update.csv", "master_spreadsheet.csv")
COLUMNS = ("PatientID", "AccessionNumber", "ViewPosition", *LABELS)
# The column of each kind of file; where both were downloaded, the PNGs are read.
PATHS = {"PngPath": (".png", ".jpg", ".jpeg"), "DicomPath": (".dcm", ".dicom")}
VIEWS = {"PA": "PA", "AP": "AP", "AP LLD": "AP", "L": "L", "LATERAL": "L", "RL": "L", "LL": "L"}
ATTRIBUTES = {"sex": "PatientSex", "age": "PatientAge", "scanner": "Manufacturer"}
FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
SPLIT = "No official split: 70/10/20 by patient."


def read(root: Path) -> Manifest:
    """Read ``master_spreadsheet_update.csv`` (or ``master_spreadsheet.csv``) and the images below ``root``.

    Columns: ``PngPath`` or ``DicomPath``, ``PatientID``, ``AccessionNumber`` (the study), ``ViewPosition``, and
    CheXpert's 14 labels (1, 0, -1, blank), treated as ``chexpert`` treats them; where they are there, ``PatientSex``,
    ``PatientAge`` and ``Manufacturer``. An image is found by
    its file's name. There is no official split: 70/10/20 by patient.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    path = layout.first(*TABLES)
    table = layout.table(path, COLUMNS)
    found = {column: layout.files([""], endings) for column, endings in PATHS.items()}
    column = next((name for name in PATHS if found[name] and name in table), next(iter(PATHS)))
    if column not in table:
        raise layout.error(f"{path.name} lacks the column {' or '.join(PATHS)}; it has {', '.join(table)}")
    ids = [PurePosixPath(cell).stem for cell in table[column]]
    layout.unique(ids, path.name)
    layout.require(ids, found[column], path.name)
    return Manifest(
        name="brax",
        root=root,
        images=with_attributes(image_table(
            ids, found[column], patients=table["PatientID"],
            studies=table["AccessionNumber"], splits=by_patient(table["PatientID"], FRACTIONS),
            views=[VIEWS.get(view.upper(), "") for view in table["ViewPosition"]], labels=LABELS,
            targets=targets_of(layout, table, path.name),
        ), table, ATTRIBUTES),
        labels=LABELS,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(POLICY, SPLIT, *subset_note(len(ids), OFFICIAL, "images")),
    )  # fmt: skip


DATASET = Dataset("brax", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE, patients="brax")
