"""Phantom images as the CANDID-PTX download: DICOM without an extension, and a table of run lengths per label."""

from pathlib import Path

from cxrbench.data.annotations.rle import encode_siim
from cxrbench.phantom.cases import Case
from cxrbench.phantom.findings import PNEUMOTHORAX, regions
from cxrbench.phantom.layouts.dicom_files import write_jpeg
from cxrbench.phantom.layouts.segmentation.trauma import chest_tube, fracture, with_marks
from cxrbench.phantom.layouts.tables import TableRows, write_csv

TUBES, FRACTURES = 0.3, 0.25  # shares of images, far higher than in the original
Rows = dict[str, TableRows]
COLUMNS = {
    "Pneumothorax_reports.csv": ["SOPInstanceUID", "StudyInstanceUID", "filename", "EncodedPixels", "Report"],
    "acute_rib_fracture.csv": ["anon_SOPUID", "annotation_ref", "mask_rle"],
    "chest_tube.csv": ["anon_SOPUID", "annotation_ref", "mask_rle"],
}


def candid_ptx_image(folder: Path, case: Case) -> Rows:
    """Write one image, two of each patient; returns its rows of the tables."""
    rng = case.rng(6)
    image = case.image()
    tube = chest_tube(image, rng) if rng.random() < TUBES else None
    broken = fracture(image, rng) if rng.random() < FRACTURES else None
    if not case.blank:
        image = with_marks(image, tube, broken)
    name = case.uid("instance")
    write_jpeg(case, image, folder / "dataset" / name)
    masks = [region for f in image.placed.of(PNEUMOTHORAX) for region in regions(f.mask)]
    file = f"P{case.number // 2 + 1:05d}_{case.number % 2 + 1}.dcm"
    report = "Pneumothorax.\nNo further comment." if masks else "No pneumothorax."
    texts = [encode_siim(mask) for mask in masks] or ["-1"]
    rows: Rows = {"Pneumothorax_reports.csv": [[name, case.uid("study"), file, text, report] for text in texts]}
    for table, mask in (("acute_rib_fracture.csv", broken), ("chest_tube.csv", tube)):
        rows[table] = [[name, case.number, encode_siim(mask)]] if mask is not None and mask.any() else []
    return rows


def candid_ptx_tables(folder: Path, part: str, records: list[Rows]) -> None:
    """The three tables; two of them name only images that show something."""
    for table, columns in COLUMNS.items():
        write_csv(folder / table, columns, (row for record in records for row in record[table]))
