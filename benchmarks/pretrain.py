"""Pretraining at ViT-B/16, 224 px: images per second, peak memory and the counted cost of a step, one method a process.

``--quick`` uses ViT-Ti/16, to try the script. Every method runs through the engine, on phantom images, studies or
admissions, whatever it is made for, with its own recipe and options; PaCX-MAE starts from an untrained MAE backbone.
"""

import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from report import write_report
from tabulate import tabulate

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard
from cxrbench.encoders.backbones.checkpoint import encoder_facts, read_encoder, write_encoder
from cxrbench.encoders.backbones.encoder import untrained_vit
from cxrbench.encoders.backbones.vit import parse_arch
from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig, pretrain
from cxrbench.engine.registry import load_dataset
from cxrbench.phantom.write import write

QUICK = "--quick" in sys.argv
ARCH, BATCH, STEPS = ("tiny", 4, 3) if QUICK else ("base", 8, 3)
# What each method is trained on, and options; a unit of any of them is one image.
METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "spcl": ("rsna", {}),
    "mae": ("rsna", {}),
    "radjepa": ("rsna", {}),
    "supervised": ("rsna", {}),
    "pacx": ("symile", {}),
    "mvmae": ("mimic", {"max_views": "1"}),
    "mvmae-v2t": ("mimic", {"max_views": "1"}),
    "fane": ("mimic", {"min_sentences": "1"}),
}
PAPER = {"spcl": "6.1", "mae": "20.3"}


def one(method: str, scratch: Path) -> dict[str, Any]:
    """Train for a few steps and say what it took."""
    dataset, options = METHODS[method]
    manifest = load_dataset(dataset, scratch / "phantom", Path)
    arch, init = ARCH, ""
    if method == "radjepa":  # by name it has patches of 14 pixels, as published; here all have 16
        arch = "192x12p16s224" if QUICK else "768x12p16s224"
    if method == "pacx":
        init = str(untrained_mae(scratch))
    config = PretrainConfig(
        method=method, recipe="official" if method == "mae" else "fixed", arch=arch, batch_size=BATCH, precision="32",
        accelerator="cpu", options=options, init=init, checkpoint_every=10**6,
    )  # fmt: skip
    config = replace(config, epochs=-(-STEPS * BATCH // fewest_units(manifest)))
    path = pretrain(config, [manifest], scratch / f"run-{method}", cache=scratch / "images")
    facts = read_encoder(path, method).facts
    log = pd.read_csv(path.parent / "log.csv")[1:]  # the first step warms up
    return {
        "method": method,
        "trained on": dataset,
        "images/s": float(np.median(log["units_per_second"])),
        "waiting": float(np.median(log["waiting"])),
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "forward": facts["gflops_per_unit"]["forward"],
        "training": facts["gflops_per_unit"]["training"],
    }


def fewest_units(manifest: Manifest) -> int:
    """So many units an epoch has at least: not every training study serves every method."""
    return max(BATCH, manifest.images.loc[manifest.images["split"] == "train", "study_id"].nunique() // 2)


def untrained_mae(scratch: Path) -> Path:
    """An MAE backbone to start PaCX-MAE from: its weights do not matter for its speed."""
    config = parse_arch(ARCH, channels=1)
    encoder = untrained_vit(config, seed=0)
    facts = encoder_facts("mae", asdict(config), encoder.preprocess, EncoderCard("mae", "Apache-2.0"))
    write_encoder(scratch / "mae.safetensors", encoder.backbone.state_dict(), facts, half=False)
    return scratch / "mae.safetensors"


def main() -> None:
    if "--one" in sys.argv:
        at = sys.argv.index("--one")
        found = one(sys.argv[at + 1], Path(sys.argv[at + 2]))
        Path(sys.argv[at + 2], "found.json").write_text(json.dumps(found))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write(scratch / "phantom", images={"rsna": 56, "mimic": 60, "symile": 56})
        for method in METHODS:
            command = [sys.executable, __file__, "--one", method, folder, *(["--quick"] if QUICK else [])]
            subprocess.run(command, check=True)
            rows.append(json.loads((scratch / "found.json").read_text()))
    shown = [
        [
            r["method"], r["trained on"], f"{r['images/s']:.2f}", f"{r['peak MiB']:,.0f}", f"{r['forward'] / 2:.1f}",
            f"{r['training'] / 2:.1f}", f"{r['forward']:.1f}", f"{r['training']:.1f}",
            f"{r['images/s'] * r['training']:.0f}", PAPER.get(r["method"], ""),
        ]
        for r in rows
    ]  # fmt: skip
    headers = [
        "method", "trained on", "images/s", "peak MiB", "GMAC forward", "GMAC training", "GFLOPs forward",
        "GFLOPs training", "GFLOPs/s", "paper's \"GFLOPs\"",
    ]  # fmt: skip
    cheapest = min(rows, key=lambda r: r["training"])["method"]
    fastest = max(rows, key=lambda r: r["images/s"])["method"]
    note = (
        f"Batches of {BATCH} images (of a study one), {torch.get_num_threads()} threads, fp32, median of {STEPS - 1} "
        "or more steps. GMAC and GFLOPs are per image, counted operation by operation; a multiply-add is "
        f"two FLOPs. By the count the cheapest step is that of {cheapest}, by the clock that of {fastest}. The S-PCL "
        "paper prints 6.1 against 20.3 for MAE-style training; its 6.1 can only be multiply-adds of two views of 68 or "
        "69 patches each, or of one view at r = 0.3 (docs/design.md)."
    )
    if QUICK:
        print(tabulate(shown, headers, tablefmt="github"), note, sep="\n\n")
    else:
        write_report("pretrain", "Pretraining ViT-B/16 at 224 px", headers, shown, note)


if __name__ == "__main__":
    main()
