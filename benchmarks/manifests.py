"""Reading and planning big tables: MIMIC's official layout, the first and the second time, and a CSV with a duplicate.

    python benchmarks/manifests.py [--sizes 10000,100000,377110] [--beside OTHER/bin/python] [--limit 600]

Each figure is a process of its own, ``cxrbench run --encoder pixels --tasks ... --dry-run``: seconds on the clock, CPU
seconds and peak memory, start-up included. The images are empty files, with the official tables and a short report per
study. The CSV has as many rows, the last of which repeats the one before: it has to be refused (its cell is blocked).
``--beside`` measures another installation on the same files; what takes longer than ``--limit`` seconds there is
stopped.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from report import write_report

LABELS = (
    "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,"
    "No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
)
NO_LIMIT = 7200.0
CELLS = ("1.0", "0.0", "-1.0", "", "", "", "", "")


def write_mimic(root: Path, images: int) -> None:
    """Official tables, an empty file per image, a report per study; 1.66 images a study, as in the original."""
    rng = random.Random(0)
    tables = {
        "metadata": ["dicom_id,subject_id,study_id,ViewPosition,Rows,Columns"],
        "split": ["dicom_id,study_id,subject_id,split"],
        "chexpert": [f"subject_id,study_id,{LABELS}"],
    }
    made, patient, study = 0, 10_000_000, 50_000_000
    while made < images:
        patient += rng.randint(1, 200)
        split = rng.choices(("train", "validate", "test"), (97, 1, 2))[0]
        for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
            study += rng.randint(1, 20)
            folder = _made(root / f"files/p{patient // 10**6}/p{patient}/s{study}")
            Path(f"{folder}.txt").write_text(
                f" FINAL REPORT\n\n FINDINGS: Image {study}\n is clear.\n\n IMPRESSION: No. {study}.\n"
            )
            tables["chexpert"].append(f"{patient},{study},{','.join(rng.choices(CELLS, k=14))}")
            for _ in range(min(images - made, rng.choice((1, 1, 2, 2, 2)))):
                made += 1
                name = f"{rng.getrandbits(160):040x}"
                (folder / f"{name}.jpg").touch()
                view = rng.choice(("PA", "AP", "LATERAL", "LL", ""))
                tables["metadata"].append(f"{name},{patient},{study},{view},3056,2544")
                tables["split"].append(f"{name},{study},{patient},{split}")
    for name, lines in tables.items():
        (root / f"mimic-cxr-2.0.0-{name}.csv").write_text("\n".join(lines) + "\n")


def write_csv(path: Path, rows: int) -> None:
    """A table of that many images, its last row the one before it again."""
    for number in range(rows - 1):
        (_made(path.parent / f"img/{number // 1000}") / f"{number}.png").touch()
    lines = [f"img/{number // 1000}/{number}.png,{number % 2}" for number in [*range(rows - 1), rows - 2]]
    path.write_text("image,effusion\n" + "\n".join(lines) + "\n")


def measured(python: str, arguments: list[str], cache: Path, limit: float) -> tuple[str, str, str]:
    """Seconds, CPU seconds and peak MB of one dry run, as text; "> limit" where it was stopped."""
    command = [python, "-m", "cxrbench", "run", "--encoder", "pixels", "--dry-run", *arguments]
    environment = {**os.environ, "CXRBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    process = subprocess.Popen(  # in the cache's folder: a checkout here would stand in for the installed package
        command, cwd=_made(cache), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    watch = threading.Timer(limit, process.kill)
    watch.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds, cpu = time.monotonic() - started, usage.ru_utime + usage.ru_stime
    stopped = os.WIFSIGNALED(status)
    assert stopped or os.waitstatus_to_exitcode(status) == 0, f"{command} failed"
    watch.cancel()
    return (f"> {limit:.0f}" if stopped else f"{seconds:.1f}", f"{cpu:.1f}", f"{usage.ru_maxrss / 1024:,.0f}")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="10000,100000,377110")
    parser.add_argument("--beside", help="Python of another installation")
    parser.add_argument("--limit", type=float, default=600)
    given = parser.parse_args()
    pythons = {"this": sys.executable} | ({"other": given.beside} if given.beside else {})
    rows = []
    for size in map(int, given.sizes.split(",")):
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            write_mimic(place / "data/mimic", size)
            write_csv(place / "own/own.csv", size)
            for which, python in pythons.items():
                cache, limit = place / f"cache-{which}", given.limit if which == "other" else NO_LIMIT
                official = ["--tasks", "mimic:classification", "--data", str(place / "data")]
                for what in ("mimic, first", "mimic, second"):
                    rows.append([f"{size:,}", what, which, *measured(python, official, cache, limit)])
                own = ["--tasks", f"{place / 'own/own.csv'}:classification"]
                rows.append([f"{size:,}", "CSV, a duplicate", which, *measured(python, own, cache, limit)])
                print(*rows[-3:], sep="\n", flush=True)
                shutil.rmtree(cache, ignore_errors=True)
    write_report(
        "manifests",
        "Reading and planning big tables",
        ["images", "what", "installation", "seconds", "CPU s", "peak MB"],
        rows,
        "Each line is one process, start-up and its imports included. Target: the second time under 15 s and 1 GB at "
        "MIMIC's size (377,110 images)." + (" other: before manifests were kept." if given.beside else ""),
    )


if __name__ == "__main__":
    main()
