"""What an encoder need not have, and must have right where it has it: maps, a text tower, a card."""

from typing import Any

import torch

from cxrbench.encoder import NOTHING, EncoderCard, Features
from cxrbench.kit.calls import Caller, floats
from cxrbench.kit.report import PluginCheck
from cxrbench.plugins.entry_points import DATASETS, found, nearest
from cxrbench.plugins.fixed_images import relative_change
from cxrbench.plugins.loading import LoadedEncoder, shape_of

TEXTS = ["Pneumothorax.", "No acute cardiopulmonary abnormality."]


def maps(caller: Caller, seen: Features) -> list[PluginCheck]:
    """Their strides, and whether they lie as the image does."""
    if not seen.maps:
        return [PluginCheck("maps", "remark", "none: segmentation and detection will be n/a")]
    size = caller.preprocess.size
    sides = [tuple(m.shape[2:]) for m in seen.maps]
    wrong = [f"{h} x {w}" for h, w in sides if h != w or not 1 <= h <= size]
    if wrong:
        advice = "a square image has square maps [B, C, side, side]: channels first, no CLS token among the patches"
        return [PluginCheck("maps' strides", "mend", f"maps of {', '.join(wrong)} cells", advice)]
    cells = [h for h, _ in sides]
    strides = [size / h for h in cells]
    said = f"strides {', '.join(f'{s:g}' for s in strides)} of {size} pixels"
    if cells != sorted(cells, reverse=True):
        return [PluginCheck("maps' strides", "mend", said, "give them from high to low resolution")]
    uneven = [s for s in strides if abs(s - round(s)) > 0.5 / max(cells)]
    advice = "cells that are no whole number of pixels lie beside what they show: choose a size that the stride divides"
    checks = [PluginCheck("maps' strides", "remark" if uneven else "pass", said, advice if uneven else "")]
    return [*checks, _orientation(caller)]


def _orientation(caller: Caller) -> PluginCheck:
    """A change in the upper right corner of the image must show there in the first map."""
    image = caller.images([0])
    moved, size = image.clone(), caller.preprocess.size
    corner = (slice(size // 8, 3 * size // 8), slice(5 * size // 8, 7 * size // 8))
    moved[:, :, corner[0], corner[1]] = float(image.max())
    change = (caller(moved).maps[0].float() - caller(image).maps[0].float()).abs().sum(1)[0]
    side = change.shape[0]
    half = side // 2
    if half == 0:
        return PluginCheck("maps' orientation", "remark", "one cell alone shows no place")
    rows, columns = {"upper": slice(0, half), "lower": slice(side - half, side)}, {
        "left": slice(0, half), "right": slice(side - half, side),
    }  # fmt: skip
    energy = {f"{r} {c}": float(change[rs, cs].sum()) for r, rs in rows.items() for c, cs in columns.items()}
    most = max(energy, key=lambda quarter: energy[quarter])
    if energy[most] > 2 * energy["upper right"]:
        found = f"what changes in the upper right of the image shows in the {most} of the first map"
        return PluginCheck("maps' orientation", "mend", found, "rows first, then columns: do not swap H and W")
    return PluginCheck("maps' orientation", "pass", "a change in the image shows where it is")


def text_tower(caller: Caller) -> PluginCheck:
    """Whether texts and images can be compared."""
    name, module = "text tower", caller.module
    if not callable(getattr(module, "encode_text", None)):
        return PluginCheck(name, "pass", "none: zero-shot will be n/a, text retrieval maps to sentences")
    with torch.no_grad():
        texts, again = module.encode_text(list(TEXTS)), module.encode_text(list(TEXTS))
        pooled = caller(caller.images([0])).pooled
        images = module.project(pooled) if callable(getattr(module, "project", None)) else pooled
    good = isinstance(texts, torch.Tensor) and texts.ndim == 2 and len(texts) == len(TEXTS)
    if not good or not bool(texts.isfinite().all()):
        found = f"encode_text gives {shape_of(texts)} for {len(TEXTS)} texts, or NaN"
        return PluginCheck(name, "mend", found, "give one vector of finite floats per text: [n, D]")
    if texts.shape[1] != images.shape[1]:
        found = f"texts are {texts.shape[1]} wide, images {images.shape[1]}"
        advice = "give the projected image embedding as pooled, or from a method project(pooled)"
        return PluginCheck(name, "mend", found, advice)
    if relative_change(floats(texts), floats(again)) > caller.tolerance:
        return PluginCheck(name, "mend", "the same texts have other vectors in the next call", "no dropout, no chance")
    if torch.equal(texts[0], texts[1]):
        return PluginCheck(name, "mend", "different texts have the same vector", "look at the tokens that it is given")
    return PluginCheck(name, "pass", f"{texts.shape[1]} numbers per text, as many as per image")


def card(loaded: LoadedEncoder) -> PluginCheck:
    """Licence and contamination, as the leaderboard needs them."""
    said, own = loaded.spec.card, getattr(loaded.module, "card", None)
    example = 'card = EncoderCard("my method", licence="MIT", pretrained_on=("mimic", "nih"))'
    if own is None:
        return PluginCheck("card", "mend", "it has none", f"{example}, from cxrbench.encoder")
    lacking = _lacking(said)
    if lacking:
        advice = f"{example}; what has seen no chest X-ray says so: ('imagenet',), or {NOTHING}"
        return PluginCheck("card", "mend", f"it does not say {' or '.join(lacking)}", advice)
    seen = ", ".join(said.pretrained_on) or ("phantom images" if said.synthetic else "none of the data sets known here")
    told = f"{said.method}; licence {said.licence}; pretrained on {seen}"
    if said.assumed:
        return PluginCheck("card", "remark", "; ".join((told, *said.assumed)))
    known = found(DATASETS)
    alike = [(name, nearest(name, known)) for name in said.pretrained_on if name not in known and ":" not in name]
    if slips := [f"{name!r} is no data set here, {close} is" for name, close in alike if close]:
        advice = "the marks of what it has seen rest on these names: `cxrbench data list` has them"
        return PluginCheck("card", "remark", "; ".join((told, *slips)), advice)
    return PluginCheck("card", "pass", told)


def _lacking(said: EncoderCard) -> list[str]:
    facts: dict[str, Any] = {
        "its licence": said.licence.strip().lower() not in ("", "unknown"),
        # a published card was looked up: where it names no data set, the encoder has seen none of those known here
        "what it was pretrained on": bool(said.pretrained_on or said.synthetic or said.citation),
    }
    return [what for what, is_there in facts.items() if not is_there]
