"""Does a run take what ``--dry-run --cost`` says? On phantom data, with an empty cache.

One encoder is run first, so that the store knows what cells take. Then the cost of the others is estimated, and they
are run by one worker: extraction and cells by themselves, and together.

Run: python benchmarks/cost.py --data PHANTOM [--encoders imagenet,random,spcl] (writes benchmarks/results/cost.md;
PHANTOM: a folder of ``cxrbench data phantom``)
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from report import write_report

from cxrbench import api
from cxrbench.engine.results import Results

TASKS = "siim:classification,siim:knn,rsna:classification,rsna:knn"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--first", default="pixels")
    parser.add_argument("--encoders", default="imagenet,random,spcl")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        where: dict[str, Any] = {
            "data": args.data, "results": Path(made) / "results", "cache": Path(made) / "cache", "device": "cpu",
            "seeds": 3, "fractions": (0.1, 1.0),
        }  # fmt: skip
        api.run(args.first, TASKS, **where)
        load, began = os.getloadavg()[0], time.perf_counter()
        plan = api.cost(api.prepare(args.encoders, TASKS, dry_run=True, **where))
        asked, began = time.perf_counter() - began, time.perf_counter()
        api.run(args.encoders, TASKS, **where)
        took = time.perf_counter() - began
        rows = []
        for row in plan.rows:
            cells = [
                one for one in Results(where["results"]).load_predictions(["-"])
                if (one.cell["encoder"], one.cell["dataset"]) == (row.encoder, row.dataset)
            ]  # fmt: skip
            seconds = sum(one.made["seconds"] for one in cells)
            said = 3600 * (row.extraction_hours + row.cell_hours)
            rows.append([row.encoder, row.dataset, f"{row.images:,}", f"{row.speed.images_per_second:.1f}",
                         f"{3600 * row.extraction_hours:.1f}", f"{3600 * row.cell_hours:.1f}", f"{said:.1f}",
                         f"{seconds:.1f}", f"{said / seconds:.2f}"])  # fmt: skip
    said = 3600 * plan.hours
    headers = ["encoder", "data set", "images", "images/s", "extraction s", "cells s", "estimate s", "took s", "ratio"]
    note = (
        f"In all {said:.0f} s were estimated; the run took {took:.0f} s on the clock (planning, building encoders and "
        f"writing included): a ratio of {said / took:.2f}. Asking took {asked:.0f} s. `{TASKS}`, label fractions 0.1 "
        f"and 1, 3 seeds; load average at the start {load:.1f} on {len(os.sched_getaffinity(0))} cores: where it is "
        "not near 0 others took their share, now more, now less."
    )
    write_report("cost", "What a run was estimated to take, and took", headers, rows, note)


if __name__ == "__main__":
    main()
