"""Damaged tables: whatever is in them, the answer is a manifest or one line, soon."""

import json
import random
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.custom.dataset import read_csv
from cxrbench.errors import UserError

ODD = [
    "9" * 400,
    "-1e999",
    "1e308",
    "nan",
    "\u202e\ud7ff",
    "\U0001f9b4",
    "\0",
    '"',
    "\r",
    "|",
    "../../x",
    "0x1",
    "",
    "ſ",
    "[" * 3000,
]
SIDECAR = """name = "mine"
patient = "patient"
labels = ["effusion", "nodule"]
kind = "multilabel"
licence = "CC BY 4.0"
lineage = ["nih"]
[groups]
macro = ["effusion"]
"""


def written(folder: Path, name: str) -> Path:
    """Twelve images and a whole table of the kind: own.csv, boxes.csv, coco.json or own.toml."""
    for n in range(12):
        Image.fromarray(np.full((40, 30), n, np.uint8)).save(folder / f"{n}.png")
    own = ["image,patient,split,effusion,nodule"]
    own += [f"{n}.png,p{n},{('train', 'val', 'test')[n % 3]},{n // 3 % 2},{n % 2}" for n in range(12)]
    boxes = ["image,label,x,y,width,height", *(f"{n}.png,mass,{n},2,3.5,4" for n in range(8)), "9.png,,,,,"]
    coco = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 30, "height": 40} for n in range(12)],
        "categories": [{"id": 1, "name": "mass"}, {"id": 2, "name": "nodule"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [n, 2, 3.5, 4]} for n in range(9)
        ],
    }  # fmt: skip
    (folder / "own.csv").write_text("\n".join(own) + "\n")
    (folder / "own.toml").write_text(SIDECAR)
    (folder / "boxes.csv").write_text("\n".join(boxes) + "\n")
    (folder / "coco.json").write_text(json.dumps(coco))
    return folder / name


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randint(1, len(content)) :]


def lines_moved(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    for _ in range(3):
        lines.insert(rng.randrange(len(lines)), lines.pop(rng.randrange(len(lines))))
    return b"\n".join(lines + lines[-rng.randint(1, 3) :])


def words_swapped(content: bytes, rng: random.Random) -> bytes:
    return _tokens(content, rng, None)


def odd_words(content: bytes, rng: random.Random) -> bytes:
    return _tokens(content, rng, ODD)


def _tokens(content: bytes, rng: random.Random, other: list[str] | None) -> bytes:
    """Words (runs of letters and digits) exchanged with each other, or replaced by odd ones."""
    text, kept = content.decode(), set(string.ascii_letters + string.digits + "._-")
    words, start = [], 0
    for place in range(1, len(text) + 1):
        if place == len(text) or (text[place] in kept) != (text[start] in kept):
            words.append(text[start:place])
            start = place
    real = [n for n, word in enumerate(words) if word[0] in kept]
    for _ in range(rng.randint(1, 3)):
        one, two = rng.choice(real), rng.choice(real)
        words[one], words[two] = (words[two], words[one]) if other is None else (rng.choice(other), words[two])
    return "".join(words).encode("utf-8", "surrogatepass")


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [flipped, cut, lines_moved, words_swapped, odd_words]


def answer(path: Path) -> str:
    """What is wrong, or "" for a manifest, which is looked over."""
    try:
        manifest = read_csv(path)
    except UserError as error:
        return str(error)
    targets = manifest.targets()
    assert (np.isin(targets, (0, 1)) | np.isnan(targets)).all()
    assert manifest.fingerprint
    return ""


@pytest.mark.parametrize("name", ["own.csv", "boxes.csv", "coco.json", "own.toml"])
def test_damaged_tables_give_a_manifest_or_one_line(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, name)
    whole, rng, refused = path.read_bytes(), random.Random(name), 0
    for number in range(30):
        path.write_bytes(MUTATIONS[number % len(MUTATIONS)](whole, rng))
        said = answer(path.with_suffix(".csv") if path.suffix == ".toml" else path)
        refused += bool(said)
        assert "\n" not in said, number
    assert 5 < refused <= 30
