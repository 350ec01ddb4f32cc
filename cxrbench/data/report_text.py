"""The sections of a radiology report: findings and impression out of free text."""

import re
from typing import NamedTuple

FINDINGS = ("FINDINGS", "FINDING", "REPORT", "CHEST", "FRONTAL AND LATERAL CHEST", "FINDINGS AND IMPRESSION",
            "FINDINGS/IMPRESSION")  # fmt: skip
IMPRESSION = (
    "IMPRESSION",
    "IMPRESSIONS",
    "IMPRESSON",
    "CONCLUSION",
    "CONCLUSIONS",
    "SUMMARY",
    "OPINION",
    "INTERPRETATION",
)
# A heading opens a line and ends with a colon: all capitals, or in any case one of the names that matter.
HEADING = re.compile(
    r"^[ \t]*(?P<name>[A-Z][A-Z /,()&-]{2,48}"
    r"|(?i:findings?(?:[ /]+(?:and )?impressions?)?|impressions?|conclusions?))[ \t]*:",
    re.MULTILINE,
)


class Sections(NamedTuple):
    """What a report says: ``findings`` and ``impression``, each one line of text, "" where absent."""

    findings: str
    impression: str


def sections(text: str) -> Sections:
    """Find both sections in a report's text, wherever its line breaks and blanks are.

    A joint section (``FINDINGS AND IMPRESSION``) counts as findings. A section that comes twice, as after an addendum,
    is joined. A report without either heading, or with both empty, gives its last paragraph as findings.
    """
    marks = list(HEADING.finditer(text))
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    found: dict[str, list[str]] = {"findings": [], "impression": []}
    for mark, end in zip(marks, ends, strict=False):  # without headings there is one end too many
        name, body = " ".join(mark["name"].upper().split()), _line(text[mark.end() : end])
        if body and name in FINDINGS:
            found["findings"].append(body)
        elif body and name in IMPRESSION:
            found["impression"].append(body)
    if not any(found.values()):
        tail = text[marks[-1].end() :] if marks else text
        paragraphs = [line for part in re.split(r"\n\s*\n", tail) if (line := _line(part))]
        found["findings"] = paragraphs[-1:]
    return Sections(*(" ".join(parts) for parts in found.values()))


def _line(text: str) -> str:
    return " ".join(text.split())
