"""Pseudonyms, what counts as a trace of somebody, and names without folders."""

import hashlib
import hmac
from pathlib import Path

import pytest

from cxrbench.errors import UserError
from cxrbench.exchange.encoder_names import without_folders
from cxrbench.exchange.salt import FIRST_LINE, Salt, read_salt
from cxrbench.exchange.traces import texts, traces

FINGERPRINT = "3fa2b1" + 58 * "0"


def test_a_pseudonym_is_hmac_of_data_set_and_identifier() -> None:
    """Against the standard library's HMAC, by the description in docs/sharing-results.md."""
    key, parts = b"sixteen bytes ok", ("identifier", "clinic", "P17")
    text = b"".join(len(part).to_bytes(8, "big") + part.encode() for part in parts)
    expected = hmac.new(key, text, hashlib.sha256).hexdigest()[:32]
    assert Salt(key).pseudonym("clinic", "P17") == expected
    assert Salt(key).pseudonym("other", "P17") != expected
    assert Salt(key).pseudonym("clinic", "") == ""
    assert "sixteen" not in repr(Salt(key))


def test_a_salt_is_made_once_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    results, file = tmp_path / "results", tmp_path / "secrets" / "salt.txt"
    results.mkdir()
    made = read_salt(file, results)
    assert read_salt(file, results) == made
    assert file.stat().st_mode & 0o077 == 0
    assert len(made.key) >= 32
    assert read_salt(tmp_path / "another", results).check != made.check


def test_a_salt_that_would_be_shared_or_can_be_guessed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("secret\n")
    with pytest.raises(UserError, match="can be guessed"):
        read_salt(tmp_path / "short", tmp_path / "results")
    with pytest.raises(UserError, match="lies in the results folder"):
        read_salt(tmp_path / "results" / "salt", tmp_path / "results")
    with pytest.raises(UserError, match="more than 65536 bytes"):
        read_salt(Path("/dev/zero"), tmp_path / "results")


def test_a_salt_that_was_mailed_is_the_same_salt_and_its_first_line_is_none(tmp_path: Path) -> None:
    """What a mail program makes of the ends of lines would else part the images of two sites."""
    made = read_salt(tmp_path / "salt", tmp_path / "results")
    (tmp_path / "mailed").write_bytes((tmp_path / "salt").read_bytes().replace(b"\n", b"\r\n"))
    assert read_salt(tmp_path / "mailed", tmp_path / "results") == made
    (tmp_path / "cut").write_bytes(FIRST_LINE.strip())
    with pytest.raises(UserError, match="can be guessed"):
        read_salt(tmp_path / "cut", tmp_path / "results")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("cannot read /home/anna/x.pt", "a path"),
        ("see ~/notes", "a path"),
        (r"D:\scans\1", "a path"),
        ("3 bad images: a1.dcm, ...", "a file"),
        ("ask anna.b@clinic.example.org", "an e-mail address"),
        ("taken 2019-03-07", "a date"),
        ("taken 07.03.2019", "a date"),
        ("series 1.2.840.113619.2.5", "a DICOM UID"),
        ("accession 00481516", "a long number"),
    ],
)
def test_what_looks_like_somebody_is_found(text: str, what: str) -> None:
    assert what in traces(text)


@pytest.mark.parametrize(
    "text",
    [
        "compared on the 377,000 test images that all have", "n/a", "AUROC 0.9123456", "and/or, w/o",
        "https://nihcc.app.box.com/v/ChestXray-NIHCC", "PhysioNet Credentialed Health Data License 1.5.0",
        "3 patients of nih (12 images) are in the test set", "Wang et al. 2017, doi:10.1109/CVPR.2017.369",
    ],
)  # fmt: skip
def test_what_sentences_of_a_board_hold_is_not(text: str) -> None:
    assert traces(text) == []


def test_identifiers_are_found_as_words_of_a_text_and_short_ones_are_not_looked_for() -> None:
    assert traces("left out: P0017.", {"P0017"}) == ["an identifier of the results"]
    assert traces("left out: XP0017", {"P0017"}) == []
    digest = "02aa804ebde0afdd112c0b347bc16630"  # MIMIC calls its images so
    assert traces(f"weights {digest}") == []
    assert traces(f"weights {digest}", {digest}) == ["an identifier of the results"]


def test_names_have_a_grammar_of_their_own() -> None:
    assert traces("spcl@encoder.pt~3fa2b1", name=True) == []
    assert traces("hf:microsoft/rad-dino", name=True) == []
    assert traces("spcl@/home/anna/encoder.pt", name=True) == ["a path"]


def test_texts_are_found_wherever_they_stand() -> None:
    found = dict(texts({"a": ["x", {"b": "y"}], "identity": "z"}))
    assert found["a"] == "x"
    assert found["a.b"] == "y"
    assert "z" not in found.values()


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("imagenet", "imagenet"),
        ("hf:microsoft/rad-dino", "hf:microsoft/rad-dino"),
        ("open_clip:hf-hub:microsoft/BiomedCLIP", "open_clip:hf-hub:microsoft/BiomedCLIP"),
        ("spcl:cls@encoder.pt", "spcl:cls@encoder.pt"),
        ("spcl@/home/anna/runs/x/encoder.pt", "spcl@encoder.pt~3fa2b1"),
        ("spcl@runs/x/encoder.pt", "spcl@encoder.pt~3fa2b1"),
        ("./work/mine.py:Mine@w/a.pt", "mine.py:Mine@a.pt~3fa2b1"),
        ("hf:./folder/model", "hf:model~3fa2b1"),
        ("embeddings:/data/clinic/e.parquet#NAME", "embeddings:e.parquet#NAME~3fa2b1"),
        (r"timm:vit@C:\models\w.pt", "timm:vit@w.pt~3fa2b1"),
    ],
)
def test_folders_go_from_names_and_equal_names_stay_apart(name: str, short: str) -> None:
    assert without_folders(name, FINGERPRINT) == short
