"""What still looks like an identifier, a path, an address or a date in a text that is to be shared."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

SHORTEST = 4
"""Characters of an identifier that is looked for in texts: shorter ones (``p1``, ``17``) are in every sentence."""
FREE = (
    ("a path", re.compile(r"(?<![\w/:.<])(?:~|\.{1,2})?/[\w.+@~-]+|(?<!\w)[A-Za-z]:\\|\\\\\w")),
    ("a file", re.compile(r"[\w+-]\.(?:dcm|dicom|png|jpe?g|tiff?|bmp|npy|nii|csv|parquet|h5|npz|xlsx?)\b", re.I)),
    ("an e-mail address", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,6}\b", re.I)),
    ("a date", re.compile(r"\b(?:19|20)\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])\b")),
    ("a date", re.compile(r"\b(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|1[0-2])\1(?:19|20)\d\d\b")),
    ("a DICOM UID", re.compile(r"\b\d+(?:\.\d+){4,}\b")),
    ("a long number", re.compile(r"(?<![\d.,])\d{6,}\b(?!\.\d)")),
)
NAMES = tuple((what, pattern) for what, pattern in FREE if what in ("a path", "a DICOM UID", "a long number"))
"""Of what has a grammar of its own: ``spcl@encoder.pt`` is no address, ``mine.py:Mine`` no file of a patient."""
WORD = re.compile(r"[\w.+-]+")
URL = re.compile(r"\b(?:https?|doi|arxiv):\S+", re.I)
DIGEST = re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{12,}\b")
"""A digest in hex may hold any run of digits; whether it is an identifier of somebody's is looked up, not guessed."""
NOT_TEXT = frozenset({"fixed_images", "date", "identity", "fingerprint", "sha256", "seal", "parts", "salt"})
"""Keys of values that are digests, numbers as text or the moment of a computation."""


def traces(text: str, known: Collection[str] = (), *, name: bool = False) -> list[str]:
    """What a text holds that it should not, in words. ``known``: identifiers that must not be in it.

    ``name``: it is the name of an encoder or a data set, not a sentence.
    """
    rest = DIGEST.sub(" ", URL.sub(" ", text))
    found = [what for what, pattern in (NAMES if name else FREE) if pattern.search(rest)]
    if known and not known_words(text).isdisjoint(known):
        found.append("an identifier of the results")
    return list(dict.fromkeys(found))


def known_words(text: str) -> set[str]:
    """The words of a text that are long enough to be an identifier, with and without what ends a sentence."""
    words = {word for word in WORD.findall(text) if len(word) >= SHORTEST}
    return words | {bare for word in words if len(bare := word.strip(".-+")) >= SHORTEST}


def texts(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Every text within plain JSON values, names of keys included, with the place where it stands."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            place = f"{at}.{key}" if at else str(key)
            yield f"{place} (its name)", str(key)
            if key not in NOT_TEXT:
                yield from texts(inner, place)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from texts(inner, at)
