"""Which readers' images come from which source, as a whole: on this the marks of pretraining rest."""

import importlib
import itertools
import tomllib
from pathlib import Path

import pytest

from cxrbench.data.manifest import Dataset
from cxrbench.encoder import EncoderCard
from cxrbench.plugins.seen import with_lineage

PROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"
FAMILIES = {
    "nih": {"nih", "rsna", "siim", "ranzcr-clip", "covidx", "covid-qu-ex"},
    "mimic": {"mimic", "symile", "medmod", "cxlseg", "mimic-lungs", "ms-cxr"},
    "chexpert": {"chexpert", "chexpert-plus", "chexlocalize"},
    "padchest": {"padchest", "cxr-lt", "covid-qu-ex"},
    "vindr": {"vindr", "vindr-ribcxr"},
    "BIMCV-COVID19+": {"covidx", "siim-fisabio", "qata", "covid-qu-ex"},
    "RICORD": {"covidx", "siim-fisabio"},
}
"""Whose images are the same hospital archive's, read from the papers and download pages of each."""
ALONE = {
    "brax", "candid-ptx", "chexchonet", "chestx6", "iu-xray", "lungs", "montgomery", "object-cxr", "shenzhen",
    "vindr-pcxr",
}  # fmt: skip
"""Those of nobody else, as far as anybody says (ChestX6 names none of its sources)."""


def readers() -> dict[str, Dataset]:
    places = tomllib.loads(PROJECT.read_text())["project"]["entry-points"]["cxrbench.datasets"]
    return {name: getattr(importlib.import_module(at.split(":")[0]), at.split(":")[1]) for name, at in places.items()}


READERS = readers()


def related(one: str, other: str) -> bool:
    return one == other or any({one, other} <= family for family in FAMILIES.values())


def test_every_reader_is_in_the_table() -> None:
    assert set().union(ALONE, *FAMILIES.values()) == set(READERS), "say of a new reader whose images it has"


@pytest.mark.parametrize("name", READERS)
def test_a_lineage_begins_with_the_dataset_and_holds_its_sources_sources(name: str) -> None:
    lineage = READERS[name].lineage
    assert (READERS[name].name, lineage[0]) == (name, name)
    assert len(lineage) == len(set(lineage))
    for source in lineage[1:]:
        if source in READERS and name not in READERS[source].lineage:  # QaTa and COVID-QU-Ex have images of each other
            assert set(READERS[source].lineage) <= set(lineage), source


@pytest.mark.parametrize("seen", READERS)
def test_who_has_seen_one_dataset_is_marked_on_all_of_its_images_and_on_no_others(seen: str) -> None:
    lineages = {name: dataset.lineage for name, dataset in READERS.items()}
    known = set(with_lineage(EncoderCard("x", pretrained_on=(seen,)), lineages).pretrained_on)
    marked = {name for name, lineage in lineages.items() if known & {name, *lineage}}
    assert marked == {name for name in READERS if related(seen, name)}


def test_datasets_of_the_same_patients_say_so_in_both_ways() -> None:
    for (one, first), (other, second) in itertools.combinations(READERS.items(), 2):
        if first.patients and first.patients == second.patients:
            assert related(one, other), "the same identifiers, and no common source"
            assert set(first.lineage) & set(second.lineage)
