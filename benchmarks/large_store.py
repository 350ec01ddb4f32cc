"""What do planning, status and a board of one task cost, where a store holds 37,500 cells?

Really writes the store of 100 encoders x 25 data sets x 3 label fractions x 5 seeds: small data sets (a CSV and 60
images each), predictions of their validation and test rows through ``Results.save``, with headers as a run writes
them (about 20 KB, most of it what the encoder gives for two fixed images). Nothing is trained: scores are chance.
While it writes, ``fsync`` is left out, for 75,000 of them take longer than all the rest.

Each figure is of a process of its own, started with what its name says: half of the cells written, all of them, and
none; with a cache that knows nothing of the store, and again.

Run: python benchmarks/large_store.py [--folder DIR] [--encoders 100] [--datasets 25] (writes
benchmarks/results/large_store.md; DIR keeps the store for another time)
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

FRACTIONS, SEEDS, IMAGES = (0.01, 0.1, 1.0), 5, 60
BEFORE = (
    "Before headers were remembered (this script at commit 26965eb): nothing computed 10.5 s of CPU, half computed "
    "33.5 s, at every look."
)


def draw(folder: Path, datasets: int) -> None:
    """The data sets: a CSV and images of 32 x 32 pixels each."""
    for number in range(datasets):
        root, rng = folder / "data" / f"set-{number:02}", np.random.default_rng(number)
        root.mkdir(parents=True, exist_ok=True)
        lines = ["image,patient,split,effusion,nodule"]
        for i in range(IMAGES):
            Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).save(root / f"{i}.png")
            split = ("train", "val", "test")[i % 3]
            lines.append(f"{i}.png,P{i},{split},{int(rng.random() < 0.4)},{int(rng.random() < 0.3)}")
        (root / "labels.csv").write_text("\n".join(lines) + "\n")


def planned(folder: Path, encoders: int, datasets: int) -> Any:
    """The run's Job, planned."""
    from cxrbench import api

    return api.prepare(
        [f"random@{i}" for i in range(encoders)],
        [f"set-{i:02}:linear" for i in range(datasets)],
        dry_run=True,
        **asked(folder),
    )


def asked(folder: Path) -> dict[str, Any]:
    """The settings of the run."""
    return {
        "data": folder / "data", "results": folder / "results", "cache": folder / "cache",
        "fractions": FRACTIONS, "seeds": SEEDS, "device": "cpu", "precision": "fp32",
    }  # fmt: skip


def fill(folder: Path, encoders: int, datasets: int, half: int) -> None:
    """Save every cell that is missing of the even (``half`` 0) or odd (1) ones, through the store's own code."""
    from cxrbench.predictions import Predictions, encoder_facts

    job = planned(folder, encoders, datasets)
    made = {"versions": {"torch": "2"}, "device": "cpu", "precision": "fp32", "date": "2026-01-01T00:00:00+00:00"}
    sync, os.fsync = os.fsync, lambda descriptor: None
    try:
        for number, one in enumerate(job.plan.cells):
            if number % 2 != half or one.state == "done":
                continue
            images = one.manifest.images[one.manifest.images["split"] != "train"].reset_index(drop=True)
            rng, labels = np.random.default_rng(number), one.manifest.labels
            columns = {f"score:{label}": rng.random(len(images)) for label in labels}
            columns |= {f"target:{label}": images[label].to_numpy(np.float64) for label in labels}
            rows = pd.concat([images[["image_id", "patient_id", "split"]], pd.DataFrame(columns)], axis=1)
            predictions = Predictions(
                rows=rows, labels=labels, kind="multilabel", groups={"macro": labels}, synthetic=False,
                cell={**one.cell.facts(), "train_images": 20}, encoder=encoder_facts(one.encoder.spec),
                dataset=one.manifest.facts(), made={**made, "seconds": round(1 + rng.random(), 2)},
            )  # fmt: skip
            job.request.results.save(one.cell, predictions)
        for manifest in {id(one.manifest): one.manifest for one in job.plan.cells}.values():
            job.request.results.save_manifest(manifest)
    finally:
        os.fsync = sync


def do_plan(folder: Path, encoders: int, datasets: int) -> str:
    """Plan the run; how many cells are in which state."""
    states: dict[str, int] = {}
    for one in planned(folder, encoders, datasets).plan.cells:
        states[one.state] = states.get(one.state, 0) + 1
    return ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))


def do_headers(folder: Path, encoders: int, datasets: int) -> str:
    """Read what is known of all cells, and the rows of one data set's: what a board of one task reads."""
    from cxrbench.engine.results import Results

    del encoders, datasets
    store = Results(folder / "results")
    found = store.load_predictions(["set-00"], store.headers(folder / "cache"))
    return f"{len(found):,} cells, {sum(len(one.rows) > 0 for one in found):,} with rows"


def do_request(folder: Path, encoders: int, datasets: int) -> str:
    """What was asked, as who submits a run keeps it."""
    from cxrbench.engine.asked.requests import save_request

    job = planned(folder, encoders, datasets)
    save_request(job.request.results.root, job.asked)
    return ""


def do_status(folder: Path, encoders: int, datasets: int) -> str:
    """How far the request is."""
    from cxrbench import api

    del encoders, datasets
    where = {name: value for name, value in asked(folder).items() if name in ("data", "cache", "device", "precision")}
    found = api.status(folder / "results", **where)
    return f"{found.done:,} of {found.cells:,} done"


def do_cost(folder: Path, encoders: int, datasets: int) -> str:
    """What the rest would cost: with a finished store nothing, but all of it is looked at."""
    from cxrbench import api

    found = api.cost(planned(folder, encoders, datasets), workers=64)
    return f"{sum(row.cells for row in found.rows):,} cells are left"


STEPS: dict[str, Callable[[Path, int, int], str]] = {
    "plan": do_plan, "headers": do_headers, "request": do_request, "status": do_status, "cost": do_cost,
}  # fmt: skip


def apart(what: str, folder: Path, *words: str) -> tuple[str, float, float, float]:
    """A step in a process of its own: what it says, seconds on the clock and of the CPU from its start, peak MB."""
    command = [sys.executable, str(Path(__file__).resolve()), "--only", what, "--folder", str(folder), *words]
    started = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    said = json.loads(done.stdout.splitlines()[-1])
    return said["said"], time.perf_counter() - started, said["cpu"], said["peak"]


def measured(folder: Path, words: list[str]) -> Iterator[tuple[str, ...]]:
    """Rows of the table."""

    def row(name: str, what: str) -> tuple[str, ...]:
        said, wall, cpu, peak = apart(what, folder, *words)
        return name, said, f"{wall:.1f}", f"{cpu:.1f}", f"{peak:.0f}"

    def forget() -> None:
        shutil.rmtree(folder / "cache" / "headers", ignore_errors=True)

    if (folder / "results").exists():
        apart("plan", folder, *words)  # encoders are remembered by the folder from which they are named
    else:
        apart("draw", folder, *words)
        yield row("plan, nothing computed, encoders never seen", "plan")
        yield row("plan, nothing computed", "plan")
        yield row("write half of the cells", "fill even")
        yield row("plan, half computed, store not seen before", "plan")
        yield row("plan, half computed, again", "plan")
        yield row("write the other half", "fill odd")
        yield row("plan, all computed, half of the store not seen before", "plan")
    forget()
    yield row("plan, all computed, store not seen before", "plan")
    yield row("plan, all computed, again", "plan")
    yield row("cells of a board of one data set", "headers")
    apart("request", folder, *words)
    yield row("status, all computed", "status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--encoders", type=int, default=100)
    parser.add_argument("--datasets", type=int, default=25)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        said = ""
        if args.only == "draw":
            draw(args.folder, args.datasets)
        elif args.only.startswith("fill"):
            fill(args.folder, args.encoders, args.datasets, int(args.only == "fill odd"))
        else:
            said = STEPS[args.only](args.folder, args.encoders, args.datasets)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(json.dumps({"said": said, "cpu": time.process_time(), "peak": peak}))
        return
    with tempfile.TemporaryDirectory() as made:
        load, rows = os.getloadavg()[0], []
        size = ["--encoders", str(args.encoders), "--datasets", str(args.datasets)]
        for line in measured(args.folder or Path(made), size):
            print(*line, sep=" | ", flush=True)
            rows.append(line)
        sizes = [path.stat().st_size for path in (args.folder or Path(made)).glob("results/cells/*/*/*/*.parquet")]
        cores = len(os.sched_getaffinity(0))
        note = (
            f"{len(sizes):,} files of {sum(sizes) / len(sizes) / 1e3:.0f} KB. Every row is a process of its own, start "
            f"and imports included. Load average at the start {load:.1f} on {cores} cores: other work took its share, "
            "so seconds of the CPU (of all threads, user and system) say more than those on the clock. " + BEFORE
        )
        title = f"A store of {args.encoders} encoders x {args.datasets} data sets x 3 label fractions x 5 seeds"
        from report import write_report  # brings torch, and a child begins with its parent's peak of memory

        write_report("large_store", title, ["what", "found", "wall s", "CPU s", "peak MB"], rows, note)


if __name__ == "__main__":
    main()
