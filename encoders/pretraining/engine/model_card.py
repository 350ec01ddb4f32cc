"""What a pretrained encoder says of itself: the facts in its file, and the same as a page to read."""

import hashlib
import importlib.metadata
import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard
from cxrbench.encoders.backbones.checkpoint import encoder_facts
from cxrbench.encoders.pretraining.corpus import TrainingImages
from cxrbench.encoders.pretraining.engine.flops import StepCost
from cxrbench.encoders.pretraining.method import Objective

CLOCKS = {"wall": "on the clock", "gpu": "of GPUs", "cpu": "of CPU cores"}


def run_facts(
    method: str,
    objective: Objective,
    options: Any,
    settings: Mapping[str, Any],
    manifests: Sequence[Manifest],
    images: TrainingImages,
    corpus: Mapping[str, Any],
    cost: StepCost,
) -> dict[str, Any]:
    """Everything that the result must say of itself. Phantom images are not the datasets whose layouts they imitate."""
    counts = {name: len(rows) for name, rows in images.rows.groupby("dataset")}
    used = [m for m in manifests if m.name in counts]
    names = {f"phantom:{m.name}" if m.synthetic else name for m in used for name in (m.name, *m.lineage)}
    synthetic = any(m.synthetic for m in used)
    free = all(m.synthetic for m in used)
    if (before := objective.inherited) is not None:
        names |= set(before.pretrained_on)
        synthetic, free = synthetic or before.synthetic, free and before.licence == "Apache-2.0"
    licence = "Apache-2.0" if free else "unknown"
    card = EncoderCard(method, licence, tuple(sorted(names)), synthetic)
    patients = {name: len(set(rows["patient_id"])) for name, rows in images.rows.groupby("dataset")}
    ids = images.rows[["dataset", "image_id"]].to_csv(index=False)
    return encoder_facts(method, objective.architecture(), objective.preprocess, card) | {
        "config": dict(settings),
        "options": asdict(options) if is_dataclass(options) and not isinstance(options, type) else {},
        "images": {m.name: counts[m.name] for m in used},
        "patients": {m.name: patients[m.name] for m in used},
        "corpus": dict(corpus),
        "unreadable": len(images.prepared.dropped),
        "image_set": hashlib.sha256(ids.encode()).hexdigest(),
        "gflops_per_unit": cost._asdict(),
        "parameters": sum(p.numel() for p in objective.kept().parameters()),
        "cxrbench": cxrbench_version(),
        "torch": torch.__version__,
    }


def with_training(facts: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """The facts with what training said of itself; its hours stand on the encoder's card, too, where boards read it."""
    hours = {f"{kind}_hours": hours for kind, hours in training.get("hours", {}).items()}
    return {**facts, "card": {**facts["card"], **hours}, "training": dict(training)}


def cxrbench_version() -> str:
    """The git commit of the checkout that this code runs from, or the installed version."""
    root = Path(__file__).resolve().parents[3]
    if (root / ".git").exists():  # if it is further up, it is the user's own repository
        git = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        with suppress(OSError, subprocess.CalledProcessError):
            return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    return importlib.metadata.version("cxrbench")


def card_text(facts: Mapping[str, Any]) -> str:
    """The model card, in Markdown."""
    card, config, cost = facts["card"], facts["config"], facts["gflops_per_unit"]
    data = [
        f"{name}: {count:,} images of {facts['patients'][name]:,} patients" for name, count in facts["images"].items()
    ]
    data += [f"{name}: {value}" for name, value in facts["corpus"].items()]
    looked_for = facts.get("excluded_patients")
    excluded = ", ".join(f"{count:,} of {name}" for name, count in (looked_for or {}).items() if count)
    left = "Patients with a validation or test image were left out"
    left += f", and so were patients whom a related dataset holds out: {excluded}." if excluded else "."
    if looked_for is None:
        left += " Patients whom related datasets hold out were **not** looked for (--keep-held-out)."
    left += "".join(f" {line}." for line in facts.get("chosen_images", ()))
    left += f" {facts['unreadable']:,} unreadable images were left out." if facts["unreadable"] else ""
    began = facts.get("began_from", {"weights": "random"})
    warning = "Pretrained on **synthetic** images: fit for phantom data, and for nothing else.\n\n"
    return (
        f"# {facts['method']}\n\n{warning if card['synthetic'] else ''}"
        f"* Pretrained on: {', '.join(card['pretrained_on'])}. Licence of the weights: {card['licence']}.\n"
        f"* Data: {'; '.join(data)}. {left}\n"
        f"* Began from: {', '.join(f'{name} {value}' for name, value in began.items() if value)}.\n"
        f"* Encoder: {facts['parameters']:,} parameters, `{json.dumps(facts['arch'])}`\n"
        f"* Cost: {cost['forward']:.3g} GFLOPs per unit forward, {cost['training']:.3g} in training "
        "(a multiply-add is two).\n"
        f"{trained_lines(facts.get('training') or {})}"
        f"* Code: cxrbench {facts['cxrbench']}, torch {facts['torch']}\n\n"
        f"Made by:\n\n```\n{facts.get('command') or 'cxrbench pretrain, called as a function'}\n```\n\n"
        f"Options of the method:\n\n```json\n{json.dumps(facts['options'], indent=1)}\n```\n\n"
        f"Configuration:\n\n```json\n{json.dumps(config, indent=1, default=str)}\n```\n"
    )


def trained_lines(training: Mapping[str, Any]) -> str:
    """What training said of itself: figures of the images that were watched, and every collapse. Nothing before it."""
    lines = []
    if hours := training.get("hours"):
        told = ", ".join(f"{hours[kind]:.3g} h {name}" for kind, name in CLOCKS.items() if kind in hours)
        lines.append(f"* Training took {told}.\n")
    if watched := training.get("watched"):
        figures = [
            f"{figure.replace('_', ' ')}{f' of {name}' if name else ''} {shown(start)} at step {watched['first_step']}"
            f" and {shown(watched['now'][name][figure])} at step {watched['step']}"
            for name, starts in watched["start"].items()
            for figure, start in starts.items()
        ]
        lines.append(f"* Pooled embeddings of {watched['images']}: {'; '.join(figures)}.\n")
    if probe := training.get("probe"):
        lines.append(
            f"* Linear probe of validation images' labels: mean AUROC {shown(probe['start'])} at the start and "
            f"{shown(probe['now'])} at step {probe['step']}.\n"
        )
    for one in training.get("collapsed", ()):
        encoder = f" of the {one['encoder']} encoder" if one["encoder"] else ""
        lines.append(f"* **Collapsed** to {one['to']} at step {one['step']}: embeddings{encoder}, {one['why']}.\n")
    return "".join(lines)


def shown(value: float | None) -> str:
    """A figure, or a dash where it is undefined."""
    return "–" if value is None else f"{value:.3g}"
