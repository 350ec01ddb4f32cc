"""Real images: five methods, 25 minutes of one core each, against untrained backbones over five splits by patient.

    python benchmarks/real.py --scratch DIR --data DATA               # what is finished
    python benchmarks/real.py --scratch DIR --data DATA --only spcl   # pretrain, or go on where it stopped
    python benchmarks/real.py --scratch DIR --data DATA --table       # probe, test, and write docs/real-data.md

DATA holds nih, rsna and kermany (default: ../shared/data beside the checkout, if it is there). 60% of the patients are
for pretraining, once; the test patients of all five splits come from the other 40%. So each method is pretrained once,
and no split tests on a patient whom pretraining has seen. RSNA's images are NIH's under other names: their patients are
known by the pictures themselves. What was found of a method is kept in results/real.json, whatever becomes of DIR.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cxrbench import api
from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path
from cxrbench.predictions import Predictions
from evidence.marked import number, probability, put, table
from evidence.patient_splits import SPLITS, pretraining_split, same_patients, sides, split_of, write_dataset
from evidence.probing import probe
from evidence.recipes import Recipe
from evidence.split_tests import OverSplits, difference, over_splits, scored_labels
from evidence.training import CACHE, cost, steps, train

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "real-data.md"
BUDGET = 25 * 60.0
"""Seconds of one core for each pretraining, decoding and start not counted."""
MEASURED_EPOCHS = 3
PROBED = ("real-nih", "real-rsna", "real-kermany")
PRETRAINED = ("real-nih", "real-kermany")


def _micro(batch_size: int, lr: float, **more: object) -> dict[str, object]:
    return {"arch": "micro", "batch_size": batch_size, "lr": lr, **more}


DATA = tuple(f"pretraining/{name}/labels.csv" for name in PRETRAINED)
# Chosen before any of them was tested: what the phantom taught (small batches and so many steps; MAE with plain patches
# and crops; RadJEPA's momentum), nothing of these images.
REAL = {
    recipe.method: recipe
    for recipe in (
        Recipe("spcl", DATA, _micro(128, 5e-4)),
        Recipe("radjepa", DATA, _micro(64, 5e-4), {"momentum": "0.996"}),
        Recipe("supervised", DATA, _micro(32, 5e-4)),
        Recipe("mae", DATA, _micro(32, 5e-4), {"ratio": "0.75", "norm_pix": "false", "augment": "true"}),
        Recipe("mvmae", DATA, _micro(32, 5e-4, warmup=0.1), {"mask": "0.75", "decoder_depth": "2", "max_views": "1"}),
    )
}
ROWS = (
    ("spcl", "", "random:micro"),
    ("spcl", ":cls", "random:micro:cls"),
    ("radjepa", "", "random:radjepa:micro"),
    ("supervised", "", "random:micro"),
    ("mae", "", "random:micro:cls"),
    ("mae", ":mean", "random:micro"),
    ("mvmae", "", "random:mvmae:micro"),
    ("mvmae", ":mean", "random:micro"),
)
"""Method, where it is read (after the colon), and the untrained backbone that it stands beside."""
WITHOUT_TRAINING = tuple(dict.fromkeys(baseline for *_, baseline in ROWS))
OTHERS = ("imagenet", "pixels")
Scored = dict[str, dict[str, OverSplits]]
"""By encoder and data set."""
Kept = dict[str, dict[str, Any]]
"""Rows of the tables by method, and of what stands beside all methods."""
KEPT = ROOT / "benchmarks" / "results" / "real.json"
OTHER_ROWS = "without training"
TABLES = ("pretraining", "test sets", "values", "differences")


def write_splits(data: Path) -> None:
    """``pretraining/`` and ``split-K/`` in the working folder, with a CSV for each data set."""
    if Path("splits.json").exists():
        return
    nih, rsna = (api.load_dataset(name, data=data, cache=CACHE) for name in ("nih", "rsna"))
    kermany = api.load_dataset(str(data / "kermany" / "labels.csv"), cache=CACHE)
    of: dict[str, tuple[Manifest, list[str]]] = {
        "real-nih": (nih, nih.images["patient_id"].tolist()),
        "real-rsna": (rsna, same_patients(rsna, nih)),
        "real-kermany": (kermany, kermany.images["patient_id"].tolist()),
    }
    side = sides(of["real-nih"][1]) | sides(of["real-kermany"][1])
    strangers = sorted(set(of["real-rsna"][1]) - set(side))
    side |= dict.fromkeys(strangers, "pretraining")  # nobody knows who they are, so no split tests on them
    for name in PRETRAINED:
        write_dataset(Path("pretraining"), name, *of[name], pretraining_split(of[name][1], side))
    for split in range(SPLITS):
        of_patient = split_of(strangers, side, split)
        for name in PRETRAINED:
            of_patient |= split_of(of[name][1], side, split)
        for name, (manifest, ids) in of.items():
            write_dataset(Path(f"split-{split}"), name, manifest, ids, of_patient)
    held_out = {name: sum(side[patient] == "held_out" for patient in set(ids)) for name, (_, ids) in of.items()}
    Path("splits.json").write_text(json.dumps({"patients held out": held_out, "strangers": len(strangers)}))


def within_budget(recipe: Recipe) -> Recipe:
    """The recipe with as many epochs as fill the budget at the rate that is measured now, or was before a break.

    The rate is the processor time of two epochs: of a run of three less that of a run of one, so that start, decoding
    and saving, which both have, do not count.
    """
    kept = Path(recipe.run(0)).with_suffix(".rate.json")
    if not kept.exists():
        seconds = {}
        for epochs in (1, 1, MEASURED_EPOCHS):  # the first pays for imports and decoding
            out, before = Path("rate") / f"{recipe.method}-{time.time_ns()}", time.process_time()
            settings = {**recipe.settings, "epochs": epochs}
            api.pretrain(recipe.method, recipe.data, out=out, cache=CACHE, options=recipe.options, **settings)
            seconds[epochs] = time.process_time() - before
        rate = (seconds[MEASURED_EPOCHS] - seconds[1]) / (MEASURED_EPOCHS - 1)
        kept.write_text(json.dumps({"seconds_per_epoch": rate, "epochs": max(1, round(BUDGET / rate))}))
    epochs = json.loads(kept.read_text())["epochs"]
    return Recipe(recipe.method, recipe.data, {**recipe.settings, "epochs": epochs}, recipe.options)


def probed(specs: Sequence[str]) -> dict[str, dict[str, list[Predictions]]]:
    """Predictions by encoder and data set, a list over the splits; computed now unless they are there."""
    found: dict[str, dict[str, list[Predictions]]] = {spec: {name: [] for name in PROBED} for spec in specs}
    for split in range(SPLITS):
        results = Path(f"results-{split}")
        tasks = [f"./split-{split}/{name}/labels.csv:classification" for name in PROBED]
        probe(specs, tasks, results=results, cache=CACHE)
        for spec, of_datasets in found.items():
            for name, of_splits in of_datasets.items():
                of_splits.append(api.find_cell(f"{name}:classification", encoder=spec, results=results))
    return found


def found_now(methods: Sequence[str]) -> Kept:
    """What is to be kept of these methods, which are finished, and of what stands beside all of them."""
    of = {f"{m}{at}": f"{m}{at}@{REAL[m].weights(0)}" for m, at, _ in ROWS if m in methods}
    specs = {**of, **{name: name for name in (*WITHOUT_TRAINING, *OTHERS)}}
    of_specs = probed(list(specs.values()))
    predictions = {name: of_specs[spec] for name, spec in specs.items()}
    labels = {data: scored_labels(predictions["pixels"][data]) for data in PROBED}
    scored: Scored = {
        name: {data: over_splits(of_datasets[data], labels[data]) for data in PROBED}
        for name, of_datasets in predictions.items()
    }
    values = {name: value_row(name, of_datasets) for name, of_datasets in scored.items()}
    kept: Kept = {
        OTHER_ROWS: {
            "values": [row for name, row in values.items() if name not in of],
            "test sets": test_sets(predictions["pixels"], labels),
        }
    }
    for method in methods:
        mine = [(f"{m}{at}", baseline) for m, at, baseline in ROWS if m == method]
        tests = [
            [f"`{name}`", f"`{other}`", *(compared(scored[name][data], scored[other][data]) for data in PROBED)]
            for name, baseline in mine
            for other in (baseline, *OTHERS)
        ]
        kept[method] = {
            "recipe": recipe_text(method), "pretraining": [pretraining_row(method)],
            "values": [values[name] for name, _ in mine], "differences": tests,
        }  # fmt: skip
    return kept


def value_row(name: str, of_datasets: Mapping[str, OverSplits]) -> list[str]:
    """An encoder's AUROCs: mean and standard deviation over the splits, and the mean of the data sets."""
    cells = [f"{number(one.values.mean())} ± {number(one.values.std(ddof=1))}" for one in of_datasets.values()]
    mean = sum(one.values.mean() for one in of_datasets.values()) / len(PROBED)
    return [f"`{name}`", *cells, number(float(mean))]


def recipe_text(method: str) -> str:
    """What tells a recipe from another; how many epochs fill the budget, the machine decides."""
    recipe = REAL[method]
    return json.dumps([recipe.data, dict(recipe.settings), dict(recipe.options), BUDGET])


def tables(kept: Kept) -> dict[str, str]:
    """The tables of docs/real-data.md by name, of what is kept and of today's recipes."""
    methods = [m for m in REAL if kept.get(m, {}).get("recipe") == recipe_text(m)]
    others = kept[OTHER_ROWS]
    left = [f"`{m}`" for m in REAL if m not in methods]
    titles = [name.removeprefix("real-") for name in PROBED]
    made = (
        table(
            ["Method", "batch, lr, options", "epochs", "steps", "CPU minutes"],
            [row for m in methods for row in kept[m]["pretraining"]],
        )
        + (f"\n\nNot measured yet: {', '.join(left)}." if left else ""),
        table(["", "labels scored", "test images, by split", "test patients, by split"], others["test sets"]),
        table(["Encoder", *titles, "mean"], [*(r for m in methods for r in kept[m]["values"]), *others["values"]]),
        table(["Encoder", "minus", *titles], [row for m in methods for row in kept[m]["differences"]]),
    )
    return dict(zip(TABLES, made, strict=True))


def compared(one: OverSplits, other: OverSplits) -> str:
    """Difference and interval, in how many splits it is positive, and p."""
    found = difference(one, other)
    limits = found.interval(0.95)
    ends = [number(end, sign=True) for end in (limits.lower, limits.upper)]
    positive = int((one.values > other.values).sum())
    return f"{number(found.value, sign=True)} [{', '.join(ends)}], {positive} of {SPLITS}, p {probability(found.p())}"


def pretraining_row(method: str) -> list[str]:
    """What a pretraining was."""
    recipe, run = within_budget(REAL[method]), Path(REAL[method].run(0))
    options = ", ".join(f"{name} {value}" for name, value in recipe.options.items())
    said = f"{recipe.settings['batch_size']}, {recipe.settings['lr']:g}{', ' if options else ''}{options}"
    minutes = f"{cost(run)['cpu'] / 60:.1f}"
    return [f"`{method}`", said, str(recipe.settings["epochs"]), f"{steps(run):,}", minutes]


def test_sets(predictions: dict[str, list[Predictions]], labels: dict[str, tuple[str, ...]]) -> list[list[str]]:
    """What is tested on: a row per data set."""
    rows = []
    for name, of_splits in predictions.items():
        frames = [one.test_rows() for one in of_splits]
        rows.append([
            name.removeprefix("real-"), ", ".join(labels[name]), ", ".join(str(len(frame)) for frame in frames),
            ", ".join(str(frame["patient_id"].nunique()) for frame in frames),
        ])  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, default=Path("runs/real"))
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", default="", help=f"methods to pretrain, separated by commas: {', '.join(REAL)}, all")
    parser.add_argument("--table", action="store_true", help="probe what is finished and write the document")
    asked = parser.parse_args()
    if not (asked.data / "nih").is_dir():
        print(f"no real images in {asked.data}: give --data DIR, with nih, rsna and kermany in it; nothing was done")
        return
    data = asked.data.resolve()
    asked.scratch.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.scratch)
    torch.set_num_threads(1)
    write_splits(data)
    wanted = list(REAL) if asked.only == "all" else [name for name in asked.only.split(",") if name]
    if unknown := sorted(set(wanted) - set(REAL)):
        raise UserError(f"--only {unknown[0]}: choose from {', '.join(REAL)}, all")
    for method in wanted:
        train(within_budget(REAL[method]), 0)
    done = [method for method, recipe in REAL.items() if Path(recipe.weights(0)).exists()]
    print(f"pretrained: {', '.join(done) or 'none'} of {', '.join(REAL)}")
    if asked.table:
        before: Kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        kept = {**before, **found_now(done)}
        with atomic_path(KEPT) as path:
            path.write_text(json.dumps(kept, indent=1) + "\n")
        put(DOCUMENT, tables(kept))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
