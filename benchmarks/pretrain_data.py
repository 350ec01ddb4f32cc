"""How long a pretraining step waits for its data: from originals, from a prepared copy, and from images decoded once.

Originals are the phantom's VinDr DICOMs (12 or 14 bit) and, where ``../shared/data`` is, real RSNA ones (JPEG); the
copy is `cxrbench data prepare --size 512`. ``waiting`` is the median share of a step's time in log.csv; decoding beside
training takes the cores that training wants, so images per second stand beside it. ``--quick`` tries the script.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from report import write_report
from tabulate import tabulate

from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig, pretrain
from cxrbench.engine.registry import load_dataset
from cxrbench.phantom.write import write

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
QUICK = "--quick" in sys.argv
ARCH, BATCH, EPOCHS, IMAGES = ("nano", 16, 2, 40) if QUICK else ("tiny", 32, 3, 96)
WORKERS = (0, 1, 2)


def prepare(name: str, data: Path, out: Path) -> float:
    """Write the copy with the command that a user would type; seconds per image are in its own report."""
    command = [sys.executable, "-m", "cxrbench", "data", "prepare", name, "--size", "512", "--data", str(data)]
    subprocess.run([*command, "--out", str(out)], check=True)
    return sum(path.stat().st_size for path in (out / name).rglob("*.png")) / 2**20


def trained(name: str, data: Path, scratch: Path, decode: str, workers: int) -> tuple[float, float]:
    """Images per second and the share of a step that is waiting: medians over all steps but the first."""
    config = PretrainConfig(
        method="spcl", arch=ARCH, epochs=EPOCHS, batch_size=BATCH, precision="32", accelerator="cpu",
        decode=decode, workers=workers, limit=IMAGES, checkpoint_every=10**6,  # type: ignore[arg-type]
    )  # fmt: skip
    out = Path(tempfile.mkdtemp(dir=scratch))
    pretrain(config, [load_dataset(name, data, Path)], out, cache=scratch / "images")
    log = pd.read_csv(out / "log.csv")[1:]
    return float(np.median(log["units_per_second"])), float(np.median(log["waiting"]))


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write(scratch / "phantom", images={"vindr_train": IMAGES + IMAGES // 8 + 2, "vindr_test": 8})
        sources = {"vindr": scratch / "phantom"} | ({"rsna": SHARED} if (SHARED / "rsna").is_dir() else {})
        for name, data in sources.items():
            size = prepare(name, data, scratch / "copy")
            ways = [("originals", data, "always", w) for w in WORKERS]
            ways += [(f"copy, {size:.0f} MiB", scratch / "copy", "always", w) for w in WORKERS]
            for what, where, decode, workers in [*ways, ("decoded once (the default)", data, "once", 0)]:
                speed, waiting = trained(name, where, scratch, decode, workers)
                rows.append([name, what, str(workers), f"{speed:.1f}", f"{100 * waiting:.0f}%"])
    headers = ["images", "read from", "decoding processes", "images/s", "waiting"]
    note = (
        f"S-PCL, ViT {ARCH}, batches of {BATCH}, fp32, {torch.get_num_threads()} threads. With no decoding process, "
        "training decodes between its steps."
        + ("" if "rsna" in sources else " Real images were not there (../shared/data): phantom images alone.")
    )
    if QUICK:
        print(tabulate(rows, headers, tablefmt="github"), note, sep="\n\n")
    else:
        write_report("pretrain_data", "Waiting for data while pretraining", headers, rows, note)


if __name__ == "__main__":
    main()
