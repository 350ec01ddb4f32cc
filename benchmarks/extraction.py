"""Feature extraction from JPEG files: the share of the bare model's speed, what bf16 changes, how memory grows.

    python benchmarks/extraction.py [FOLDER-OF-JPEGS]

Speed: ViT-B/16 at 224 px, the whole of cxrbench's extraction (read, decode, resize, normalise, embed, cache) against
the model alone on tensors that are already decoded, same precision, same batches, taking turns. Metrics: the linear
probe on features of both precisions, the largest change of any metric of any label. Memory: peak resident size of a
process that extracts 1,000 and 10,000 images. Without a folder it uses ../shared/data/nih/images if that is there,
else JPEGs that it writes.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from report import write_report

from cxrbench.data.decode.preprocess import load_image
from cxrbench.data.manifest import Manifest
from cxrbench.engine.registry import load_dataset, load_encoder
from cxrbench.features.device import Precision
from cxrbench.features.extract import ExtractOptions, embed
from cxrbench.features.pooled import pooled_features
from cxrbench.metrics.classification import METRICS
from cxrbench.task import Cell
from cxrbench.tasks.classification.linear_probe import TASK

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
BATCH, TURNS = 32, 3
CPU = torch.device("cpu")


def jpegs(scratch: Path) -> list[Path]:
    """Real chest X-rays if there are any, else noise with the size and weight of one."""
    if len(sys.argv) > 1:
        return sorted(Path(sys.argv[1]).glob("*.jpg"))
    if (SHARED / "nih").is_dir():
        return sorted((SHARED / "nih" / "images").glob("*.jpg"))
    rng = np.random.default_rng(0)
    for i in range(500):
        smooth = Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).resize((512, 512), Image.Resampling.BICUBIC)
        smooth.save(scratch / f"{i:04}.jpg", quality=90)
    return sorted(scratch.glob("*.jpg"))


def folder_of(paths: list[Path], count: int, folder: Path) -> Manifest:
    """A CSV data set of ``count`` images: the given files, over and over."""
    folder.mkdir(parents=True)
    names = []
    for i, path in zip(range(count), itertools.cycle(paths)):
        (folder / f"{i:05}.jpg").symlink_to(path.resolve())
        names.append(f"{i:05}.jpg,{i},{i % 2}")
    (folder / "labels.csv").write_text("\n".join(["image,patient,label_a", *names]) + "\n")
    return load_dataset(str(folder / "labels.csv"), None, Path)


def speed(precision: Precision, encoder: str, manifest: Manifest, scratch: Path) -> tuple[float, float]:
    """Images per second: from files into the cache, and of the bare model on decoded tensors. Medians of turns."""
    loaded = load_encoder(encoder, synthetic=False)
    options = ExtractOptions(CPU, precision, BATCH, os.cpu_count() or 2)
    images = torch.stack([load_image(path, loaded.module.preprocess) for path in manifest.paths()])
    embed(loaded.module, images[:BATCH], options)
    files, bare = [], []
    for turn in range(TURNS):
        cache = scratch / f"cache-{precision}-{turn}"
        start = time.perf_counter()
        pooled_features(loaded.spec, lambda: loaded.module, loaded.module.preprocess, manifest, cache, options)
        files.append(len(manifest) / (time.perf_counter() - start))
        start = time.perf_counter()
        for batch in images.split(BATCH):
            embed(loaded.module, batch, options)
        bare.append(len(manifest) / (time.perf_counter() - start))
    return float(np.median(files)), float(np.median(bare))


def metric_change(encoder: str, manifest: Manifest, scratch: Path) -> str:
    """The largest change of any metric of any label between fp32 and bf16, and where it is."""
    loaded = load_encoder(encoder, synthetic=False)
    rows = {}
    for precision in ("fp32", "bf16"):
        options = ExtractOptions(CPU, precision, BATCH, os.cpu_count() or 2)
        found = pooled_features(
            loaded.spec, lambda: loaded.module, loaded.module.preprocess, manifest, scratch / "metrics", options
        )

        class Cached:
            spec, module = loaded.spec, loaded.module

            @staticmethod
            def pooled(_: Manifest, pooled: np.ndarray = found.pooled) -> np.ndarray:
                return pooled

        predictions = TASK.run(Cached(), manifest, Cell(encoder, manifest.name, "classification"))  # type: ignore[arg-type]
        test = predictions.test_rows()
        ones = np.ones((len(test), 1), int)
        rows[precision] = {
            (name, label): metric(
                (test[f"score:{label}"] >= 0.5).to_numpy(float)
                if metric.on_decisions
                else test[f"score:{label}"].to_numpy(),
                test[f"target:{label}"].to_numpy(),
                ones,
            )[0]
            for name, metric in METRICS.items()
            for label in predictions.labels
            if np.count_nonzero(test[f"target:{label}"] == 1) >= 20
        }
    change = {key: abs(rows["fp32"][key] - rows["bf16"][key]) for key in rows["fp32"]}
    worst = max(change, key=lambda key: change[key])
    auroc = max(value for (name, _), value in change.items() if name == "auroc")
    return f"{change[worst]:.4f} ({worst[0]} of {worst[1]}); AUROC {auroc:.4f}"


def peak_memory(count: int, paths: list[Path], scratch: Path) -> float:
    """Peak resident MiB of a process that runs ``cxrbench run`` on ``count`` images."""
    folder = scratch / f"memory-{count}"
    folder_of(paths, count, folder)
    code = (
        "import resource, sys; from cxrbench.cli.main import main\n"
        "try: main()\nfinally: print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    words = ["run", "--encoder", "random", "--tasks", str(folder / "labels.csv"), "--results", str(folder / "results")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--cache", str(folder / "cache")], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stderr.rsplit("PEAK", 1)[1]) / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        paths = jpegs(scratch)
        torch.manual_seed(0)
        vit = scratch / "vit.pt"
        torch.save(timm.create_model("vit_base_patch16_224", num_classes=0).state_dict(), vit)
        encoder = f"timm:vit_base_patch16_224@{vit}"
        manifest = folder_of(paths, 96, scratch / "speed")
        rows = []
        for precision in ("fp32", "bf16"):
            files, bare = speed(precision, encoder, manifest, scratch)
            rows.append([precision, f"{files:.1f}", f"{bare:.1f}", f"{100 * files / bare:.0f}%"])
        change = "no labelled real images here: not measured"
        if (SHARED / "nih").is_dir():
            nih = load_dataset("nih", SHARED, Path)
            change = f"imagenet, {metric_change('imagenet', nih, scratch)}"
        small, large = peak_memory(1_000, paths, scratch), peak_memory(10_000, paths, scratch)
        write_report(
            "extraction",
            "Extraction with ViT-B/16 at 224 px from JPEG files",
            ["precision", "files to cache, images/s", "bare model, images/s", "share"],
            rows,
            f"Largest change of any metric from fp32 to bf16 (NIH, labels with 20 test positives): {change}.\n\n"
            f"Peak memory of `cxrbench run --encoder random`: {small:.0f} MiB for 1,000 images, {large:.0f} MiB for "
            f"10,000 ({100 * (large / small - 1):+.0f}%; target: within 20%). Target for the share: 90%.",
        )


if __name__ == "__main__":
    main()
