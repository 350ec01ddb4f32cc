"""Pretraining at ViT-B/16, 224 px: images per second, where a step's time goes, peak memory and the counted cost.

Every method runs through the engine in a process of its own, on phantom images, studies or admissions, whatever it is
made for, with its own recipe and options; PaCX-MAE starts from an untrained MAE backbone. Each runs twice: as it is,
and with its transformer blocks compiled (``torch.compile``; on a CPU inductor needs a C++ compiler). Names of methods
as arguments: only these are measured anew, the others' rows are those of ``results/pretrain.json``. ``--quick`` uses
ViT-Ti/16, to try the script, and keeps nothing.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from report import write_report
from tabulate import tabulate
from timm.models.vision_transformer import Block

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard
from cxrbench.encoders.backbones.checkpoint import encoder_facts, read_encoder, write_encoder
from cxrbench.encoders.backbones.encoder import untrained_vit
from cxrbench.encoders.backbones.vit import parse_arch
from cxrbench.encoders.pretraining.engine import pretrain as engine
from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig, pretrain
from cxrbench.encoders.pretraining.engine.trainer import Pretraining
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
IMAGES = {"rsna": 56, "mimic": 60, "symile": 56}
PARTS = ("data", "forward", "backward", "optimizer")
KEPT = Path(__file__).with_name("results") / "pretrain.json"


class Timed(Pretraining):
    """The engine's loop with a clock: seconds of the parts of each step, in ``spent``.

    ``optimizer`` is clipping, the step and what follows it (moving averages). What is left of a step, in which it is
    logged and saved, is in none of them.
    """

    spent: ClassVar[list[dict[str, float]]] = []  # of the process, which trains once
    compiled = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        for part in self.objective.modules():
            if self.compiled and isinstance(part, Block):
                part.compile()
        self.since = time.perf_counter()

    def lap(self, part: str) -> None:
        """What has passed since the last lap was this."""
        now = time.perf_counter()
        self.spent[-1][part] = now - self.since
        self.since = now

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.spent.append({})
        self.lap("data")

    def on_before_backward(self, loss: torch.Tensor) -> None:
        self.lap("forward")

    def on_after_backward(self) -> None:
        self.lap("backward")

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        super().optimizer_step(*arguments, **named)  # draws the loss and its gradient itself, as a closure
        self.lap("optimizer")

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.since = time.perf_counter()


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
    engine.Pretraining = Timed  # type: ignore[misc]
    path = pretrain(config, [manifest], scratch / f"run-{method}-{Timed.compiled}", cache=scratch / "images")
    facts = read_encoder(path, method).facts
    log = pd.read_csv(path.parent / "log.csv")[1:]  # the first step warms up, or compiles
    spent = pd.DataFrame(Timed.spent[1:])
    return {
        "method": method,
        "trained on": dataset,
        "images/s": float(np.median(log["units_per_second"])),
        "shares": {part: float(spent[part].sum() / spent.to_numpy().sum()) for part in PARTS},
        "measured": date.today().isoformat(),
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


def measured(method: str, scratch: Path) -> dict[str, Any]:
    """A method's row, each run in a fresh process; ``compiled images/s`` is None where there is no C++ compiler."""
    found = {}
    for how in ("eager", "compiled") if shutil.which("g++") or shutil.which("clang++") else ("eager",):
        quick = ["--quick"] if QUICK else []
        subprocess.run([sys.executable, __file__, "--one", method, how, str(scratch), *quick], check=True)
        found[how] = json.loads((scratch / "found.json").read_text())
    return found["eager"] | {"compiled images/s": found.get("compiled", {}).get("images/s")}


def main() -> None:
    if "--one" in sys.argv:
        method, how, scratch = sys.argv[sys.argv.index("--one") + 1 :][:3]
        Timed.compiled = how == "compiled"
        Path(scratch, "found.json").write_text(json.dumps(one(method, Path(scratch))))
        return
    chosen = [name for name in sys.argv[1:] if name in METHODS] or list(METHODS)
    rows = {} if QUICK else json.loads(KEPT.read_text())
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write(scratch / "phantom", images={dataset: IMAGES[dataset] for dataset in {METHODS[m][0] for m in chosen}})
        for method in chosen:
            rows[method] = measured(method, scratch)
            if not QUICK:
                KEPT.write_text(json.dumps(rows, indent=1) + "\n")
    report([rows[method] for method in METHODS if method in rows])


def report(rows: list[dict[str, Any]]) -> None:
    """The table: shares and compiled speed are missing where a row was measured before they were."""
    shown = [
        [
            r["method"], r["trained on"], f"{r['images/s']:.2f}",
            f"{r['compiled images/s']:.2f}" if r.get("compiled images/s") else "-",
            *(f"{r['shares'][part]:.1%}" if "shares" in r else "-" for part in PARTS),
            f"{r['peak MiB']:,.0f}", f"{r['forward'] / 2:.1f}", f"{r['training'] / 2:.1f}", f"{r['forward']:.1f}",
            f"{r['training']:.1f}", f"{r['images/s'] * r['training']:.0f}", PAPER.get(r["method"], ""), r["measured"],
        ]
        for r in rows
    ]  # fmt: skip
    headers = [
        "method", "trained on", "images/s", "compiled images/s", *PARTS, "peak MiB", "GMAC forward", "GMAC training",
        "GFLOPs forward", "GFLOPs training", "GFLOPs/s", "paper's \"GFLOPs\"", "measured",
    ]  # fmt: skip
    cheapest = min(rows, key=lambda r: r["training"])["method"]
    fastest = max(rows, key=lambda r: r["images/s"])["method"]
    note = (
        f"Batches of {BATCH} images (of a study one), {torch.get_num_threads()} threads, fp32, median of {STEPS - 1} "
        "or more steps. Compiled: `torch.compile` of each transformer block, the first step left out. Data, "
        "forward, backward and optimizer (clipping, the step, moving averages) are shares of an uncompiled step's "
        "time. GMAC and GFLOPs are per image, counted operation by operation; a multiply-add is two FLOPs. "
        "RadJEPA's contexts are cut to the shortest of the batch, so that its cost is less in larger ones (the "
        f"recipe's 2,048: 72.4). By the count the cheapest step is that of {cheapest}, by the clock that of "
        f"{fastest}. The S-PCL paper prints 6.1 against 20.3 for MAE-style training; its 6.1 can only be "
        "multiply-adds of two views of 68 or 69 patches each, or of one view at r = 0.3 (docs/design.md)."
    )
    if QUICK:
        print(tabulate(shown, headers, tablefmt="github", disable_numparse=True), note, sep="\n\n")
    else:
        write_report("pretrain", "Pretraining ViT-B/16 at 224 px", headers, shown, note)


if __name__ == "__main__":
    main()
