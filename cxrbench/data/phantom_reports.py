"""Reports of phantom studies: findings and impression written from what is on the film, and CheXpert's labels of them.

Each sentence carries the labels that it mentions: 1 asserted, 0 denied, -1 hedged. A study's label is the strongest
mention (asserted, then hedged, then denied), as CheXpert's labeler aggregates; Irvin et al., AAAI 2019.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from numpy.random import Generator

from cxrbench.data.phantom_findings import (
    AORTA,
    CARDIOMEGALY,
    EFFUSION,
    FIBROSIS,
    NODULE,
    OPACITY,
    PNEUMOTHORAX,
    THICKENING,
    Finding,
)

Marks = Mapping[str, int]
WIDTH = 78
SIZES = {"small": ("tiny", "small", "trace"), "moderate": ("moderate", "moderate-sized"), "large": ("large", "sizable")}
EXTENTS = {"small": ("mild", "minimal", "slight"), "moderate": ("moderate",), "large": ("severe", "marked")}


class Sentence(NamedTuple):
    """One sentence and the labels that it mentions."""

    text: str
    marks: Marks


@dataclass(frozen=True)
class Seen:
    """A finding as a reader puts it: ``grade`` in [0, 1], ``side`` (left, right, bilateral), ``zone``, ``count``."""

    name: str
    grade: float
    side: str
    zone: str
    count: int

    @property
    def level(self) -> str:
        """Small, moderate or large."""
        return "small" if self.grade < 0.33 else "moderate" if self.grade < 0.67 else "large"


@dataclass(frozen=True)
class Report:
    """``findings`` and ``impression``, and CheXpert's labels of them (unmentioned labels are absent)."""

    findings: str
    impression: str
    labels: dict[str, int]


def seen(findings: Sequence[Finding]) -> list[Seen]:
    """What is on a film, one entry per finding: regions of both sides become one bilateral finding."""
    entries: list[Seen] = []
    for name in dict.fromkeys(finding.name for finding in findings):
        regions = [finding for finding in findings if finding.name == name]
        centres = [_centre(finding) for finding in regions]
        sides = {"left" if x > 0.5 else "right" for x, _ in centres}
        y = centres[0][1]
        zone = "upper" if y < 0.38 else "mid" if y < 0.58 else "lower"
        entries.append(
            Seen(name, regions[0].grade, sides.pop() if len(sides) == 1 else "bilateral", zone, len(regions))
        )
    return entries


def write_report(entries: Sequence[Seen], rng: Generator, *, device: bool = False) -> Report:
    """A report of what was seen; ``device``: a pacemaker is on the film."""
    names = {entry.name for entry in entries}
    body: list[Sentence] = []
    summary: list[Sentence] = []
    for entry in sorted(entries, key=lambda e: (e.name not in (PNEUMOTHORAX, EFFUSION, OPACITY), rng.random())):
        told = _TELL[entry.name](entry, rng)
        body.append(told[0])
        if entry.name not in (AORTA, THICKENING) or rng.random() < 0.6:
            summary.append(told[1])
    if device:
        body.append(_device(rng))
    body += _denials(names, rng)
    shuffled = [body[i] for i in rng.permutation(len(body))] if rng.random() < 0.5 else body
    if not summary:
        summary.append(_normal_impression(rng, clear=not names))
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
    return Report(" ".join(s.text for s in shuffled), " ".join(points), labels)


def report_file(report: Report, rng: Generator, *, sex: str, views: Sequence[str]) -> str:
    """The text file of a report, in one of the shapes that MIMIC-CXR's have."""
    technique = f"Chest {views[0]} and lateral" if len({*views}) > 1 else "Chest, single view"
    head = [
        ("EXAMINATION", f"CHEST ({' AND '.join(dict.fromkeys('LAT' if v == 'L' else v for v in views))})"),
        ("INDICATION", f"___-year-old {'woman' if sex == 'F' else 'man'} with {_pick(rng, _REASONS)}"),
        ("TECHNIQUE", technique),
        ("COMPARISON", _pick(rng, ("None.", "___", "Chest radiograph ___."))),
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
        wrapped = textwrap.wrap(text, WIDTH)
        inline = len(wrapped) == 1 and rng.random() < 0.7
        lines += [f" {name}:  {wrapped[0]}", " "] if inline else [f" {name}: ", " ", *(f" {w}" for w in wrapped), " "]
    return "\n".join(lines).rstrip() + "\n"


def _centre(finding: Finding) -> tuple[float, float]:
    """Centre of a finding's box as shares of the film's width and height."""
    (x, y, w, h), (height, width) = finding.box, finding.mask.shape
    return (x + w / 2) / width, (y + h / 2) / height


def _pick(rng: Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _sided(side: str) -> str:
    return "bilateral" if side == "bilateral" else f"{side}-sided"


def _effusion(e: Seen, rng: Generator) -> tuple[Sentence, Sentence]:
    size, marks = _pick(rng, SIZES[e.level]), {"Pleural Effusion": 1}
    text = _pick(rng, (
        f"There is a {size} {e.side} pleural effusion.",
        f"A {size} {_sided(e.side)} pleural effusion is present.",
        f"Blunting of the {e.side} costophrenic angle reflects a {size} pleural effusion.",
        f"{_capital(size)} {e.side} pleural fluid layers posteriorly.",
    ))  # fmt: skip
    if e.level == "large" and rng.random() < 0.6:
        text += f" {_pick(rng, ('Associated', 'Adjacent'))} compressive atelectasis is likely."
        marks = {**marks, "Atelectasis": -1}
    elif e.level != "small" and rng.random() < 0.5:
        text += " There is mild interstitial pulmonary edema."
        marks = {**marks, "Edema": 1}
    return Sentence(text, marks), Sentence(f"{_capital(size)} {e.side} pleural effusion.", {"Pleural Effusion": 1})


def _opacity(e: Seen, rng: Generator) -> tuple[Sentence, Sentence]:
    where = "in both lungs" if e.side == "bilateral" else f"in the {e.side} {e.zone} lung"
    kind, marks = _pick(rng, ("patchy opacity", "hazy opacity", "airspace opacity")), {"Lung Opacity": 1}
    extent = _pick(rng, EXTENTS[e.level])
    text = _pick(rng, (
        f"There is {extent} {kind} {where}.",
        f"{_capital(kind)} {where} is {extent}.",
        f"{_capital(extent)} {kind} is seen {where}.",
    ))  # fmt: skip
    if e.level == "large":
        text = text.replace("opacity", "opacity with consolidation", 1)
        marks = {**marks, "Consolidation": 1}
        short, sure = f"Consolidation {where}, compatible with pneumonia.", {"Pneumonia": 1, "Consolidation": 1}
    elif e.level == "moderate":
        short = f"{_capital(kind)} {where}, {_pick(rng, ('concerning for', 'which may represent'))} pneumonia."
        sure = {"Lung Opacity": 1, "Pneumonia": -1}
    else:
        doubt = _pick(rng, ("atelectasis", "early pneumonia"))
        short = f"{_capital(extent)} {kind} {where} could reflect {doubt}."
        sure = {"Lung Opacity": 1, "Atelectasis" if doubt == "atelectasis" else "Pneumonia": -1}
    return Sentence(text, marks), Sentence(short, sure)


def _pneumothorax(e: Seen, rng: Generator) -> tuple[Sentence, Sentence]:
    size = _pick(rng, SIZES[e.level])
    if e.grade < 0.12:
        text = f"A thin line along the {e.side} apex raises the question of a tiny pneumothorax."
        return Sentence(text, {"Pneumothorax": -1}), Sentence(
            f"Possible tiny {e.side} pneumothorax.", {"Pneumothorax": -1}
        )
    text = _pick(rng, (
        f"There is a {size} {e.side} pneumothorax.",
        f"A {size} {_sided(e.side)} pneumothorax is present, with a visible visceral pleural line.",
        f"The {e.side} lung is partly collapsed by a {size} pneumothorax.",
    ))  # fmt: skip
    return Sentence(text, {"Pneumothorax": 1}), Sentence(
        f"{_capital(size)} {e.side} pneumothorax.", {"Pneumothorax": 1}
    )


def _cardiomegaly(e: Seen, rng: Generator) -> tuple[Sentence, Sentence]:
    extent = _pick(rng, EXTENTS[e.level])
    adverb = {"mild": "mildly", "minimal": "minimally", "slight": "slightly", "moderate": "moderately",
              "severe": "severely", "marked": "markedly"}[extent]  # fmt: skip
    text = _pick(rng, (
        f"The cardiac silhouette is {adverb} enlarged.",
        f"The heart is {adverb} enlarged.",
        f"There is {extent} cardiomegaly.",
    ))  # fmt: skip
    return Sentence(text, {"Cardiomegaly": 1}), Sentence(f"{_capital(extent)} cardiomegaly.", {"Cardiomegaly": 1})


def _nodule(e: Seen, rng: Generator) -> tuple[Sentence, Sentence]:
    marks = {"Lung Lesion": 1}
    mass = "mass" if e.grade > 0.65 else "nodule"
    where = "both lungs" if e.side == "bilateral" else f"the {e.side} {e.zone} lung"
    if e.count > 1:
        text = _pick(rng, (f"There are {e.count} pulmonary {'masses' if mass == 'mass' else 'nodules'} in {where}.",
                           f"Several rounded {'masses' if mass == 'mass' else 'nodules'} project over {where}."))  # fmt: skip
        short = f"Multiple pulmonary {'masses' if mass == 'mass' else 'nodules'}; CT is recommended."
    else:
        text = _pick(rng, (f"A rounded {mass} projects over {where}.", f"There is a {mass} in {where}."))
        short = _pick(rng, (f"{_capital(e.side)} lung {mass}; CT is recommended.",
                            f"{_capital(mass)} in {where}, for which chest CT is advised."))  # fmt: skip
    return Sentence(text, marks), Sentence(short, marks)


def _thickening(e: Seen, rng: Generator) -> tuple[Sentence, Sentence]:
    place = "apical" if e.zone == "upper" else "lateral"
    extent, marks = _pick(rng, EXTENTS[e.level]), {"Pleural Other": 1}
    text = _pick(rng, (f"There is {extent} {e.side} {place} pleural thickening.",
                       f"{_capital(extent)} pleural thickening is noted on the {_both(e.side)}."))  # fmt: skip
    return Sentence(text, marks), Sentence(f"{_capital(e.side)} pleural thickening.", marks)


def _both(side: str) -> str:
    return "both sides" if side == "bilateral" else f"{side} side"


def _aorta(e: Seen, rng: Generator) -> tuple[Sentence, Sentence]:
    marks = {"Enlarged Cardiomediastinum": 1}
    extent = _pick(rng, EXTENTS[e.level])
    text = _pick(rng, (f"The mediastinum is widened by {extent} enlargement of the aortic knob.",
                       f"There is {extent} dilatation of the thoracic aorta, which widens the mediastinum."))  # fmt: skip
    return Sentence(text, marks), Sentence("Widened mediastinum due to an enlarged aorta.", marks)


def _fibrosis(e: Seen, rng: Generator) -> tuple[Sentence, Sentence]:
    extent, marks = _pick(rng, EXTENTS[e.level]), {"Pleural Other": 1}
    text = _pick(rng, (f"{_capital(extent)} reticular markings at both bases are consistent with fibrosis.",
                       f"There is {extent} bibasilar fibrosis.",
                       f"A {extent} basilar reticular pattern indicates pulmonary fibrosis."))  # fmt: skip
    return Sentence(text, marks), Sentence(f"{_capital(extent)} pulmonary fibrosis.", marks)


def _device(rng: Generator) -> Sentence:
    text = _pick(rng, ("A left pectoral pacemaker has its leads in the right atrium and right ventricle.",
                       "Dual-lead pacemaker is in unchanged position."))  # fmt: skip
    return Sentence(text, {"Support Devices": 1})


def _denials(names: set[str], rng: Generator) -> list[Sentence]:
    """What a reader says is not there, or is normal; about each organ some say nothing."""
    out: list[Sentence] = []
    no_fluid, no_air = EFFUSION not in names, PNEUMOTHORAX not in names
    if no_fluid and no_air and rng.random() < 0.7:
        text = _pick(rng, ("There is no pleural effusion or pneumothorax.", "No pleural effusion or pneumothorax is seen.",
                           "No pneumothorax or pleural effusion."))  # fmt: skip
        out.append(Sentence(text, {"Pleural Effusion": 0, "Pneumothorax": 0}))
    else:
        if no_fluid and rng.random() < 0.6:
            out.append(Sentence("There is no pleural effusion.", {"Pleural Effusion": 0}))
        if no_air and rng.random() < 0.75:
            out.append(Sentence(_pick(rng, ("There is no pneumothorax.", "No pneumothorax.")), {"Pneumothorax": 0}))
    lungs = names & {OPACITY, NODULE, FIBROSIS}
    if not lungs and rng.random() < 0.85:
        text, marks = (("The lungs are clear.", {}), ("The lungs are well expanded and clear.", {}),
                       ("No focal consolidation is seen.", {"Consolidation": 0}),
                       ("The lungs are clear without focal consolidation.", {"Consolidation": 0}))[int(rng.integers(4))]  # fmt: skip
        out.insert(0, Sentence(text, marks))
    elif OPACITY not in names and rng.random() < 0.5:
        out.append(Sentence("There is no focal consolidation.", {"Consolidation": 0}))
    heart, wide = CARDIOMEGALY in names, AORTA in names
    if not heart and not wide and rng.random() < 0.8:
        text, marks = (
            ("The cardiomediastinal silhouette is within normal limits.",
             {"Cardiomegaly": 0, "Enlarged Cardiomediastinum": 0}),
            ("Heart size and mediastinal contours are normal.", {"Cardiomegaly": 0, "Enlarged Cardiomediastinum": 0}),
            ("The cardiac silhouette is normal in size.", {"Cardiomegaly": 0}))[int(rng.integers(3))]  # fmt: skip
        out.append(Sentence(text, marks))
    elif not heart and rng.random() < 0.7:
        out.append(Sentence("Heart size is normal.", {"Cardiomegaly": 0}))
    if EFFUSION not in names and rng.random() < 0.35:
        text = "Pulmonary vessels are congested, without edema." if heart else "There is no pulmonary edema."
        out.append(Sentence(text, {"Edema": 0}))
    if rng.random() < 0.3:
        text = _pick(rng, ("No acute osseous abnormality.", "No displaced rib fracture is identified."))
        out.append(Sentence(text, {"Fracture": 0}))
    return out


def _normal_impression(rng: Generator, *, clear: bool) -> Sentence:
    acute = ("No acute cardiopulmonary process.", "No acute cardiopulmonary abnormality.",
             "No acute intrathoracic process.", "No evidence of acute disease.")  # fmt: skip
    return Sentence(_pick(rng, (*acute, "Normal chest radiograph.") if clear else acute), {})


_REASONS = ("cough // evaluate for pneumonia", "shortness of breath", "chest pain // acute process?", "fever",
            "dyspnea // effusion?", "preoperative evaluation", "trauma // pneumothorax?", "weakness")  # fmt: skip
_TELL = {
    EFFUSION: _effusion, OPACITY: _opacity, PNEUMOTHORAX: _pneumothorax, CARDIOMEGALY: _cardiomegaly, NODULE: _nodule,
    THICKENING: _thickening, AORTA: _aorta, FIBROSIS: _fibrosis,
}  # fmt: skip
