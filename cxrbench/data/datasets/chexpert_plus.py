"""CheXpert Plus: CheXpert's radiographs with their radiology reports. Chambon et al., arXiv:2405.19538.

The patients, studies and views are CheXpert's, under CheXpert's names.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.attributes import with_attributes
from cxrbench.data.datasets.chexpert import (
    COMPETITION,
    EXTENSIONS,
    LABELS,
    POLICY,
    name_of,
    split_by_part,
    targets_of,
    uncertain_in,
    view_of,
)
from cxrbench.data.datasets.layout import Layout, image_table, subset_note
from cxrbench.data.manifest import PART, Dataset, Manifest
from cxrbench.data.report_text import sections
from cxrbench.data.tables import Table, read_text
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

TITLE = "CheXpert Plus"
SOURCE = "https://aimi.stanford.edu/datasets/chexpert-plus"
LICENCE = "Stanford University CheXpert Plus Dataset Research Use Agreement: no redistribution"
LINEAGE = ("chexpert-plus", "chexpert")
OFFICIAL = 223_462
TABLE = "df_chexpert_plus_240401.csv"
COLUMNS = ("path_to_image", "ap_pa", "deid_patient_id", "split", "report", "section_findings", "section_impression")
# CheXbert's labels of the whole report or of one of its sections; the first that is there counts.
LABEL_FILES = ("report_fixed.json", "impression_fixed.json", "findings_fixed.json")
PARTS = ("train", "valid", "test")


def read(root: Path) -> Manifest:
    """Read ``df_chexpert_plus_240401.csv``, ``chexbert_labels/*.json`` and the images (PNG or JPEG) below ``root``.

    An image is found by the last three parts of ``path_to_image`` (which ends in ``.jpg`` also where the files are
    PNG). Labels are CheXbert's, one JSON object a line, treated as CheXpert's; without a file of them they are unknown.
    Reports are ``section_findings`` and ``section_impression``; where both are blank, the sections of ``report``. The
    column ``split`` is train or valid: as in ``chexpert``, valid is the test set and validation a tenth of the training
    images, by patient; a part called test makes valid the validation set.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    table = layout.table(layout.first(TABLE), COLUMNS)
    names = [name_of(layout, path, TABLE) for path in table["path_to_image"]]
    ids = [name.image for name in names]
    layout.unique(ids, TABLE)
    if other := [n.image for n, p in zip(names, table["deid_patient_id"], strict=True) if n.patient != p]:
        raise layout.error(f"deid_patient_id of {TABLE} is not the patient of the path for {some(other)}")
    if unknown := sorted(set(table["split"]) - set(PARTS)):
        raise layout.error(f"{TABLE} has the unknown split {plain(unknown[0])!r}; known are {', '.join(PARTS)}")
    files = layout.files([""], EXTENSIONS, parts=3)
    layout.require((name.key for name in names), files, TABLE)
    splits, dealt = split_by_part(layout, [name.patient for name in names], table["split"])
    targets, said, labelled = _targets(layout, [name.key for name in names])
    studies = [name.study for name in names]
    reports = _reports(table, studies)
    return Manifest(
        name="chexpert-plus",
        root=root,
        images=with_attributes(image_table(
            ids, {name.image: files[name.key] for name in names}, patients=[name.patient for name in names],
            studies=studies, splits=splits, labels=LABELS, targets=targets,
            views=[view_of(name.side, cell) for name, cell in zip(names, table["ap_pa"], strict=True)],
        ).assign(**{PART: table["split"]}, **said), table, {"sex": "sex", "age": "age"}),
        labels=LABELS,
        groups={"macro": COMPETITION, "all": LABELS},
        reports=reports,
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes=dealt,
        notes=(
            labelled,
            *dealt,
            f"{len(reports):,} of {len(set(studies)):,} studies have a report.",
            *subset_note(len(ids), OFFICIAL, "images"),
        ),
    )  # fmt: skip


def _targets(layout: Layout, keys: Sequence[str]) -> tuple[NDArray[np.float32], pd.DataFrame, str]:
    """Targets [images, 14], NaN where the label file lacks the image, which are uncertain, and a note on them."""
    paths = [layout.root / "chexbert_labels" / name for name in LABEL_FILES]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return (
            np.full((len(keys), len(LABELS)), np.nan, np.float32),
            uncertain_in({label: [""] * len(keys) for label in LABELS}),
            f"No chexbert_labels/ ({' or '.join(LABEL_FILES)}): all labels are unknown.",
        )
    cells: dict[str, list[str]] = {label: [] for label in LABELS}
    row_of: dict[str, int] = {}
    for number, line in enumerate(io.StringIO(_text(layout, path)), 1):
        try:
            entry = json.loads(line)
            row_of[name_of(layout, entry["path_to_image"], path.name).key] = number - 1
            for label in LABELS:
                cells[label].append("" if entry[label] is None else str(entry[label]))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise layout.error(f"{path.name} line {number} is no object with path_to_image and 14 labels") from error
    known = targets_of(layout, cells, path.name)
    known = np.concatenate([known, np.full((1, len(LABELS)), np.nan, np.float32)])
    absent = sum(key not in row_of for key in keys)
    note = f"{POLICY} They are CheXbert's, {path.name}."
    rows = [row_of.get(key, -1) for key in keys]
    said = uncertain_in({label: [*column, ""] for label, column in cells.items()}).iloc[rows].reset_index(drop=True)
    return known[rows], said, note + (f" {absent:,} images have none." if absent else "")


def _text(layout: Layout, path: Path) -> str:
    try:
        return read_text(path)
    except UserError as error:
        raise layout.error(str(error)) from error


def _reports(table: Table, studies: Sequence[str]) -> pd.DataFrame:
    """One row per study that has text; all images of a study carry the same report."""
    columns = (table["section_findings"], table["section_impression"], table["report"])
    rows: dict[str, tuple[str, str]] = {}
    for study, findings, impression, report in zip(studies, *columns, strict=True):
        said = tuple(" ".join(text.split()) for text in (findings, impression))
        said = said if any(said) else sections(report)
        if any(said):
            rows.setdefault(study, (said[0], said[1]))
    data = [(study, *said) for study, said in sorted(rows.items())]
    return pd.DataFrame(data, columns=["study_id", "findings", "impression"])


DATASET = Dataset("chexpert-plus", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE, patients="chexpert")
