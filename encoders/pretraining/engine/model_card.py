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
        f"* Code: cxrbench {facts['cxrbench']}, torch {facts['torch']}\n\n"
        f"Made by:\n\n```\n{facts.get('command') or 'cxrbench pretrain, called as a function'}\n```\n\n"
        f"Options of the method:\n\n```json\n{json.dumps(facts['options'], indent=1)}\n```\n\n"
        f"Configuration:\n\n```json\n{json.dumps(config, indent=1, default=str)}\n```\n"
    )
