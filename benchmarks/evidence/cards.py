"""Into encoders/weights: a checkpoint, and its card, written from the recipe and from what the file says of itself."""

import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path
from cxrbench.phantom.write import VERSION
from evidence.beside_untrained import units
from evidence.recipes import PHANTOM_SEED, Recipe, drawing_command
from evidence.training import cost, facts_of, finished, steps

WIDTH = 140
LARGEST = 4_000_000
"""Bytes that a checkpoint may have to be shipped."""
DOCUMENT = "docs/pretraining-on-the-phantom.md"


def install(recipe: Recipe, scratch: Path, weights: Path) -> Path:
    """Copy a recipe's seed 0 to ``weights/METHOD_phantom.safetensors`` and write its card beside it.

    Raises UserError if it is not finished, or too large to be shipped.
    """
    made = finished(recipe, 0, scratch)
    if (size := made.stat().st_size) > LARGEST:
        raise UserError(f"{made} has {size:,} bytes, and {LARGEST:,} may be shipped")
    target = weights / f"{recipe.method}_phantom.safetensors"
    with atomic_path(target) as temporary:
        shutil.copyfile(made, temporary)
    facts = facts_of(made, recipe.method)
    text = card(recipe, facts, steps(made.parent), cost(made.parent))
    with atomic_path(target.with_suffix(".md")) as temporary:
        temporary.write_text(text)
    return target


def card(recipe: Recipe, facts: Mapping[str, Any], taken: int, spent: Mapping[str, float]) -> str:
    """The page beside a shipped checkpoint. ``spent``: seconds, where the file does not know its hours."""
    name = f"{recipe.method}_phantom.safetensors"
    about = (
        f"{recipe.title} (`{facts['config']['arch']}`: {backbone(facts['arch'])}), pretrained by this code on phantom "
        f"{recipe.learns_from} of seed {PHANTOM_SEED} (version {VERSION}); the phantom that encoders are evaluated on "
        f"has seed 0. It is what `{recipe.method}` means on phantom data, and fit for nothing else. Made by:"
    )
    count, word = units(facts)
    images = sum(facts["images"].values())
    of_images = "" if word == "images" else f" ({images:,} images)"
    hours = facts.get("training", {}).get("hours", {}) or {name: seconds / 3600 for name, seconds in spent.items()}
    took = f", {hours['wall']:.1f} hours ({hours['cpu']:.1f} of one core's time)" if hours.get("cpu") else ""
    note = f" {recipe.note}" if recipe.note else ""
    tail = (
        f"{count:,} training {word}{of_images}, {taken:,} steps of {facts['config']['batch_size']}{took}.{note} "
        f"Against the untrained backbone, and why: {DOCUMENT}. All of this in one: "
        f"`python benchmarks/shipped.py --only {recipe.method}:0 --install`."
    )
    commands = [drawing_command(recipe.folder), recipe.command(0), f"cp {recipe.weights(0)} encoders/weights/{name}"]
    block = "\n".join(folded(command) for command in commands)
    return f"# {name}\n\n{_prose(about)}\n\n```\n{block}\n```\n\n{_prose(tail)}\n"


def _prose(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)  # whole paths


def folded(command: str) -> str:
    """A command in lines that a shell joins."""
    return " \\\n    ".join(textwrap.wrap(command, WIDTH - 6, break_long_words=False, break_on_hyphens=False))


def backbone(arch: Mapping[str, Any]) -> str:
    """An architecture in words."""
    vit = arch.get("image", arch)  # FaNe's file also says what its text tower is
    words = f"ViT {vit['width']} wide, {vit['depth']} deep, patch {vit['patch']}, {vit['size']} px, "
    words += "gray" if vit["channels"] == 1 else "colour"
    return words if vit.get("class_token", True) else f"{words}, no CLS token"
