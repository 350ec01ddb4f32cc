"""Official downloads of labelled images on tiny folders, written by hand."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from support.layouts import text

H, W = 6, 5


def image(path: Path, value: int = 7) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((H, W), value, np.uint8)).save(path)


def png(height: int, width: int) -> bytes:
    content = BytesIO()
    Image.fromarray(np.zeros((height, width), np.uint8)).save(content, "PNG")
    return content.getvalue()


def shenzhen(root: Path) -> Path:
    """NLM's layout: 12 normal and 12 tuberculous images, odd readings among the first four, masks of all but two."""
    base = root / "ChinaSet_AllFiles"
    odd = {
        1: "male 45yrs\nnormal",
        2: "femal 32yrs\nnormal",
        3: "female, 64days\r\nnormal\n",
        4: "Male,16month\nnormal",
    }
    for n in range(1, 25):
        name = f"CHNCXR_{n:04d}_{int(n > 12)}"
        image(base / f"CXR_png/{name}.png", n)
        text(base / f"ClinicalReadings/{name}.txt", odd.get(n, "female 50yrs\nbilateral PTB" if n > 12 else ""))
        if n > 2:
            image(base / f"mask/{name}_mask.png", 255 * (n % 2))
    (base / "CXR_png/Thumbs.db").write_bytes(b"x")
    return root


def shenzhen_on_kaggle(root: Path) -> Path:
    """The copy with a table: images in a folder in a folder, rows in another order."""
    rows = []
    for n in range(1, 25):
        name = f"CHNCXR_{n:04d}_{int(n > 12)}.png"
        image(root / f"images/images/{name}", n)
        rows.append(
            f"{name},{'Male' if n % 2 else 'Female'},{20 + n},{'PTB in the upper field' if n > 12 else 'normal'}"
        )
    text(root / "shenzhen_metadata.csv", "study_id,sex,age,findings", *reversed(rows))
    return root


def montgomery(root: Path) -> Path:
    """20 images, of which every second is tuberculous, with both masks; in the left one the first column is lung."""
    base = root / "MontgomerySet"
    for n in range(1, 21):
        name = f"MCUCXR_{n:04d}_{n % 2}"
        image(base / f"CXR_png/{name}.png", n)
        reading = f"Patient's Sex: {'FM'[n % 2]} \nPatient's Age: {20 + n:03d}Y\nnormal"
        text(base / f"ClinicalReadings/{name}.txt", reading)
        for side, column in (("leftMask", 4), ("rightMask", 0)):
            mask = np.zeros((H, W), np.uint8)
            mask[:, column] = 255
            (base / f"ManualMask/{side}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(base / f"ManualMask/{side}/{name}.png")
    return root
