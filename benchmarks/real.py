"""Real images: five methods, 25 minutes of one core each, against untrained backbones over five splits by patient.

    python benchmarks/real.py --scratch DIR --data DATA               # what is finished
    python benchmarks/real.py --scratch DIR --data DATA --only spcl   # pretrain, or go on where it stopped
    python benchmarks/real.py --scratch DIR --data DATA --table       # probe, test, and write docs/real-data.md

DATA holds nih, rsna and kermany (default: ../shared/data beside the checkout, if it is there). 60% of the patients are
for pretraining, once; the test patients of all five splits come from the other 40%. So each method is pretrained once,
and no split tests on a patient whom pretraining has seen. RSNA's images are NIH's under other names: their patients are
known by the pictures themselves.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from cxrbench import api
from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
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


def tables(methods: list[str]) -> dict[str, str]:
    """The tables of docs/real-data.md by name, for the methods that are finished."""
    of = {f"{m}{at}": f"{m}{at}@{REAL[m].weights(0)}" for m, at, _ in ROWS if m in methods}
    specs = {**of, **{name: name for name in (*WITHOUT_TRAINING, *OTHERS)}}
    of_specs = probed(list(specs.values()))
    predictions = {name: of_specs[spec] for name, spec in specs.items()}
    labels = {data: scored_labels(predictions["pixels"][data]) for data in PROBED}
    scored: Scored = {
        name: {data: over_splits(of_datasets[data], labels[data]) for data in PROBED}
        for name, of_datasets in predictions.items()
    }
    values = []
    for name, of_datasets in scored.items():
        cells = [f"{number(one.values.mean())} ± {number(one.values.std(ddof=1))}" for one in of_datasets.values()]
        mean = sum(one.values.mean() for one in of_datasets.values()) / len(PROBED)
        values.append([f"`{name}`", *cells, number(float(mean))])
    tests = [
        [f"`{m}{at}`", f"`{other}`", *(compared(scored[f"{m}{at}"][data], scored[other][data]) for data in PROBED)]
        for m, at, baseline in ROWS
        if m in methods
        for other in (baseline, *OTHERS)
    ]
    titles = [name.removeprefix("real-") for name in PROBED]
    made = (
        table(["Method", "batch, lr, options", "epochs", "steps", "CPU minutes"], pretrainings(methods)),
        table(
            ["", "labels scored", "test images, by split", "test patients, by split"],
            test_sets(predictions["pixels"], labels),
        ),
        table(["Encoder", *titles, "mean"], values),
        table(["Encoder", "minus", *titles], tests),
    )
    return dict(zip(TABLES, made, strict=True))


def compared(one: OverSplits, other: OverSplits) -> str:
    """Difference and interval, in how many splits it is positive, and p."""
    found = difference(one, other)
    limits = found.interval(0.95)
    ends = [number(end, sign=True) for end in (limits.lower, limits.upper)]
    positive = int((one.values > other.values).sum())
    return f"{number(found.value, sign=True)} [{', '.join(ends)}], {positive} of {SPLITS}, p {probability(found.p())}"


def pretrainings(methods: list[str]) -> list[list[str]]:
    """What each pretraining was: a row per method."""
    rows = []
    for method in methods:
        recipe, run = within_budget(REAL[method]), Path(REAL[method].run(0))
        options = ", ".join(f"{name} {value}" for name, value in recipe.options.items())
        said = f"{recipe.settings['batch_size']}, {recipe.settings['lr']:g}{', ' if options else ''}{options}"
        minutes = f"{cost(run)['cpu'] / 60:.1f}"
        rows.append([f"`{method}`", said, str(recipe.settings["epochs"]), f"{steps(run):,}", minutes])
    return rows


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
        put(DOCUMENT, tables(done))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
