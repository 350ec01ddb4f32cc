"""Every shipped checkpoint beside its untrained backbone on every protocol that images alone can serve.

    python benchmarks/columns.py --scratch DIR

On the phantom of seed 0, in float32. Results lie in the scratch folder; run again, only what is missing or stale there
is computed. The table goes into docs/pretraining-on-the-phantom.md and benchmarks/results/columns.md.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from report import write_report

from cxrbench import api
from cxrbench.errors import UserError
from evidence.beside_untrained import DATASETS, LEVEL, ROWS, Row
from evidence.marked import number, put, table
from evidence.probing import probe

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "pretraining-on-the-phantom.md"
TABLE = "all columns"
PROTOCOLS = {
    "classification": ("AUROC", DATASETS),
    "knn": ("AUROC", DATASETS),
    "retrieval": ("mAP@R", DATASETS),
    "detection": ("mAP .40-.75", ("vindr", "rsna")),
    "segmentation": ("Dice", ("rsna", "siim")),
}
"""By name: the headline metric, and the data sets that have it."""
Tests = Mapping[tuple[str, str], tuple[float, float]]
"""By protocol and data set: the trained encoder less the untrained one, and one-tailed p."""


def tests(row: Row, results: Path) -> Tests:
    """A row of the table, of saved results: each protocol's headline metric, averaged over labels."""
    found = api.compare(row.name, row.baseline, results=results).records
    return {(one.protocol, one.dataset): (one.difference, one.p) for one in found if one.label == "macro"}


def shown(row: Row, found: Tests) -> list[str]:
    """Differences by protocol, in the order of its data sets; bold where p is below the level."""
    cells = []
    for protocol, (_, names) in PROTOCOLS.items():
        each = [found[protocol, name] for name in names]
        said = [(number(difference, sign=True), p) for difference, p in each]
        cells.append(" ".join(f"**{text}**" if p < LEVEL else text for text, p in said))
    better = sum(p < LEVEL for _, p in found.values())
    return [f"`{row.name}`", f"`{row.baseline}`", f"{better} of {len(found)}", *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, default=Path("runs/columns"))
    asked = parser.parse_args()
    asked.scratch.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.scratch)
    torch.set_num_threads(1)
    rows = [row for row in ROWS if not row.at]
    specs = dict.fromkeys(spec for row in rows for spec in (row.name, row.baseline))
    tasks = [f"{name}:{protocol}" for protocol, (_, names) in PROTOCOLS.items() for name in names]
    probe([*specs], tasks, results=Path("results"), cache=Path("cache"))
    lines = [shown(row, tests(row, Path("results"))) for row in rows]
    lines.sort(key=lambda line: -int(line[2].split()[0]))
    named = [f"{protocol} ({metric}): {', '.join(names)}" for protocol, (metric, names) in PROTOCOLS.items()]
    headers = ["Encoder", "minus", "bold", *named]
    write_report(
        "columns",
        "Shipped checkpoints beside their untrained backbones, all protocols",
        headers,
        lines,
        "Difference of the headline metric to the untrained backbone read at the same place; bold: p < "
        f"{LEVEL:g}, one-tailed, paired, of this one comparison.",
    )
    put(DOCUMENT, {TABLE: table(headers, lines)})


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
