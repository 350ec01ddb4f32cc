"""Does RadJEPA gain anything over its untrained backbone? Longer trainings, on phantom and on real images.

    python benchmarks/radjepa.py --scratch DIR                 # the table of what is measured
    python benchmarks/radjepa.py --scratch DIR --only NAME     # train one cell, or go on where it stopped
    python benchmarks/radjepa.py --scratch DIR --all           # all that are left, one after the other
    python benchmarks/radjepa.py --scratch DIR --list          # their names, and which are measured

A cell is a training in a folder of its own; what was found of it is kept in results/radjepa.json, whatever becomes of
the folder. Phantom images are those of seed 1, drawn into DIR/phantom; settings are
chosen by their test images, and the phantom of seed 0 is not looked at. Real images: nih and kermany of --data. One
thread, float32: bf16 is no faster here (a step of 32 of nano takes 0.34 s of processor time either way).
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from report import write_report

from cxrbench import api
from cxrbench.data.manifest import Manifest
from cxrbench.encoders.backbones.checkpoint import read_encoder, write_encoder
from cxrbench.engine.results import Results
from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path
from cxrbench.files.checkpoints import read_checkpoint
from cxrbench.leaderboard.statistics.bootstrap import replicate
from cxrbench.metrics.classification import Weights, auroc
from cxrbench.phantom.write import write
from cxrbench.predictions import Predictions
from evidence.embeddings import directions, embedded
from evidence.marked import put, table

PHANTOM = {"vindr_train": 1200, "vindr_test": 400, "rsna": 1400, "siim": 1200}
TASKS = {"phantom": ("vindr", "rsna", "siim"), "real": ("nih", "kermany")}
READ = ("mean", "mean+sd")
REPLICATES = 2000
FEWEST = 10  # images with, and without, a label that is scored
BATCH = 32
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "pretraining-on-the-phantom.md"
KEPT = Path(__file__).with_name("results") / "radjepa.json"
CONTEXT = "context.safetensors"  # the trained encoder, beside encoder.safetensors, which is its moving average
BACKBONE = "objective.backbone."  # of a checkpoint's names


@dataclass(frozen=True)
class Cell:
    """One training: on which images, of which backbone, from which seed, for how many steps, with which options."""

    data: str
    what: str
    seed: int
    arch: str = "nano"
    steps: int = 3000
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the cell and of its folder."""
        return f"{self.data}-{self.what}-{self.seed}"

    @property
    def untrained(self) -> str:
        """What it starts from: the spec of the same backbone, drawn from the same seed."""
        return f"random:radjepa:{self.arch}{{}}@{self.seed}"

    @property
    def trained(self) -> str:
        """The spec of what is kept: the moving average."""
        return f"radjepa{{}}@{self.name}/encoder.safetensors"


VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("plain", {}),
    ("variance", {"options": {"variance": "0.01"}}),
    ("variance-crops", {"options": {"variance": "0.01", "augment": "true"}}),
)
# ViT tiny: 12 blocks, patches of 8 px, 12 x 12 of them. An image costs what five cost nano, so a third of the steps.
TINY = ("tiny", {"arch": "192x12p8s96", "steps": 1000})
CELLS = tuple(
    Cell(data, what, seed, **more)
    for seed in (0, 1)
    for data in TASKS
    for what, more in (*VARIANTS, *((TINY,) if seed == 0 else ()))
)


class Spread(NamedTuple):
    """Of embeddings [n, D]: mean over features of their deviation; effective rank; the first component's share."""

    deviation: float
    rank: float
    first: float


class Score(NamedTuple):
    """AUROC of one encoder on several tasks: the mean over tasks of the means over labels; the same of replicates."""

    value: float
    replicates: NDArray[np.float64]


def train(cell: Cell, data: Path) -> None:
    """Train a cell to its end, from where it stopped, if it did; keep the context encoder beside the target."""
    if finished(cell):
        return
    names = [data_name(name, data) for name in TASKS[cell.data]]
    manifests = load(cell.data, data)
    units = sum(manifest.images["split"].tolist().count("train") for manifest in manifests)
    out = Path(cell.name)
    api.pretrain(
        "radjepa", names, out=out, data_dir=Path("phantom") if cell.data == "phantom" else data, cache=Path("cache"),
        resume=True, arch=cell.arch, epochs=math.ceil(cell.steps / (units // BATCH)), batch_size=BATCH, lr=5e-4,
        precision="32", accelerator="cpu", seed=cell.seed, options=cell.options,
    )  # fmt: skip
    state = read_checkpoint(out / "last.ckpt")["state_dict"]
    context = {name.removeprefix(BACKBONE): value for name, value in state.items() if name.startswith(BACKBONE)}
    write_encoder(out / CONTEXT, context, read_encoder(out / "encoder.safetensors", "radjepa").facts, half=False)


def data_name(name: str, data: Path) -> str:
    """How a data set is asked for: a user's CSV by its path."""
    return str(data / name / "labels.csv") if name == "kermany" else name


def load(kind: str, data: Path) -> list[Manifest]:
    """The data sets of a kind."""
    folder = Path("phantom") if kind == "phantom" else data
    return [api.load_dataset(data_name(name, data), data=folder, cache=Path("cache")) for name in TASKS[kind]]


def evaluate(kind: str, specs: Sequence[str], data: Path) -> dict[str, list[Predictions]]:
    """Linear probes of encoders on all tasks of a kind: predictions by encoder, a list over tasks."""
    folder = Path("phantom") if kind == "phantom" else data
    results, tasks = Path(f"results-{kind}"), [f"{data_name(name, data)}:classification" for name in TASKS[kind]]
    api.run(specs, tasks, data=folder, results=results, cache=Path("cache"), device="cpu", precision="fp32")
    found = {(p.cell["encoder"], p.cell["dataset"]): p for p in Results(results).load_predictions()}
    return {spec: [found[spec, name] for name in TASKS[kind]] for spec in specs}


def score(tasks: Sequence[Predictions], labels: Sequence[Sequence[str]]) -> Score:
    """Of these labels of each task; replicates resample patients, the same for every encoder."""
    values, drawn = [], []
    for found, names in zip(tasks, labels, strict=True):
        rows = found.test_rows()
        metrics = [auroc(rows[f"score:{name}"].to_numpy(), rows[f"target:{name}"].to_numpy()) for name in names]
        whole = Weights.of(np.ones((len(rows), 1), np.uint16))
        values.append(np.mean([metric(whole)[0] for metric in metrics]))
        patients, key = rows["patient_id"].to_numpy(), found.cell["dataset"]
        drawn.append(np.nanmean(replicate(metrics, patients, key, 0, REPLICATES), axis=0))
    return Score(float(np.mean(values)), np.mean(drawn, axis=0))


def scored_labels(tasks: Sequence[Predictions]) -> list[list[str]]:
    """Labels with at least ``FEWEST`` positive and negative test images that the probe could be trained on, by task."""
    found = []
    for one in tasks:
        rows = one.test_rows()
        targets, trained = one.targets(rows), np.isfinite(one.scores(rows)).all(axis=0)
        enough = trained & (np.minimum((targets == 1).sum(axis=0), (targets == 0).sum(axis=0)) >= FEWEST)
        found.append([name for name, known in zip(one.labels, enough, strict=True) if known])
    return found


def spread(spec: str, manifests: Sequence[Manifest]) -> Spread:
    """Of the embeddings of all test images together."""
    paths = [path for manifest in manifests for path in np.array(manifest.paths())[manifest.rows_of("test")]]
    embeddings = embedded(spec, paths)
    return Spread(float(embeddings.std(axis=0, dtype=np.float64).mean()), *directions(embeddings))


def finished(cell: Cell) -> bool:
    """Whether a cell is trained, its context encoder kept."""
    return Path(cell.name, CONTEXT).exists()


def row(cell: Cell, data: Path, manifests: Sequence[Manifest]) -> list[str]:
    """A finished cell as a row of the table."""
    shown = [f"{cell.name}", f"`{cell.arch}`"]
    for read in READ:
        at = "" if read == "mean" else f":{read}"
        specs = [cell.trained.format(at), cell.untrained.format(at)]
        found = evaluate(cell.data, specs, data)
        labels = scored_labels(found[specs[0]])
        after, before = (score(found[spec], labels) for spec in specs)
        error = float(np.nanstd(after.replicates - before.replicates, ddof=1))
        shown += [f"{before.value:.3f}", f"{after.value:.3f}", f"{after.value - before.value:+.3f} ± {error:.3f}"]
    each = [
        spread(spec, manifests)
        for spec in (cell.untrained.format(""), cell.trained.format(""), f"radjepa@{cell.name}/{CONTEXT}")
    ]
    for pick in zip(*each, strict=True):
        shown.append(" / ".join(f"{value:.3g}" for value in pick))
    return shown


def kept() -> dict[str, list[str]]:
    """Rows of cells that were measured, by name: those of cells as they are now."""
    found = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return {cell.name: found[cell.name]["row"] for cell in CELLS if found.get(cell.name, {}).get("cell") == repr(cell)}


def keep(cell: Cell, shown: list[str]) -> None:
    """Write a cell's row beside those that are kept."""
    found = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    with atomic_path(KEPT) as path:
        path.write_text(json.dumps({**found, cell.name: {"cell": repr(cell), "row": shown}}, indent=1) + "\n")


def report() -> None:
    """The table of all measured cells, into benchmarks/results/radjepa.md and docs/pretraining-on-the-phantom.md."""
    rows = kept()
    if not rows:
        raise UserError("no cell is measured: train one with --only NAME; --list names them")
    left = [cell.name for cell in CELLS if cell.name not in rows]
    headers = [
        "images-what-seed", "backbone", "mean: untrained", "trained", "difference", "mean+sd: untrained", "trained",
        "difference", "spread: start / target / context", "effective rank", "first component",
    ]  # fmt: skip
    write_report(
        "radjepa",
        "RadJEPA against its untrained backbone",
        headers,
        list(rows.values()),
        f"Batches of {BATCH}, lr 5e-4, float32, {CELLS[0].steps:,} steps (tiny: {TINY[1]['steps']:,}), momentum from "
        ".996 to 1; variance: weight .01; crops: area .3 to 1. AUROC of a linear probe, mean over labels with at least "
        f"{FEWEST} positive and {FEWEST} negative test images, then over vindr, rsna and siim (phantom of seed 1), or "
        "nih and kermany. Untrained: the weights that the training began from, read at the same place. ±: standard "
        f"error of the paired difference, {REPLICATES:,} resamples of the patients. Spread (mean deviation of a "
        "feature over the test images), effective rank (exp of the entropy of the shares of variance) and share of the "
        "first component: of the means of patch tokens, at the start, of the moving average and of the context "
        "encoder at the end." + (f" Not finished: {', '.join(left)}." if left else ""),
    )
    put(DOCUMENT, {"radjepa": table(headers, list(rows.values()))})


def draw_phantom() -> None:
    """The phantom of seed 1, unless it is there."""
    write(Path("phantom"), seed=1, images=PHANTOM, workers=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, default=Path("runs/radjepa"))
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=shared, help="folder with nih and kermany, for the real images")
    parser.add_argument("--only", choices=[cell.name for cell in CELLS], help="train this cell")
    parser.add_argument("--all", action="store_true", help="train all that are left")
    parser.add_argument("--list", action="store_true", help="name the cells")
    asked = parser.parse_args()
    data = asked.data.resolve()
    asked.scratch.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.scratch)
    torch.set_num_threads(1)
    measured = kept()
    if asked.list:
        print("\n".join(f"{cell.name}{'  measured' if cell.name in measured else ''}" for cell in CELLS))
        return
    left = [cell for cell in CELLS if cell.name not in measured and not finished(cell)]
    wanted = [cell for cell in left if asked.all or cell.name == asked.only]
    if not (data / "nih").is_dir():
        print(f"no real images in {data} (--data): cells on them are skipped", file=sys.stderr)
        wanted = [cell for cell in wanted if cell.data != "real"]
    if any(cell.data == "phantom" for cell in (*wanted, *filter(finished, CELLS))):
        draw_phantom()
    for cell in (*filter(finished, CELLS), *wanted):
        if cell.name not in kept():
            train(cell, data)
            keep(cell, row(cell, data, load(cell.data, data)))
    report()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
