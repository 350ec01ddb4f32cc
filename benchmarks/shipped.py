"""The shipped checkpoints: trained, compared with their untrained backbones, and put in their place.

    python benchmarks/shipped.py                           # recipes and seeds, and what is finished
    python benchmarks/shipped.py --only spcl:1,mae         # train these seeds, or go on where they stopped
    python benchmarks/shipped.py --choose --only mae       # on held-out images of seed 1: to choose recipes
    python benchmarks/shipped.py --install                 # seed 0 into encoders/weights, with card and golden features
    python benchmarks/shipped.py --table [--only mae,spcl:1]   # on the test phantom, into the document

Recipes are in ``evidence/recipes.py``. Everything that is made lies in ``--scratch``, the phantoms of seed 1 too. One
thread; two of these may run side by side with different seeds. Several steps in one command are done in this order:
train, choose, install, table; ``--only`` beside ``--table`` trains nothing. What the table says of seed 0 is measured
on the shipped files, of other seeds on those in the scratch folder; what is named by ``--only`` (default: every
shipped file, and what is in the scratch folder) is measured, and kept in ``results/shipped.json`` beside what was
measured before, unless another recipe made that.
"""

import argparse
import os
import sys
from pathlib import Path

import torch

from cxrbench.api import store_golden
from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path
from evidence.beside_untrained import Measured, in_scratch, measure, shipped, tables
from evidence.cards import install
from evidence.marked import put, table
from evidence.recipes import SHIPPED
from evidence.training import cost, draw, state, train

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "pretraining-on-the-phantom.md"
WEIGHTS = ROOT / "encoders" / "weights"
GOLDEN = ROOT / "cxrbench" / "kit" / "golden_features"
KEPT = ROOT / "benchmarks" / "results" / "shipped.json"

Runs = list[tuple[str, int]]


def chosen(only: str) -> Runs:
    """``spcl:1,mae``: runs by method and seed; a method alone is all its seeds. Raises UserError."""
    runs: Runs = []
    for word in filter(None, only.split(",")):
        method, colon, seed = word.partition(":")
        if method not in SHIPPED or (colon and seed not in map(str, range(SHIPPED[method].seeds))):
            known = ", ".join(f"{name}:0-{r.seeds - 1}" if r.seeds > 1 else name for name, r in SHIPPED.items())
            raise UserError(f"--only {word}: choose from {known}")
        runs += [(method, int(seed))] if colon else [(method, number) for number in range(SHIPPED[method].seeds)]
    return runs


def every_run() -> Runs:
    """Methods in the order in which they can be trained, first seeds first."""
    most = max(recipe.seeds for recipe in SHIPPED.values())
    return [(m, seed) for seed in range(most) for m, recipe in SHIPPED.items() if seed < recipe.seeds]


def ready(runs: Runs) -> dict[str, list[int]]:
    """Which of these are finished: seeds by method. What is not is named, and passed over."""
    found: dict[str, list[int]] = {}
    for method, seed in runs:
        if (now := state(SHIPPED[method], seed, Path())) == "finished":
            found.setdefault(method, []).append(seed)
        else:
            print(f"{method}:{seed} is {now}: left out", file=sys.stderr)
    return found


def overview() -> str:
    """A row per run: how far it is, what it has cost, and how it is typed."""
    rows = []
    for method, seed in every_run():
        recipe = SHIPPED[method]
        minutes = cost(Path(recipe.run(seed)))["cpu"] / 60
        rows.append([f"{method}:{seed}", state(recipe, seed, Path()), f"{minutes:.0f}", recipe.command(seed)])
    return table(["run", "state", "CPU minutes", "the same, typed in the scratch folder"], rows)


def newly_measured(runs: Runs) -> Measured:
    """Seed 0 of these as it ships, other seeds from the scratch folder; with what was kept, and kept with it."""
    specs = shipped([method for method, seed in runs if seed == 0])
    specs |= in_scratch(ready([(method, seed) for method, seed in runs if seed]))
    before = Measured.from_json(KEPT.read_text()).of_todays_recipes() if KEPT.exists() else Measured()
    found = before.and_newer(measure(None, Path("results-table"), specs))
    with atomic_path(KEPT) as path:
        path.write_text(found.to_json())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, default=Path("runs/shipped"))
    parser.add_argument("--only", default="", help="METHOD or METHOD:SEED, separated by commas")
    parser.add_argument("--all", action="store_true", help="train all that is missing")
    parser.add_argument("--choose", action="store_true", help="compare on held-out images of seed 1")
    parser.add_argument("--install", action="store_true", help="seed 0 of what is named (default: of all)")
    parser.add_argument("--table", action="store_true", help="compare on the test images and write the document")
    asked = parser.parse_args()
    named = chosen(asked.only)
    asked.scratch.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.scratch)
    torch.set_num_threads(1)
    for method, seed in every_run() if asked.all else [] if asked.table else named:
        train(SHIPPED[method], seed)
    runs = named or every_run()
    if asked.choose:
        found = measure(draw("phantom-choice"), Path("results-choice"), in_scratch(ready(runs)))
        for name, text in tables(found, WEIGHTS).items():
            print(f"\n{name}\n\n{text}")
    if asked.install:
        for method in dict.fromkeys(method for method, _ in runs):
            print(f"installed {install(SHIPPED[method], Path(), WEIGHTS)}")
            store_golden(method, GOLDEN / f"{method}.json")
    if asked.table:
        put(DOCUMENT, tables(newly_measured(runs), WEIGHTS))
    if not (asked.only or asked.all or asked.choose or asked.install or asked.table):
        print(overview())


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
