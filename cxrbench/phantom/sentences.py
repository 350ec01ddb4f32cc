"""What a reader of a phantom image writes: sentences in varied words, each with the CheXpert labels that it mentions.

A label is asserted (1), denied (0) or hedged (-1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from numpy.random import Generator

from cxrbench.phantom.findings import (
    AORTA,
    CARDIOMEGALY,
    EFFUSION,
    FIBROSIS,
    NODULE,
    OPACITY,
    PNEUMOTHORAX,
    THICKENING,
)

Marks = Mapping[str, int]
SIZES = {"small": ("tiny", "small", "trace"), "moderate": ("moderate", "moderate-sized"), "large": ("large", "sizable")}
EXTENTS = {"small": ("mild", "minimal", "slight"), "moderate": ("moderate",), "large": ("severe", "marked")}


class Sentence(NamedTuple):
    """One sentence and the labels that it mentions."""

    text: str
    marks: Marks


@dataclass(frozen=True)
class SeenFinding:
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


def tell(entry: SeenFinding, rng: Generator) -> tuple[Sentence, Sentence]:
    """A finding in the words of the findings section, and in those of the impression."""
    return _TELL[entry.name](entry, rng)


def pick(rng: Generator, options: Sequence[str]) -> str:
    """One of the wordings."""
    return options[int(rng.integers(len(options)))]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _sided(side: str) -> str:
    return "bilateral" if side == "bilateral" else f"{side}-sided"


def _effusion(e: SeenFinding, rng: Generator) -> tuple[Sentence, Sentence]:
    size, marks = pick(rng, SIZES[e.level]), {"Pleural Effusion": 1}
    text = pick(rng, (
        f"There is a {size} {e.side} pleural effusion.",
        f"A {size} {_sided(e.side)} pleural effusion is present.",
        f"Blunting of the {e.side} costophrenic angle reflects a {size} pleural effusion.",
        f"{_capital(size)} {e.side} pleural fluid layers posteriorly.",
    ))  # fmt: skip
    if e.level == "large" and rng.random() < 0.7:
        sure = rng.random() < 0.6
        text += (
            f" {pick(rng, ('Associated', 'Adjacent'))} compressive atelectasis is {'present' if sure else 'likely'}."
        )
        marks = {**marks, "Atelectasis": 1 if sure else -1}
    elif e.level != "small" and rng.random() < 0.5:
        text += " There is mild interstitial pulmonary edema."
        marks = {**marks, "Edema": 1}
    return Sentence(text, marks), Sentence(f"{_capital(size)} {e.side} pleural effusion.", {"Pleural Effusion": 1})


def _opacity(e: SeenFinding, rng: Generator) -> tuple[Sentence, Sentence]:
    where = "in both lungs" if e.side == "bilateral" else f"in the {e.side} {e.zone} lung"
    kind, marks = pick(rng, ("patchy opacity", "hazy opacity", "airspace opacity")), {"Lung Opacity": 1}
    extent = pick(rng, EXTENTS[e.level])
    text = pick(rng, (
        f"There is {extent} {kind} {where}.",
        f"{_capital(kind)} {where} is {extent}.",
        f"{_capital(extent)} {kind} is seen {where}.",
    ))  # fmt: skip
    if e.level == "large":
        text = text.replace("opacity", "opacity with consolidation", 1)
        marks = {**marks, "Consolidation": 1}
        short, sure = f"Consolidation {where}, compatible with pneumonia.", {"Pneumonia": 1, "Consolidation": 1}
    elif e.level == "moderate":
        short = f"{_capital(kind)} {where}, {pick(rng, ('concerning for', 'which may represent'))} pneumonia."
        sure = {"Lung Opacity": 1, "Pneumonia": -1}
    elif e.zone == "lower" and rng.random() < 0.7:
        short = f"{_capital(extent)} {kind} {where}, consistent with atelectasis."
        sure = {"Lung Opacity": 1, "Atelectasis": 1}
    else:
        doubt = pick(rng, ("atelectasis", "early pneumonia"))
        short = f"{_capital(extent)} {kind} {where} could reflect {doubt}."
        sure = {"Lung Opacity": 1, "Atelectasis" if doubt == "atelectasis" else "Pneumonia": -1}
    return Sentence(text, marks), Sentence(short, sure)


def _pneumothorax(e: SeenFinding, rng: Generator) -> tuple[Sentence, Sentence]:
    size = pick(rng, SIZES[e.level])
    if e.grade < 0.12:
        text = f"A thin line along the {e.side} apex raises the question of a tiny pneumothorax."
        return Sentence(text, {"Pneumothorax": -1}), Sentence(
            f"Possible tiny {e.side} pneumothorax.", {"Pneumothorax": -1}
        )
    text = pick(rng, (
        f"There is a {size} {e.side} pneumothorax.",
        f"A {size} {_sided(e.side)} pneumothorax is present, with a visible visceral pleural line.",
        f"The {e.side} lung is partly collapsed by a {size} pneumothorax.",
    ))  # fmt: skip
    return Sentence(text, {"Pneumothorax": 1}), Sentence(
        f"{_capital(size)} {e.side} pneumothorax.", {"Pneumothorax": 1}
    )


def _cardiomegaly(e: SeenFinding, rng: Generator) -> tuple[Sentence, Sentence]:
    extent = pick(rng, EXTENTS[e.level])
    adverb = {"mild": "mildly", "minimal": "minimally", "slight": "slightly", "moderate": "moderately",
              "severe": "severely", "marked": "markedly"}[extent]  # fmt: skip
    text = pick(rng, (
        f"The cardiac silhouette is {adverb} enlarged.",
        f"The heart is {adverb} enlarged.",
        f"There is {extent} cardiomegaly.",
    ))  # fmt: skip
    return Sentence(text, {"Cardiomegaly": 1}), Sentence(f"{_capital(extent)} cardiomegaly.", {"Cardiomegaly": 1})


def _nodule(e: SeenFinding, rng: Generator) -> tuple[Sentence, Sentence]:
    marks = {"Lung Lesion": 1}
    mass = "mass" if e.grade > 0.65 else "nodule"
    where = "both lungs" if e.side == "bilateral" else f"the {e.side} {e.zone} lung"
    if e.count > 1:
        many = "masses" if mass == "mass" else "nodules"
        counted, several = f"There are {e.count} pulmonary", "Several rounded"
        text = pick(rng, (f"{counted} {many} in {where}.", f"{several} {many} project over {where}."))
        short = f"Multiple pulmonary {many}; CT is recommended."
    else:
        text = pick(rng, (f"A rounded {mass} projects over {where}.", f"There is a {mass} in {where}."))
        short = pick(rng, (f"{_capital(e.side)} lung {mass}; CT is recommended.",
                            f"{_capital(mass)} in {where}, for which chest CT is advised."))  # fmt: skip
    return Sentence(text, marks), Sentence(short, marks)


def _thickening(e: SeenFinding, rng: Generator) -> tuple[Sentence, Sentence]:
    place = "apical" if e.zone == "upper" else "lateral"
    extent, marks = pick(rng, EXTENTS[e.level]), {"Pleural Other": 1}
    text = pick(rng, (f"There is {extent} {e.side} {place} pleural thickening.",
                       f"{_capital(extent)} pleural thickening is noted on {_both(e.side)}."))  # fmt: skip
    return Sentence(text, marks), Sentence(f"{_capital(e.side)} pleural thickening.", marks)


def _both(side: str) -> str:
    return "both sides" if side == "bilateral" else f"the {side} side"


def _aorta(e: SeenFinding, rng: Generator) -> tuple[Sentence, Sentence]:
    marks = {"Enlarged Cardiomediastinum": 1}
    extent = pick(rng, EXTENTS[e.level])
    text = pick(rng, (
        f"The mediastinum is widened by {extent} enlargement of the aortic knob.",
        f"There is {extent} dilatation of the thoracic aorta, which widens the mediastinum.",
    ))  # fmt: skip
    return Sentence(text, marks), Sentence("Widened mediastinum due to an enlarged aorta.", marks)


def _fibrosis(e: SeenFinding, rng: Generator) -> tuple[Sentence, Sentence]:
    extent, marks = pick(rng, EXTENTS[e.level]), {"Pleural Other": 1}
    text = pick(rng, (f"{_capital(extent)} reticular markings at both bases are consistent with fibrosis.",
                       f"There is {extent} bibasilar fibrosis.",
                       f"A {extent} basilar reticular pattern indicates pulmonary fibrosis."))  # fmt: skip
    return Sentence(text, marks), Sentence(f"{_capital(extent)} pulmonary fibrosis.", marks)


def device_sentence(rng: Generator) -> Sentence:
    """A pacemaker, which every reader mentions."""
    text = pick(rng, ("A left pectoral pacemaker has its leads in the right atrium and right ventricle.",
                       "Dual-lead pacemaker is in unchanged position."))  # fmt: skip
    return Sentence(text, {"Support Devices": 1})


def denials(names: set[str], rng: Generator) -> list[Sentence]:
    """What a reader says is not there, or is normal; about each organ some say nothing."""
    out: list[Sentence] = []
    no_fluid, no_air = EFFUSION not in names, PNEUMOTHORAX not in names
    if no_fluid and no_air and rng.random() < 0.7:
        text = pick(rng, (
            "There is no pleural effusion or pneumothorax.", "No pleural effusion or pneumothorax is seen.",
            "No pneumothorax or pleural effusion.",
        ))  # fmt: skip
        out.append(Sentence(text, {"Pleural Effusion": 0, "Pneumothorax": 0}))
    else:
        if no_fluid and rng.random() < 0.6:
            out.append(Sentence("There is no pleural effusion.", {"Pleural Effusion": 0}))
        if no_air and rng.random() < 0.75:
            out.append(Sentence(pick(rng, ("There is no pneumothorax.", "No pneumothorax.")), {"Pneumothorax": 0}))
    lungs = names & {OPACITY, NODULE, FIBROSIS, EFFUSION}
    if not lungs and rng.random() < 0.85:
        text = pick(rng, (
            "The lungs are clear.", "The lungs are well expanded and clear.", "No focal consolidation is seen.",
            "The lungs are clear without focal consolidation.",
        ))  # fmt: skip
        out.insert(0, Sentence(text, {"Consolidation": 0} if "consolidation" in text else {}))
    elif OPACITY not in names and rng.random() < 0.5:
        out.append(Sentence("There is no focal consolidation.", {"Consolidation": 0}))
    heart, wide = CARDIOMEGALY in names, AORTA in names
    if not heart and not wide and rng.random() < 0.8:
        text = pick(rng, (
            "The cardiomediastinal silhouette is within normal limits.",
            "Heart size and mediastinal contours are normal.", "The cardiac silhouette is normal in size.",
        ))  # fmt: skip
        both = {"Cardiomegaly": 0, "Enlarged Cardiomediastinum": 0}
        out.append(Sentence(text, both if "mediastinal" in text else {"Cardiomegaly": 0}))
    elif not heart and rng.random() < 0.7:
        out.append(Sentence("Heart size is normal.", {"Cardiomegaly": 0}))
    if EFFUSION not in names and rng.random() < 0.35:
        text = "Pulmonary vessels are congested, without edema." if heart else "There is no pulmonary edema."
        out.append(Sentence(text, {"Edema": 0}))
    if rng.random() < 0.3:
        text = pick(rng, ("No acute osseous abnormality.", "No displaced rib fracture is identified."))
        out.append(Sentence(text, {"Fracture": 0}))
    return out


def normal_impression(rng: Generator, *, clear: bool) -> Sentence:
    """The impression of an image without anything worth repeating; ``clear``: without any finding at all."""
    acute = ("No acute cardiopulmonary process.", "No acute cardiopulmonary abnormality.",
             "No acute intrathoracic process.", "No evidence of acute disease.")  # fmt: skip
    return Sentence(pick(rng, (*acute, "Normal chest radiograph.") if clear else acute), {})


_TELL = {
    EFFUSION: _effusion, OPACITY: _opacity, PNEUMOTHORAX: _pneumothorax, CARDIOMEGALY: _cardiomegaly, NODULE: _nodule,
    THICKENING: _thickening, AORTA: _aorta, FIBROSIS: _fibrosis,
}  # fmt: skip
