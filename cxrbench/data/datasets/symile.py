"""Symile-MIMIC: 11,214 admissions, each with a chest X-ray, a 12-lead ECG and 50 blood tests; no labels.

Saporta et al., NeurIPS 2024. The ECG is scaled to [-1, 1] record by record; its leads are in MIMIC-IV-ECG's order, in
which aVF comes before aVL.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.datasets.layout import Layout, subset_note
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.data.splits import shared_patients
from cxrbench.data.tables import identifier
from cxrbench.files.names import some

TITLE = "Symile-MIMIC"
SOURCE = "https://physionet.org/content/symile-mimic/1.0.0/"
LICENCE = "PhysioNet Credentialed Health Data License 1.5.0: training and a signed agreement; no redistribution"
LINEAGE = ("symile", "mimic")
OFFICIAL = 11_214
LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
# MIMIC-IV's item numbers and names, in the order of the arrays' columns: sorted by number.
LABS = {
    "50802": "Base Excess", "50804": "Calculated Total CO2", "50813": "Lactate", "50818": "pCO2", "50820": "pH",
    "50821": "pO2", "50861": "Alanine Aminotransferase (ALT)", "50862": "Albumin", "50863": "Alkaline Phosphatase",
    "50868": "Anion Gap", "50878": "Asparate Aminotransferase (AST)", "50882": "Bicarbonate",
    "50885": "Bilirubin, Total", "50893": "Calcium, Total", "50902": "Chloride", "50910": "Creatine Kinase (CK)",
    "50912": "Creatinine", "50931": "Glucose", "50934": "H", "50947": "I", "50960": "Magnesium", "50970": "Phosphate",
    "50971": "Potassium", "50983": "Sodium", "51006": "Urea Nitrogen", "51133": "Absolute Lymphocyte Count",
    "51146": "Basophils", "51200": "Eosinophils", "51221": "Hematocrit", "51222": "Hemoglobin", "51237": "INR(PT)",
    "51244": "Lymphocytes", "51248": "MCH", "51249": "MCHC", "51250": "MCV", "51254": "Monocytes",
    "51256": "Neutrophils", "51265": "Platelet Count", "51274": "PT", "51275": "PTT", "51277": "RDW",
    "51279": "Red Blood Cells", "51301": "White Blood Cells", "51678": "L", "52069": "Absolute Basophil Count",
    "52073": "Absolute Eosinophil Count", "52074": "Absolute Monocyte Count", "52075": "Absolute Neutrophil Count",
    "52135": "Immature Granulocytes", "52172": "RDW-SD",
}  # fmt: skip
SHAPES = {"cxr": (3, None, None), "ecg": (1, None, 12), "labs_percentiles": (50,), "labs_missingness": (50,)}


def read(root: Path) -> Manifest:
    """Read ``data_npy/{train,val,test}/{cxr,ecg,labs_percentiles,labs_missingness,hadm_id}_SPLIT.npy``.

    One image, one ECG and one row of labs per admission. Images and ECGs stay in their arrays: the paths say
    ``data_npy/train/cxr_train.npy#17``. ``labs_missingness`` is 1 where the test was made; elsewhere the percentile is
    an imputed mean and becomes NaN. Of the test file's 4,640 rows, the queries' own 464 are read: where
    ``label_test.npy`` is 1, else each admission's first. Patients come from the column ``subject_id`` of
    ``{train,val,test}.csv`` where that is there; without it each admission counts as a patient.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    images, signals = zip(*(_split(layout, split) for split in SPLITS), strict=True)
    table = pd.concat(images, ignore_index=True)
    ids = table["image_id"]
    if not ids.is_unique:
        raise layout.error(f"admission(s) {some(ids[ids.duplicated()].tolist())} are in two splits")
    note = "No subject_id tables (train.csv, val.csv, test.csv): each admission counts as a patient."
    subjects = _subjects(layout)
    if subjects:
        if absent := [name for name in ids if name not in subjects]:
            raise layout.error(f"train.csv, val.csv and test.csv lack {len(absent):,} admission(s): {some(absent)}")
        table["patient_id"] = [subjects[name] for name in ids]
        note = "Patients: subject_id of train.csv, val.csv and test.csv."
        if shared := shared_patients(table["patient_id"].tolist(), table["split"].tolist()):
            raise layout.error(f"the tables put {len(shared):,} patient(s) in two splits: {some(shared)}")
    return Manifest(
        name="symile",
        root=root,
        images=table,
        labels=(),
        signals=pd.concat(signals, ignore_index=True),
        lineage=LINEAGE,
        own_patients=not subjects,
        source=SOURCE,
        licence=LICENCE,
        notes=(
            note,
            "No labels: every admission has an ECG and up to 50 laboratory percentiles.",
            *subset_note(len(table), OFFICIAL, "admissions"),
        ),
    )


def _split(layout: Layout, split: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the image table and of the signals of one split."""
    arrays = {name: _array(layout, split, name) for name in (*SHAPES, "hadm_id")}
    admissions = arrays.pop("hadm_id")
    for name, array in arrays.items():
        shape = SHAPES[name]
        fits = len(array.shape) == 1 + len(shape) and all(
            want in (None, got) for want, got in zip(shape, array.shape[1:], strict=True)
        )
        if not fits or len(array) != len(admissions):
            raise layout.error(
                f"{name}_{split}.npy has shape {list(array.shape)}, not {[len(admissions), *shape]}".replace(
                    "None", "*"
                )
            )
    if not np.issubdtype(admissions.dtype, np.number) or admissions.ndim != 1:
        raise layout.error(f"hadm_id_{split}.npy is not a list of numbers")
    rows = _own_rows(layout, split, admissions)
    ids = [str(int(value)) for value in admissions[rows]]
    images = pd.DataFrame({
        "image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "split": split,
        "path": [f"data_npy/{split}/cxr_{split}.npy#{row}" for row in rows],
        "bytes": arrays["cxr"][0].nbytes,
    })  # fmt: skip
    percentiles = arrays["labs_percentiles"][rows].astype(np.float64)
    percentiles[arrays["labs_missingness"][rows] == 0] = np.nan
    signals = pd.DataFrame({
        "study_id": ids,
        "ecg": [f"data_npy/{split}/ecg_{split}.npy#{row}" for row in rows],
        **{f"lab:{name}": percentiles[:, column] for column, name in enumerate(LABS.values())},
    })  # fmt: skip
    return images, signals


def _array(layout: Layout, split: str, name: str) -> NDArray[np.generic]:
    """One of the official arrays, memory-mapped."""
    path = layout.first(f"data_npy/{split}/{name}_{split}.npy")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise layout.error(f"{path.name} is not a whole NumPy array ({error})") from error
    if not array.ndim or not len(array):
        raise layout.error(f"{path.name} has no rows")
    return array


def _own_rows(layout: Layout, split: str, admissions: NDArray[np.generic]) -> NDArray[np.int64]:
    """Row numbers of the admissions themselves: the test file also repeats each query's candidates."""
    if split == "test" and (layout.root / "data_npy/test/label_test.npy").is_file():
        own = _array(layout, split, "label") == 1
        if own.shape != admissions.shape:
            raise layout.error(f"label_test.npy has shape {list(own.shape)}, not {list(admissions.shape)}")
        return np.flatnonzero(own)
    return np.sort(np.unique(admissions, return_index=True)[1])


def _subjects(layout: Layout) -> dict[str, str]:
    """Patient of each admission from the official tables; empty where one of them is not there."""
    paths = [layout.root / f"{split}.csv" for split in SPLITS]
    if not all(path.is_file() for path in paths):
        return {}
    tables = [layout.table(path, ("hadm_id", "subject_id")) for path in paths]
    return {identifier(h): identifier(s) for t in tables for h, s in zip(t["hadm_id"], t["subject_id"], strict=True)}


DATASET = Dataset("symile", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE, patients="mimic")
