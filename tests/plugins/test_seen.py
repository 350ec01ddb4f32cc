"""Contamination marks rest on names: as people write them, and of the data sets that images were taken from."""

import pytest

from cxrbench.encoder import NOTHING, EncoderCard
from cxrbench.plugins.seen import in_known_names, known_name

DATASETS = ("brax", "chexpert", "chexpert-plus", "mimic", "nih", "padchest", "rsna", "siim", "symile", "vindr")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("mimic", "mimic"), ("MIMIC", "mimic"), (" mimic", "mimic"), ("MIMIC-CXR", "mimic"), ("mimic_cxr_jpg", "mimic"),
        ("CheXpert-small", "chexpert"), ("CheXpert Plus", "chexpert-plus"), ("ChestX-ray14", "nih"),
        ("NIH ChestX-ray14", "nih"), ("VinDr-CXR", "vindr"), ("RSNA Pneumonia", "rsna"), ("SIIM-ACR", "siim"),
        ("vindr-pcxr", "vindr-pcxr"), ("mimic-iv", "mimic-iv"), ("phantom:mimic", "phantom:mimic"),
        ("imagenet", "imagenet"), ("nothing", "nothing"), ("", ""), ("chest x-rays", "chest x-rays"),
    ],
)  # fmt: skip
def test_the_data_set_that_is_meant(said: str, meant: str) -> None:
    assert known_name(said, DATASETS) == meant


def test_another_name_is_taken_for_it_and_that_is_said() -> None:
    card = in_known_names(EncoderCard("x", pretrained_on=("MIMIC-CXR", "imagenet"), assumed=("one",)))
    assert card.pretrained_on == ("mimic", "imagenet")
    assert card.assumed == ("one", "its card's 'MIMIC-CXR' is taken for the data set mimic")


@pytest.mark.parametrize(
    ("seen", "all_of_it"),
    [("rsna", {"rsna", "nih"}), ("siim", {"siim", "nih"}), ("symile", {"symile", "mimic"}), ("vindr", {"vindr"})],
)
def test_who_has_seen_a_part_has_seen_its_source(seen: str, all_of_it: set[str]) -> None:
    assert set(in_known_names(EncoderCard("x", pretrained_on=(seen,))).pretrained_on) >= all_of_it


def test_nothing_stays_nothing() -> None:
    for card in (EncoderCard("x"), EncoderCard("x", pretrained_on=NOTHING)):
        assert in_known_names(card) == card
