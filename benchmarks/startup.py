"""What it costs to ask: CPU seconds and peak memory of commands that compute nothing, beside ``import torch``.

    python benchmarks/startup.py [--old PYTHON]

CPU seconds are user + system of the process and its children, the median of three; the peak is of resident memory.
``--old``: the Python of another installation of cxrbench, measured beside this one, each command once. Data: 600 small
images in a folder with a CSV, three encoders and three protocols, made in a temporary folder; every command is run once
before it is measured, so files are in memory and compiled.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from report import write_report

REPEATS = 3
RUN = ["run", "--encoder", "pixels,random:nano,random:micro", "--tasks",
       "clinic/labels.csv:classification,clinic/labels.csv:knn,clinic/labels.csv:retrieval"]  # fmt: skip
COMMANDS = {
    "`--help`": ["--help"],
    "`encoders list`": ["encoders", "list"],
    "`data list`": ["data", "list"],
    "`tasks list`": ["tasks", "list"],
    "`run --dry-run`, 9 cells": [*RUN, "--dry-run"],
    "`run`, all 9 cells finished": RUN,
    "`leaderboard`, 3 encoders, 3 tasks, 10,000 replicates": ["leaderboard"],
}


def make_data(folder: Path) -> None:
    (folder / "clinic").mkdir()
    rng = np.random.default_rng(0)
    lines = ["image,patient,split,effusion,mass,nodule"]
    for i in range(600):
        labels = rng.random(3) < 0.3
        pixels = np.clip(rng.normal(90, 30, (64, 64)) + 40 * labels[0], 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "clinic" / f"{i:03}.png")
        split = ("train", "train", "val", "test")[i % 4]
        lines.append(f"{i:03}.png,p{i},{split},{','.join(str(int(label)) for label in labels)}")
    (folder / "clinic" / "labels.csv").write_text("\n".join(lines) + "\n")


# A process inherits the peak of the one that starts it, so a small one does.
LAUNCH = """
import json, os, sys
log = os.open("log.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
os.dup2(log, 2)
out = os.dup(1)
os.dup2(log, 1)
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
facts = [os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss]
os.write(out, json.dumps(facts).encode())
"""
ARITHMETIC = """
import time
from cxrbench import api
api.leaderboard().to_markdown()
begun = time.process_time()
api.leaderboard().to_markdown()
print(time.process_time() - begun)
"""


def cost(command: list[str], folder: Path) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of one process."""
    env = {**os.environ, "CXRBENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-S", "-E", "-c", LAUNCH, *command]
    code, seconds, kilobytes = json.loads(subprocess.check_output(launch, cwd=folder, env=env))
    if code:
        raise SystemExit(f"{' '.join(command)} failed: {(folder / 'log.txt').read_text()[-2000:]}")
    return seconds, kilobytes / 1000


def measured(command: list[str], folder: Path, repeats: int) -> list[str]:
    cost(command, folder)
    runs = [cost(command, folder) for _ in range(repeats)]
    return [f"{statistics.median(seconds for seconds, _ in runs):.2f}", f"{max(peak for _, peak in runs):.0f}"]


def column(python: str, repeats: int) -> dict[str, list[str]]:
    """By row, what one installation costs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder)
        rows = {
            "`python -c pass`": measured([python, "-c", "pass"], folder, repeats),
            "`python -c 'import torch'`": measured([python, "-c", "import torch"], folder, repeats),
        }
        for title, words in COMMANDS.items():
            rows[title] = measured([python, "-m", "cxrbench", *words], folder, repeats)
        if python == sys.executable:
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            seconds = subprocess.check_output([python, "-c", ARITHMETIC], cwd=folder, env=env, text=True)
            rows["its arithmetic alone, a second time in one process"] = [f"{float(seconds):.2f}", ""]
        return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--old", help="Python of another installation to measure beside this one")
    old = parser.parse_args().old
    ours = column(sys.executable, REPEATS)
    theirs = column(old, 1) if old else {}
    rows = [[title, *values, *theirs.get(title, ())] for title, values in ours.items()]
    headers = ["", "CPU s", "peak MB", *(["before: CPU s", "before: peak MB"] if old else [])]
    write_report(
        "startup", "Start-up: what commands cost that compute nothing", headers, rows,
        f"Median of {REPEATS} runs in one process each (before: one run); the peak is the largest of them. Targets: "
        "listings and help under 1 CPU second, a finished run without torch, a leaderboard of no more than torch's own "
        "import on top of its arithmetic.",
    )  # fmt: skip


if __name__ == "__main__":
    main()
