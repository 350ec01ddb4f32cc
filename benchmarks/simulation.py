"""Where does a shared results folder bend? A simulation of up to 512 workers.

100 encoders x 25 data sets x 3 label fractions x 5 seeds: 37,500 cells in 2,500 groups (an encoder on a data set), each
of which first needs features. ``simulated_workers.py`` has the workers, what befalls them and what they ask of the
shared file system. Cell times: those of a store (--store), else as measured on two cores of this project's machine:
ViT-B/16 24.7 images/s in bf16 (``results/extraction.md``), other sizes by their GFLOPs; a probe of 10,000 rows 0.7 s
(``results/probe.md``), and a second for reading, scoring and saving.

Run: python benchmarks/simulation.py [--workers 1,8,64,512] [--store DIR] (writes benchmarks/results/simulation.md)
"""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from report import write_report
from simulated_workers import SPELL, Costs, Machines, Simulation, Tally, Work

from cxrbench.schedule.makespan import lower_bound

ROWS = (377_110, 223_648, 223_462, 160_868, 112_120, 40_967, 26_684, 18_000, 12_047, 11_582, 11_000, *[5_000] * 14)
"""Images: MIMIC-CXR-JPG, CheXpert and CheXpert Plus, PadChest, ChestX-ray14, BRAX, RSNA, VinDr, ...; 14 small ones."""
SPEEDS = (*[100.0] * 30, *[24.7] * 50, *[24.7 * 17.6 / 61.6] * 20)
"""Images/s of 100 encoders: small, ViT-B/16, ViT-L/16."""
FRACTIONS, SEEDS, BATCH = (0.01, 0.1, 1.0), 5, 64


def work_of(rows: Sequence[int], speeds: Sequence[float], *, probe: float, other: float, part: int | None) -> Work:
    """Encoders by data sets. ``probe``: seconds per 10,000 training rows; ``other``: of each cell; ``part``: images in
    a part of the features, cut at a multiple of the batch size (None: one part).
    """
    parts, cells = [], []
    for speed, count in itertools.product(speeds, rows):
        size = count if part is None else part // BATCH * BATCH
        parts.append(tuple(min(size, count - first) / speed for first in range(0, count, size)))
        train = 0.7 * count
        cells.append(tuple(other + probe * f * train / 10_000 for f in FRACTIONS for _ in range(SEEDS)))
    return Work(tuple(parts), tuple(cells))


def of_store(store: Path) -> float:
    """Median seconds of the cells of a store."""
    from cxrbench.engine.results import Results

    return float(np.median([one.made["seconds"] for one in Results(store).load_predictions(["-"])]))


POLICIES: dict[str, tuple[int | None, Costs]] = {
    "one part, cell by cell": (None, Costs()),
    "parts, cell by cell": (4_096, Costs()),
    "parts, by listings": (4_096, Costs(listed=True)),
}
TROUBLE: dict[str, Any] = {"preempted": 4 * 3600.0, "frozen": 24 * 3600.0, "slow": 0.05}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,8,64,512")
    parser.add_argument("--store", type=Path, help="take what a cell costs beside its probe from this store")
    parser.add_argument("--faster", type=float, default=1.0, help="images/s of a worker by those of two cores here")
    args = parser.parse_args()
    other = of_store(args.store) if args.store else 1.0
    rows = []
    for name, (part, costs) in POLICIES.items():
        work = work_of(ROWS, [args.faster * s for s in SPEEDS], probe=0.7, other=other, part=part)
        units = work.units()
        for workers in map(int, args.workers.split(",")):
            bound = lower_bound(units, workers)
            for trouble in ({}, TROUBLE):
                rows.append(
                    _line(name, Simulation(work, costs, Machines(workers, **trouble)).run(), workers, bound, trouble)
                )
                print(*rows[-1], sep=" | ", flush=True)
    report(rows)


def report(rows: Sequence[Sequence[str]]) -> None:
    """Write the page."""
    trouble = ", ".join(f"{name} {value:g}" for name, value in TROUBLE.items())
    usual = Machines(1)
    note = (
        f"37,500 cells in 2,500 groups, {sum(ROWS):,} images per encoder. Hours against max(total / W, longest chain); "
        f"work that was thrown away; operations on leases per second; operations on the shared file system in all, on "
        f"average and in the worst {SPELL:.0f} s, against {usual.capacity:,.0f} per second that the server answers "
        f"after {1000 * usual.latency:.0f} ms. Trouble: {trouble} (mean seconds between two preemptions and between "
        f"two standstills of a worker, away for {usual.away:.0f} and {usual.stands:.0f} s; share of workers that "
        f"are {usual.slowness:.0f} times slower); the bound knows none of it.\n\n"
        "**Where it bends, and what was changed.** With one part per data set the longest chain is MIMIC-CXR by a "
        "ViT-L: from about 125 workers on more of them help nobody, some wait for hours, and all they do is ask for "
        "every cell that others have. Parts of 4,096 images take the chain away (`cxrbench/features/parts/`). What is "
        "left at 512 workers is looking: each asks for each of 37,500 cells when it plans and again when it passes "
        "them, half an hour of the server's time before the first unit. So a plan lists folders and remembers headers "
        "(`cxrbench/engine/headers/`), and a worker takes it from a listing of the folder, one for 15 cells, that "
        "others have written a cell (`cxrbench/schedule/listing.py`). The last part of a slow worker is what remains."
    )
    headers = ["policy", "workers", "trouble", "hours", "bound", "ratio", "lost", "leases/s", "operations",
               "per s", "worst per s"]  # fmt: skip
    write_report("simulation", "Where a shared results folder bends", headers, rows, note)


def _line(name: str, tally: Tally, workers: int, bound: float, trouble: Mapping[str, Any]) -> list[str]:
    return [
        name, f"{workers}", "yes" if trouble else "no", f"{tally.makespan / 3600:,.1f}", f"{bound / 3600:,.1f}",
        f"{tally.makespan / bound:.2f}", f"{100 * tally.lost / tally.worked:.2f}%",
        f"{tally.leases / tally.makespan:,.1f}", f"{tally.operations / 1e6:,.1f} M",
        f"{tally.operations / tally.makespan:,.0f}", f"{tally.peak:,.0f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
