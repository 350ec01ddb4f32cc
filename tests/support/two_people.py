"""A hospital's results, made by a real run, in which identifiers, paths and texts can be searched for."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image


@dataclass(frozen=True)
class Hospital:
    """A results folder, the table that it is of, and the spec of the encoder that lies in a file."""

    results: Path
    table: Path
    mine: str


IMAGES = 160
SPLITS = ("test", "val", "test", "train")
LABELS = ("bright", "coin")
TOML = 'regression = ["age"]\n'
ENCODER = '''
import torch
from cxrbench.encoder import Features, Preprocess

class Mine(torch.nn.Module):
    """Means of 4 x 4 tiles."""
    preprocess = Preprocess(size=16, resize="squash", mean=(0.0,), std=(1.0,), channels=1)
    def forward(self, images):
        return Features(torch.nn.functional.avg_pool2d(images, 4).flatten(1))
'''


def write_hospital(folder: Path, *, seed: int = 0) -> Path:
    """A CSV with images, patients, studies, sex, age, site and reports; the path of the table."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    lines = ["image,patient,study,split,sex,age,site,report," + ",".join(LABELS)]
    for i in range(IMAGES):
        bright, coin = int(rng.random() < 0.4), int(rng.random() < 0.5)
        pixels = np.clip(rng.normal(90 + 40 * bright, 30, (24, 20)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"scan-{7000 + i}.png")
        who = i // 2
        age = 95 if who == 9 else 30 + who % 50
        split, sex = SPLITS[who // 2 % 4], "FM"[who % 2]
        cells = (f"scan-{7000 + i}.png", f"MRN{481500 + who}", f"study-{900 + i}", split, sex, str(age),
                 "wardseven", f"Seen by Dr Krokowski {who}.", str(bright), str(coin))  # fmt: skip
        lines.append(",".join(cells))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "labels.toml").write_text(TOML)
    return folder / "labels.csv"


def secrets(table: Path) -> set[str]:
    """What must not be found in a pack: every identifier, file, folder and text of the hospital."""
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    found = {cell for row in rows for cell in (row[0], Path(row[0]).stem, row[1], row[2], row[7])}
    return found | {"Krokowski", str(table.parent), table.parent.parent.name}


def everything_in(pack: bytes) -> list[bytes]:
    """All that a pack holds, as bytes: as it is, its members unpacked, and columns and metadata of Parquet decoded."""
    found = [pack]
    with zipfile.ZipFile(BytesIO(pack)) as archive:
        for member in archive.infolist():
            content = archive.read(member)
            found += [member.filename.encode(), content]
            if member.filename.endswith(".parquet"):
                table = pq.read_table(BytesIO(content))
                found += [repr(column.unique().to_pylist()).encode() for column in table.columns if _is_text(column)]
                metadata = pq.ParquetFile(BytesIO(content)).metadata.metadata or {}
                found += [piece for pair in metadata.items() for piece in pair]
                found += [str(table.schema.names).encode()]
    return found


def flip(path: Path) -> None:
    """One bit of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def _is_text(column: object) -> bool:
    kind: Callable[[object], str] = lambda one: str(getattr(one, "type", ""))  # noqa: E731
    return "string" in kind(column)
