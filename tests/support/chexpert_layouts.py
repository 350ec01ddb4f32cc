"""CheXpert and CheXpert Plus on tiny folders, written by hand."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from cxrbench.data.datasets import chexpert, chexpert_plus
from support.layouts import text

CELLS = ("1.0", "0.0", "-1.0", "")
CHEXPERT_HEADER = ",".join(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *chexpert.LABELS])


def image(path: Path, value: int = 7) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 5), value, np.uint8)).save(path)


def write_chexpert(root: Path, *, nested: bool = True) -> Path:
    """12 training and 2 validation patients, two images each; labels cycle through 1, 0, -1 and blank."""
    base = root / "CheXpert-v1.0-small" if nested else root
    for part, first, count in (("train", 1, 12), ("valid", 64541, 2)):
        rows = []
        for n in range(count):
            for k, (side, view) in enumerate((("frontal", ("AP", "PA", "LL")[n % 3]), ("lateral", ""))):
                name = f"{part}/patient{first + n:05d}/study{1 + n % 2}/view{k + 1}_{side}.jpg"
                image(base / name, 10 * n + k)
                cells = [CELLS[(n + c) % 4] if part == "train" else f"{(n + c) % 2}.0" for c in range(14)]
                rows.append(",".join([f"CheXpert-v1.0-small/{name}", "Female", "60", side.title(), view, *cells]))
        text(base / f"{part}.csv", CHEXPERT_HEADER, *rows)
    return root


def write_chexpert_plus(root: Path, *, labels: str | None = "report_fixed.json") -> Path:
    """Ten patients with one study; the third's sections are blank, the fourth has no report at all."""
    header = "path_to_image,path_to_dcm,frontal_lateral,ap_pa,deid_patient_id,split,report,"
    header += "section_findings,section_impression,sex,age"
    rows, lines = [], []
    for n in range(10):
        part, patient = "valid" if n > 7 else "train", f"patient{n + 1:05d}"
        for side, view in (("frontal", "PA"), ("lateral", "")):
            name = f"{part}/{patient}/study1/view{1 + (side == 'lateral')}_{side}"
            image(root / f"PNG/PNG/{name}.png", n)
            sections = ("", "") if n in (2, 3) else (f"Image {n}\nis fine.", "Nothing.")
            report = "" if n == 3 else "FINDINGS: From\n the text.\nIMPRESSION: None." if n == 2 else "ignored"
            cells = [
                f"{name}.jpg",
                f"{name}.dcm",
                side.title(),
                view,
                patient,
                part,
                report,
                *sections,
                "Female",
                "61.0",
            ]
            rows.append(",".join(f'"{cell}"' for cell in cells))
            values = [(1.0, 0.0, -1.0, None)[(n + c) % 4] for c in range(14)]
            lines.append(
                json.dumps({"path_to_image": f"{name}.jpg", **dict(zip(chexpert.LABELS, values, strict=True))})
            )
    text(root / chexpert_plus.TABLE, header, *rows)
    if labels:
        text(root / "chexbert_labels" / labels, *lines[:-2])
    return root
