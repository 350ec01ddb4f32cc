"""Every label of every reader is in the table, or listed as outside; the table is sound."""

import importlib
import re
import tomllib
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pytest

from cxrbench.data.datasets.chexpert import LABELS as CHEXPERT
from cxrbench.data.datasets.detection import ms_cxr, siim_fisabio
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.vocabulary.tables import meanings, terms
from cxrbench.phantom.layouts.registry import PARTS
from cxrbench.phantom.write import write

ROOT = Path(__file__).resolve().parents[3]
IMAGES = 20  # of each part: enough for every reader to find a test image
MORE = {"ms-cxr": ms_cxr.FINDINGS, "siim-fisabio": (siim_fisabio.OPACITY,)}
"""Labels of boxes alone, which a few images need not show."""


def readers() -> dict[str, Dataset]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    places = project["entry-points"]["cxrbench.datasets"]
    return {name: getattr(importlib.import_module(at.split(":")[0]), at.split(":")[1]) for name, at in places.items()}


def labels_of(manifest: Manifest) -> Collection[str]:
    tables = [table for table in (manifest.boxes, manifest.masks) if table is not None]
    return {*manifest.labels, *(str(label) for table in tables for label in table["label"])}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom")
    write(out, images=dict.fromkeys(PARTS, IMAGES), workers=1, blank=True)
    return out


def test_every_label_of_every_reader_is_in_the_table(phantom: Path) -> None:
    absent, unread = [], []
    for name, dataset in readers().items():
        if not (phantom / name).is_dir():
            unread.append(name)
            continue
        listed = {label for other, label in meanings() if other == name}
        labels = {*labels_of(dataset.read(phantom / name)), *MORE.get(name, ())}
        absent += [f"{name}: {label}" for label in sorted(labels - listed)]
    assert absent == [], "add them to cxrbench/data/vocabulary/labels.csv, without a term where nothing means the same"
    assert unread == [], "a reader without a phantom: say its labels in MORE"


def test_every_term_is_used_and_every_label_without_one_has_a_note() -> None:
    assert {meaning.term for meaning in meanings().values()} - {""} == set(terms())
    rows = (ROOT / "cxrbench" / "data" / "vocabulary" / "labels.csv").read_text().splitlines()
    assert len(rows) == len(meanings()) + 1, "a label is listed twice"
    assert all(meaning.note for meaning in meanings().values() if not meaning.term), "say why a label is outside"


def test_no_dataset_has_two_labels_of_one_term() -> None:
    twice = Counter((meaning.dataset, meaning.term) for meaning in meanings().values() if meaning.term)
    assert [key for key, count in twice.items() if count > 1] == []


def test_chexpert_s_labels_are_terms_of_their_own_and_identifiers_are_radlex_s() -> None:
    assert sorted(term.chexpert for term in terms().values() if term.chexpert) == sorted(CHEXPERT)
    ids = [term.radlex for term in terms().values() if term.radlex]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"RID\d+", one) for one in ids)
    for name in ("chexpert", "mimic", "padchest", "brax", "chexpert-plus"):
        for label in CHEXPERT:
            assert terms()[meanings()[name, label].term].chexpert == label
