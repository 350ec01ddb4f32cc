"""Reports of phantom studies: findings and impression written from what is on the image, and CheXpert's labels of them.

A study's label is its report's strongest mention (asserted, then hedged, then denied), as CheXpert's labeler
aggregates; Irvin et al., AAAI 2019.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from numpy.random import Generator

from cxrbench.phantom.findings import AORTA, EFFUSION, OPACITY, PNEUMOTHORAX, THICKENING, Finding
from cxrbench.phantom.sentences import SeenFinding, Sentence, denials, device_sentence, normal_impression, pick, tell

WIDTH = 78
REASONS = ("cough // evaluate for pneumonia", "shortness of breath", "chest pain // acute process?", "fever",
            "dyspnea // effusion?", "preoperative evaluation", "trauma // pneumothorax?", "weakness")  # fmt: skip


@dataclass(frozen=True)
class WrittenReport:
    """``findings`` and ``impression``, and CheXpert's labels of them (unmentioned labels are absent)."""

    findings: str
    impression: str
    labels: dict[str, int]


def seen(findings: Sequence[Finding]) -> list[SeenFinding]:
    """What is on an image, one entry per finding: regions of both sides become one bilateral finding."""
    entries: list[SeenFinding] = []
    for name in dict.fromkeys(finding.name for finding in findings):
        regions = [finding for finding in findings if finding.name == name]
        centres = [_centre(finding) for finding in regions]
        sides = {"left" if x > 0.5 else "right" for x, _ in centres}
        y = centres[0][1]
        zone = "upper" if y < 0.38 else "mid" if y < 0.58 else "lower"
        entries.append(
            SeenFinding(name, regions[0].grade, sides.pop() if len(sides) == 1 else "bilateral", zone, len(regions))
        )
    return entries


def write_report(entries: Sequence[SeenFinding], rng: Generator, *, device: bool = False) -> WrittenReport:
    """A report of what was seen; ``device``: a pacemaker is on the image."""
    names = {entry.name for entry in entries}
    body: list[Sentence] = []
    summary: list[Sentence] = []
    for entry in sorted(entries, key=lambda e: (e.name not in (PNEUMOTHORAX, EFFUSION, OPACITY), rng.random())):
        told = tell(entry, rng)
        body.append(told[0])
        if entry.name not in (AORTA, THICKENING) or rng.random() < 0.6:
            summary.append(told[1])
    if device:
        body.append(device_sentence(rng))
    body += denials(names, rng)
    shuffled = [body[i] for i in rng.permutation(len(body))] if rng.random() < 0.5 else body
    if not summary:
        summary.append(normal_impression(rng, clear=not names))
    elif rng.random() < 0.25 and PNEUMOTHORAX not in names:
        summary.append(Sentence("No pneumothorax.", {"Pneumothorax": 0}))
    labels: dict[str, int] = {}
    for sentence in (*body, *summary):
        for label, mark in sentence.marks.items():
            labels[label] = max(labels.get(label, mark), mark, key=(0, -1, 1).index)
    if not any(mark for label, mark in labels.items() if label != "Support Devices"):
        labels["No Finding"] = 1
    numbered = len(summary) > 1 and rng.random() < 0.35
    points = [f"{i}.  {s.text}" if numbered else s.text for i, s in enumerate(summary, 1)]
    return WrittenReport(" ".join(s.text for s in shuffled), " ".join(points), labels)


def report_file(report: WrittenReport, rng: Generator, *, sex: str, views: Sequence[str]) -> str:
    """The text file of a report, in one of the shapes that MIMIC-CXR's have."""
    technique = f"Chest {views[0]} and lateral" if len({*views}) > 1 else "Chest, single view"
    head = [
        ("EXAMINATION", f"CHEST ({' AND '.join(dict.fromkeys('LAT' if v == 'L' else v for v in views))})"),
        ("INDICATION", f"___-year-old {'woman' if sex == 'F' else 'man'} with {pick(rng, REASONS)}"),
        ("TECHNIQUE", technique),
        ("COMPARISON", pick(rng, ("None.", "___", "Chest radiograph ___."))),
    ]
    shape = rng.random()
    if shape < 0.86:
        tail = [("FINDINGS", report.findings), ("IMPRESSION", report.impression)]
    elif shape < 0.94:
        tail = [("IMPRESSION", f"{report.findings} {report.impression}")]
    else:
        tail = [("FINDINGS AND IMPRESSION", f"{report.findings} {report.impression}")]
    lines = [" " * 33 + "FINAL REPORT"]
    for name, text in (*head[int(rng.integers(0, 2)) :], *tail):
        wrapped = textwrap.wrap(text, WIDTH, break_on_hyphens=False)
        inline = len(wrapped) == 1 and rng.random() < 0.7
        lines += [f" {name}:  {wrapped[0]}", " "] if inline else [f" {name}: ", " ", *(f" {w}" for w in wrapped), " "]
    return "\n".join(lines).rstrip() + "\n"


def _centre(finding: Finding) -> tuple[float, float]:
    """Centre of a finding's box as shares of the image's width and height."""
    (x, y, w, h), (height, width) = finding.box, finding.mask.shape
    return (x + w / 2) / width, (y + h / 2) / height
