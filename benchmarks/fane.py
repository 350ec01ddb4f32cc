"""FaNe's bias, the learning rate of its scale and bias, the weight of its hard negatives and the clip, on the phantom.

    cxrbench data phantom --out studies --seed 1 --images mimic=4000
    python benchmarks/fane.py --scratch DIR --studies studies [--only CELL] [--report]

A cell is one pretraining, in a folder of its own below DIR: whatever is finished is not done again, what was stopped
goes on. First every variation is trained for 12 epochs with one seed (408 steps of 64); then the paper's weights and
the two best variations for 40 epochs (1,360 steps) with three seeds. Best: the highest mean of the seven columns of the
table that are scores. Images that choose are held-out ones of the phantom of seed 1; the phantom of seed 0, which the
leaderboard uses, is not touched. What was found is kept in results/fane.json, whatever becomes of DIR; means over
seeds go into docs/pretraining-on-the-phantom.md. ``--report``: only the tables, of what is finished.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from report import write_report
from tabulate import tabulate

import cxrbench
from cxrbench.api import write_phantom
from cxrbench.encoders.backbones.encoder import Pooling
from cxrbench.files.atomic import atomic_path
from evidence.embeddings import directions, embedded
from evidence.marked import put, table

SHIPPED: dict[str, Any] = {"arch": "nano", "warmup": 0.1, "batch_size": 64, "lr": 7e-4, "accelerator": "cpu"}
OPTIONS: dict[str, Any] = {
    "train_text": "false", "sentence_pool": "mean", "pool_width": "32", "kappa": "0.6", "hn": "1",
}  # fmt: skip
FAST: dict[str, Any] = {"initial_bias": "prior", "fast": "100"}
# None: an option that is left out.
VARIATIONS: dict[str, dict[str, Any]] = {
    "hn 1": {},
    "hn .1": {"hn": "0.1"},
    "hn 0": {"hn": "0"},
    "clip 0": {"clip": 0.0},
    "prior": {"initial_bias": "prior"},
    "fast": FAST,
    "fast, hn .1": {**FAST, "hn": "0.1"},
    "fast, hn 0": {**FAST, "hn": "0"},
    "fast, clip 5": {**FAST, "clip": 5.0},
    "official text head": {"text_head": "official", "pool_width": None},
}
KEPT = Path(__file__).with_name("results") / "fane.json"
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "pretraining-on-the-phantom.md"
BASE, SHORT, LONG, SEEDS, CHOSEN = "hn 1", 12, 40, (0, 1, 2), 2
HELD_OUT = {"vindr_train": 1200, "vindr_test": 400, "rsna": 1200, "siim": 1200}
PROBED, FRACTIONS, LABEL_SEEDS = ("vindr", "rsna", "siim"), (0.01, 0.1, 1.0), 3
UNTRAINED: dict[Pooling, str] = {"cls": "random:cls", "mean": "random:mean"}


class Cell(NamedTuple):
    """One pretraining: a variation, epochs, seed."""

    name: str
    epochs: int
    seed: int

    @property
    def folder(self) -> str:
        """Below the scratch folder."""
        words = self.name.replace(",", "").replace(" ", "-")
        return f"cells/{words}-{self.epochs}-epochs-seed-{self.seed}"

    @property
    def recipe(self) -> dict[str, Any]:
        """What it is trained with: figures of another recipe are not its."""
        return {**SHIPPED, **OPTIONS, **VARIATIONS[self.name], "epochs": self.epochs, "seed": self.seed}


class Bench:
    """The cells in a scratch folder, and how they are trained and scored."""

    def __init__(self, scratch: Path, studies: Path) -> None:
        self.scratch, self.studies, self.cache = scratch, studies, scratch / "cache"

    def scores(self, cell: Cell) -> dict[str, Any] | None:
        """What was found of a cell as it is now, or None."""
        found = self.kept().get(cell.folder, {})
        return found["scores"] if found.get("recipe") == cell.recipe else None

    def kept(self) -> dict[str, Any]:
        """What was found, by folder."""
        return json.loads(KEPT.read_text()) if KEPT.exists() else {}

    def plan(self) -> Iterator[Cell]:
        """The cells in order; those of the second stage only when the first is scored."""
        short = [Cell(name, SHORT, 0) for name in VARIATIONS]
        yield from short
        found = {cell.name: scores for cell in short if (scores := self.scores(cell))}
        if len(found) == len(short):
            others = sorted((n for n in found if n != BASE), key=lambda n: -found[n]["mean of columns"])
            yield from (Cell(name, LONG, seed) for seed in SEEDS for name in (BASE, *others[:CHOSEN]))

    def run(self, cell: Cell) -> None:
        """Train and score one cell, as far as it is not."""
        if self.scores(cell):
            return
        out = self.scratch / cell.folder
        weights = out / "encoder.safetensors"
        if not weights.exists():
            options = OPTIONS | VARIATIONS[cell.name]
            clip = {"clip": options.pop("clip")} if "clip" in options else {}
            weights = cxrbench.pretrain(
                "fane", "mimic", out=out, data_dir=self.studies, cache=self.cache, resume=True, seed=cell.seed,
                epochs=cell.epochs, options={k: v for k, v in options.items() if v is not None}, **SHIPPED, **clip,
            )  # fmt: skip
        scores = self.evaluated(weights) | self.watched(out / "log.csv")
        with atomic_path(KEPT) as path:
            found = {**self.kept(), cell.folder: {"recipe": cell.recipe, "scores": scores}}
            path.write_text(json.dumps(found, indent=1) + "\n")

    def evaluated(self, weights: Path) -> dict[str, Any]:
        """Probes beside the untrained backbone's, retrieval, effective rank."""
        data, results = self.scratch / "held-out", self.scratch / "results"
        if not (data / "siim" / "PHANTOM.json").exists():
            write_phantom(data, seed=1, images=HELD_OUT)
        found: dict[str, Any] = {"rank": {}, "probes": {}}
        for pooling, baseline in UNTRAINED.items():
            spec = f"fane:{pooling}@{weights}"
            tasks = [f"{name}:classification" for name in PROBED]
            cxrbench.run([spec, baseline], tasks, data=data, results=results, cache=self.cache,
                              fractions=FRACTIONS, seeds=LABEL_SEEDS, device="cpu", precision="fp32")  # fmt: skip
            compared = json.loads(cxrbench.compare(spec, baseline, results=results).to_json())
            found["probes"][pooling] = [
                {"dataset": row["dataset"], "fraction": row["fraction"], "auroc": row["value_a"],
                 "difference": row["difference"], "error": row["error"]}
                for row in compared["rows"] if row["label"] == "macro"
            ]  # fmt: skip
            found["rank"][pooling] = self.rank(spec)
        spec = f"fane@{weights}"
        cxrbench.run(spec, "mimic:text-retrieval", data=self.studies, results=results, cache=self.cache,
                          device="cpu", precision="fp32")  # fmt: skip
        board = json.loads(cxrbench.load_results(results).leaderboard(metrics="recall@10").to_json())
        of_spec = [row for row in board["records"] if row["encoder"] == spec and row["label"] == "macro"]
        found["recall"] = next(row["value"] for row in of_spec if row["metric"] == "recall@10")
        columns = [*(c for p in UNTRAINED for c, _ in self.columns(found, p)), found["recall"]]
        return found | {"mean of columns": float(np.mean(columns))}

    def columns(self, scores: Mapping[str, Any], pooling: Pooling) -> list[tuple[float, str]]:
        """Per label fraction the mean AUROC over the datasets, and its difference to untrained, with standard error."""
        result = []
        for fraction in FRACTIONS:
            rows = [row for row in scores["probes"][pooling] if row["fraction"] == fraction]
            auroc, difference = (float(np.mean([row[key] for row in rows])) for key in ("auroc", "difference"))
            error = float(np.sqrt(np.sum([row["error"] ** 2 for row in rows]))) / len(rows)
            result.append((auroc, f"{difference:+.3f} ± {error:.3f}"))
        return result

    def rank(self, spec: str) -> float:
        """Effective rank of the embeddings of vindr's held-out images."""
        manifest = cxrbench.load_dataset("vindr", data=self.scratch / "held-out", cache=self.cache)
        paths = manifest.paths()
        return directions(embedded(spec, [paths[row] for row in manifest.rows_of("test")])).rank

    def watched(self, log: Path) -> dict[str, float]:
        """Means over the last tenth of training."""
        rows = pd.read_csv(log)
        names = ["mp", "tc", "hn", "gradient_norm", "bias", "scale", "positives_right", "units_per_second"]
        last = rows.tail(len(rows) // 10)
        return {name: float(last[name].to_numpy().mean()) for name in names if name in last}

    def report(self) -> None:
        """The table of what is finished."""
        cells = [(cell, scores) for cell in self.plan() if (scores := self.scores(cell))]
        rows, each = [], []
        for cell, scores in cells:
            columns = [f"{auroc:.3f} ({told})" for p in UNTRAINED for auroc, told in self.columns(scores, p)]
            rows.append([
                cell.name, str(cell.epochs), str(cell.seed), *columns, f"{scores['recall']:.3f}",
                " / ".join(f"{scores['rank'][p]:.1f}" for p in UNTRAINED), f"{scores['bias']:.2f}",
                f"{scores['positives_right']:.2f}", f"{scores.get('hn', 0):.1f}",
            ])  # fmt: skip
            for pooling in UNTRAINED:
                of = {(r["dataset"], r["fraction"]): r for r in scores["probes"][pooling]}
                each.append([
                    f"{cell.name}, {cell.epochs} epochs, seed {cell.seed}", pooling,
                    *(f"{of[d, f]['auroc']:.3f} ({of[d, f]['difference']:+.3f} ± {of[d, f]['error']:.3f})"
                      for d in PROBED for f in FRACTIONS),
                ])  # fmt: skip
        shares = [f"{f:.0%}" for f in FRACTIONS]
        head = ["cell", "epochs", "seed", *(f"{p} {s}" for p in UNTRAINED for s in shares),
                "R@10", "rank", "bias", "right", "hn"]  # fmt: skip
        note = (
            "Mean AUROC of linear probes on vindr, rsna and siim at 1, 10 and 100% of the labels (three draws of the "
            "labels), read at CLS and at the mean token; in brackets the difference to the untrained backbone ± the "
            "standard error of the paired bootstrap over patients (one training: it knows nothing of training seeds). "
            "R@10: mean of image to report and back on held-out mimic studies. Rank: effective rank of the embeddings "
            "of vindr's held-out images, CLS / mean. Bias, share of positives on its right side and hard-negative "
            "loss: means over the last tenth of training. hn is 1, and clip too, where nothing else is said; "
            "prior: `initial_bias=prior`; fast: that, with `fast=100`.\n\n"
            + tabulate(each, ["cell", "read at", *(f"{d} {s}" for d in PROBED for s in shares)], "github",
                       disable_numparse=True)
        )  # fmt: skip
        write_report("fane", "FaNe: bias, its learning rate, hard negatives, clip", head, rows, note)
        put(DOCUMENT, {"fane": self.over_seeds(cells)})

    def over_seeds(self, cells: Sequence[tuple[Cell, Mapping[str, Any]]]) -> str:
        """A row per variation and length: means over training seeds, with their deviation where there are several."""
        first = cells[0][1]
        before = [
            np.mean([r["auroc"] - r["difference"] for r in first["probes"][p] if r["fraction"] == f])
            for p in UNTRAINED for f in FRACTIONS
        ]  # fmt: skip
        rows = [["*untrained*", "-", "-", *(f"{value:.3f}" for value in before), "-", "-"]]
        found: dict[tuple[str, int], list[list[float]]] = {}
        for cell, scores in cells:
            values = [auroc for p in UNTRAINED for auroc, _ in self.columns(scores, p)]
            found.setdefault((cell.name, cell.epochs), []).append([*values, scores["recall"], scores["rank"]["cls"]])
        for (name, epochs), seeds in found.items():
            shown = [spread(column, 1 if n > len(before) else 3) for n, column in enumerate(zip(*seeds, strict=True))]
            rows.append([name, str(epochs), str(len(seeds)), *shown])
        reads = [f"{p.replace('cls', 'CLS')} {f:.0%}" for p in UNTRAINED for f in FRACTIONS]
        return table(["variation", "epochs", "seeds", *reads, "R@10", "rank (CLS)"], rows)


def spread(values: Sequence[float], digits: int) -> str:
    """Their mean, and their standard deviation where there are several."""
    error = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{error}"


def main() -> None:
    """Run the cells, or those of one variation, and write the table after each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--studies", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(given.scratch, given.studies)
    for cell in [] if given.report else (c for c in bench.plan() if given.only in ("", c.name)):
        bench.run(cell)
        bench.report()
    bench.report()


if __name__ == "__main__":
    main()
