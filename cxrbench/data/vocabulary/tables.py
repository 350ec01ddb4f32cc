"""The tables of the vocabulary: ``terms.csv``, and ``labels.csv`` which says what every label of every dataset means.

``terms.csv``: a ``term``, the ``chexpert`` label that it is (empty: none of the 14), its ``radlex`` identifier, and its
``meaning``. An identifier stands there only if a list that was checked against NCBO BioPortal has it, or two lists that
know nothing of each other; else it is empty. ``labels.csv``: a ``dataset``, its ``label`` as the files spell it, the
``term`` that it means (empty: it is outside, nothing of another dataset means the same), and a ``note``.
"""

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Term(NamedTuple):
    """A term of the vocabulary; ``chexpert`` and ``radlex`` are "" where there is none."""

    term: str
    chexpert: str
    radlex: str
    meaning: str


class Meaning(NamedTuple):
    """What a label of a dataset means: a term, or "" for what is outside of the vocabulary; and a note on it."""

    dataset: str
    label: str
    term: str
    note: str


@cache
def terms() -> Mapping[str, Term]:
    """The terms by name, in the table's order."""
    return {row["term"]: Term(**row) for row in _rows("terms.csv")}


@cache
def meanings() -> Mapping[tuple[str, str], Meaning]:
    """What labels mean, by dataset and label, in the table's order."""
    return {(row["dataset"], row["label"]): Meaning(**row) for row in _rows("labels.csv")}


@cache
def agreed() -> Mapping[str, str]:
    """The one term that labels of a name have in all datasets that give it one: for datasets of one's own."""
    found: dict[str, set[str]] = {}
    for meaning in meanings().values():
        if meaning.term:
            found.setdefault(meaning.label, set()).add(meaning.term)
    return {label: next(iter(of)) for label, of in found.items() if len(of) == 1}


def _rows(name: str) -> Iterator[dict[str, str]]:
    with files("cxrbench.data.vocabulary").joinpath(name).open(encoding="utf-8") as handle:
        yield from csv.DictReader(handle)
