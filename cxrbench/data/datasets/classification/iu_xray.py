"""IU X-ray (Open-i): 7,470 radiographs of 3,851 patients with reports. Demner-Fushman et al., JAMIA 23(2):304, 2016.

All reports of NLM's download were read (3,955, of which 104 have no image); the columns of Kaggle's copy were checked
against public readers.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.datasets.layout import File, Layout, image_table, subset_note
from cxrbench.data.manifest import SPLITS, Dataset, Manifest
from cxrbench.data.splits import by_patient
from cxrbench.data.tables import first_repeated, identifier, is_empty
from cxrbench.files.names import plain

TITLE = "IU X-ray (Open-i, Indiana University)"
SOURCE = (
    "https://openi.nlm.nih.gov/faq (NLMCXR_png.tgz, NLMCXR_reports.tgz); Kaggle raddar/chest-xrays-indiana-university"
)
LICENCE = "CC BY-NC-ND 4.0"
LINEAGE = ("iu-xray",)
SPLIT = "No official split: 70/10/20 by report."
OFFICIAL = 7_470
# The heads of the MeSH terms that at least 40 reports have and that name a finding, under short names.
TERMS: Mapping[str, tuple[str, ...]] = {
    "Normal": ("normal",),
    "Opacity": ("Opacity",),
    "Cardiomegaly": ("Cardiomegaly",),
    "Atelectasis": ("Pulmonary Atelectasis",),
    "Calcified Granuloma": ("Calcified Granuloma",),
    "Pleural Effusion": ("Pleural Effusion",),
    "Atherosclerosis": ("Atherosclerosis",),
    "Airspace Disease": ("Airspace Disease",),
    "Indwelling Catheter": ("Catheters, Indwelling",),
    "Granulomatous Disease": ("Granulomatous Disease",),
    "Nodule": ("Nodule",),
    "Scoliosis": ("Scoliosis",),
    "Fracture": ("Fractures, Bone",),
    "Pulmonary Congestion": ("Pulmonary Congestion",),
    "Infiltrate": ("Infiltrate",),
    "Emphysema": ("Emphysema", "Pulmonary Emphysema"),
    "Hiatal Hernia": ("Hernia, Hiatal",),
    "Edema": ("Pulmonary Edema",),
    "Pneumonia": ("Pneumonia",),
}
LABELS = tuple(TERMS)
UNINDEXED = "No Indexing"
REPORTS, PROJECTIONS = "indiana_reports.csv", "indiana_projections.csv"
XML_FOLDERS = ("ecgen-radiology", "NLMCXR_reports/ecgen-radiology")
VIEWS = {"lateral": "L", "frontal": ""}
FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}


class Report(NamedTuple):
    """A report: the heads of its MeSH terms and its two sections, "" where absent."""

    terms: frozenset[str]
    findings: str
    impression: str


class NamedImage(NamedTuple):
    """An image as a table or a report names it: its name as ``short_name`` makes it, its report, its view."""

    name: str
    uid: str
    view: str


def read(root: Path) -> Manifest:
    """Read Kaggle's ``indiana_reports.csv``, ``indiana_projections.csv`` and images, or NLM's ``ecgen-radiology/*.xml``
    and ``NLMCXR_png/``.

    A report is a patient and a study, and has one image or more. Labels are the heads of the indexers' MeSH terms
    (``Opacity`` of ``Opacity/lung/base``), as in TERMS; a term that a report lacks is negative, all are unknown where
    the indexers say ``No Indexing``. There is no official split: 70/10/20 by report. Kaggle's table says which images
    are lateral, and of the others not whether they are PA or AP; NLM's reports say neither. The images of both are
    called alike here (``1000_IM-0003-1001``). What was de-identified stands as ``XXXX`` in the texts.
    """
    layout = Layout(TITLE, root, SOURCE, LICENCE)
    if not root.is_dir():
        raise layout.error("there is no such folder")
    folder = next((root / name for name in XML_FOLDERS if (root / name).is_dir()), None)
    if folder is None and not (root / REPORTS).is_file():
        raise layout.error(f"file {REPORTS} (Kaggle) or folder {XML_FOLDERS[0]} (NLM) is missing")
    from_kaggle = (root / REPORTS).is_file()
    reports, shots = _of_kaggle(layout) if from_kaggle or folder is None else read_xml(layout, folder)
    files = {short_name(stem): file for stem, file in layout.files([""], (".png", ".jpg", ".jpeg")).items()}
    ids = [shot.name for shot in shots]
    where = PROJECTIONS if from_kaggle else "the reports"
    layout.unique(ids, where)
    layout.require(ids, files, where)
    uids = [shot.uid for shot in shots]
    images = image_table(
        ids, files, patients=uids, studies=uids, splits=by_patient(uids, FRACTIONS),
        views=[shot.view for shot in shots], labels=LABELS, targets=_targets(uids, reports),
    )  # fmt: skip
    return Manifest(
        name="iu-xray",
        root=root,
        images=images,
        labels=LABELS,
        reports=_table(uids, reports),
        lineage=LINEAGE,
        source=SOURCE,
        licence=LICENCE,
        split_notes={SPLIT: SPLITS},
        notes=(
            SPLIT,
            "Labels: heads of the indexers' MeSH terms (TERMS in datasets/classification/iu_xray.py).",
            *_counted(uids, reports, files),
            *subset_note(len(ids), OFFICIAL, "images"),
        ),
    )


def short_name(stem: str) -> str:
    """``1000_IM-0003-1001`` for NLM's ``CXR1000_IM-0003-1001`` and Kaggle's ``1000_IM-0003-1001.dcm``.

    NLM writes the images of its first report as ``CXR1_1_IM-0001-3001``.
    """
    name = stem.removesuffix(".dcm")
    if not name.startswith("CXR"):
        return name
    uid, _, rest = name[3:].partition("_")
    return rest if rest.startswith(f"{uid}_") else f"{uid}_{rest}"


def read_xml(layout: Layout, folder: Path) -> tuple[dict[str, Report], list[NamedImage]]:
    """NLM's reports by their number, and the images that they name. Raises UserError for a file that is no report."""
    reports: dict[str, Report] = {}
    shots: list[NamedImage] = []
    for path in sorted(folder.glob("*.xml")):
        try:
            tree = ET.parse(path).getroot()
        except (ET.ParseError, OSError, ValueError, LookupError) as error:  # another encoding's name, a folder, ...
            raise layout.error(f"{path.name} cannot be read as XML ({plain(str(error))})") from error
        uid = tree.find("uId")
        if uid is None:
            raise layout.error(f"{path.name} is no report of Open-i: it has no uId")
        number = str(uid.get("id", "")).removeprefix("CXR")
        texts = {part.get("Label"): _line("".join(part.itertext())) for part in tree.iter("AbstractText")}
        terms = (term.text or "" for term in tree.iterfind("MeSH/major"))
        if number in reports:
            raise layout.error(f"{path.name} is report {plain(number)}, which another file is, too: remove one")
        reports[number] = Report(_heads(terms), texts.get("FINDINGS", ""), texts.get("IMPRESSION", ""))
        shots += [NamedImage(short_name(str(part.get("id"))), number, "") for part in tree.iter("parentImage")]
    if not reports:
        raise layout.error(f"{folder.name} has no reports (*.xml)")
    return reports, shots


def _of_kaggle(layout: Layout) -> tuple[dict[str, Report], list[NamedImage]]:
    """Kaggle's reports by their number, and the images that its other table names."""
    table = layout.table(layout.root / REPORTS, ("uid", "MeSH", "findings", "impression"))
    uids = [identifier(cell) for cell in table["uid"]]
    if twice := first_repeated(uids):
        raise layout.error(f"{REPORTS} has report {plain(twice[0])} twice")
    cells = zip(table["MeSH"], table["findings"], table["impression"], strict=True)
    said = ([_said(cell) for cell in row] for row in cells)
    found = [Report(_heads(mesh.split(";")), findings, impression) for mesh, findings, impression in said]
    views = layout.table(layout.first(PROJECTIONS), ("uid", "filename", "projection"))
    if odd := sorted({cell for cell in views["projection"] if cell.lower() not in VIEWS}):
        raise layout.error(f"{PROJECTIONS} has the projection {plain(odd[0])!r}; known are Frontal and Lateral")
    rows = zip(views["filename"], views["uid"], views["projection"], strict=True)
    shots = [
        NamedImage(short_name(name.rpartition(".")[0]), identifier(uid), VIEWS[view.lower()])
        for name, uid, view in rows
    ]
    return dict(zip(uids, found, strict=True)), shots


def _heads(terms: Iterable[str]) -> frozenset[str]:
    """``Opacity`` of ``Opacity/lung/base``."""
    return frozenset(head for term in terms if (head := term.split("/")[0].strip()))


def _line(text: str) -> str:
    return " ".join(text.split())


def _said(cell: str) -> str:
    """A cell on one line, "" where a program has written that there is no value."""
    return "" if is_empty(cell) else _line(cell)


def _targets(uids: Sequence[str], reports: Mapping[str, Report]) -> NDArray[np.float32]:
    """Targets [images, labels] of each image's report; NaN where there is none, or it is not indexed."""
    targets = np.full((len(uids), len(LABELS)), np.nan, np.float32)
    for row, uid in enumerate(uids):
        terms = reports[uid].terms if uid in reports else frozenset()
        if terms and UNINDEXED not in terms:
            targets[row] = [not terms.isdisjoint(TERMS[label]) for label in LABELS]
    return targets


def _table(uids: Sequence[str], reports: Mapping[str, Report]) -> pd.DataFrame:
    """The reports of the images that say anything."""
    there = [(uid, reports[uid]) for uid in sorted(set(uids)) if uid in reports]
    rows = [(uid, one.findings, one.impression) for uid, one in there if one.findings or one.impression]
    return pd.DataFrame(rows, columns=["study_id", "findings", "impression"])


def _counted(uids: Sequence[str], reports: Mapping[str, Report], files: Mapping[str, File]) -> tuple[str, ...]:
    """Notes on reports without images or text, and on images without a report or a row."""
    shown, silent = set(uids), [uid for uid in {*uids} & {*reports} if not any(reports[uid][1:])]
    counts = {
        "reports without an image were left out": len(set(reports) - shown),
        "reports have neither findings nor impression": len(silent),
        "studies have no report": len(shown - set(reports)),
        "image files that no table names were left out": len(files) - len(uids),
    }
    return tuple(f"{number:,} {what}." for what, number in counts.items() if number)


DATASET = Dataset("iu-xray", TITLE, SOURCE, LICENCE, read, lineage=LINEAGE)
