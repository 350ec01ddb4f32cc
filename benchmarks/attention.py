"""Does an encoder look where the finding is? Attention rollout against the phantom's true masks and boxes.

Run: python benchmarks/attention.py [--encoders A,B]   (some minutes; writes benchmarks/results/attention.md)
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from report import write_report

from cxrbench import api
from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.decode.images import decode
from cxrbench.data.decode.preprocess import prepare
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess
from cxrbench.looking.places import on_image
from cxrbench.looking.rollout import rollout

ENCODERS = ("supervised", "spcl", "mae", "mvmae", "pacx", "radjepa", "fane", "random")
DATASETS = ("siim", "rsna", "vindr")
SIDE, BATCH, REPLICATES = 128, 64, 10_000
MOST = 300
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """A finding in a test image: its row, and its area at ``SIDE`` x ``SIDE`` pixels of the image, bool."""

    row: int
    label: str
    inside: NDArray[np.bool_]


def findings(manifest: Manifest) -> list[Finding]:
    """Of each test image the findings that have a mask or boxes, those of one label united; at most ``MOST`` images."""
    masks = TrueMasks.of(manifest) if manifest.masks is not None else None
    found = []
    for row in manifest.rows_of("test")[:MOST]:
        image_id = str(manifest.images["image_id"].iloc[row])
        height, width = decode(manifest.paths()[row]).shape
        areas: dict[str, NDArray[np.bool_]] = {}
        if masks is not None:
            areas = dict(zip(masks.labels, masks.native(image_id, height, width) == 1, strict=True))
        elif manifest.boxes is not None:
            of = manifest.boxes.loc[manifest.boxes["image_id"] == image_id]
            for label, x, y, w, h in of[["label", "x", "y", "width", "height"]].itertuples(index=False):
                area = areas.setdefault(str(label), np.zeros((height, width), bool))
                area[max(0, round(y)) : round(y + h), max(0, round(x)) : round(x + w)] = True
        for label, area in areas.items():
            if area.any():
                found.append(Finding(int(row), label, resized(area)))
    return [one for one in found if one.inside.any()]


def resized(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """To ``SIDE`` x ``SIDE``: pixels at least half of which are inside."""
    whole = torch.from_numpy(area.astype(np.float32))[None, None]
    return (F.interpolate(whole, (SIDE, SIDE), mode="area")[0, 0] >= 0.5).numpy()


def maps_of(encoder: str, manifest: Manifest, rows: Sequence[int]) -> Floats:
    """Rollout over each image at ``SIDE`` x ``SIDE`` of its pixels, sum 1: [rows, SIDE, SIDE]."""
    module = api.load_encoder(encoder, synthetic=True)
    wanted: Preprocess = module.preprocess
    paths, found = manifest.paths(), []
    for start in range(0, len(rows), BATCH):
        images = [decode(paths[row]) for row in rows[start : start + BATCH]]
        with torch.inference_mode():
            seen = rollout(module.attentions(torch.stack([prepare(image, wanted) for image in images])))  # type: ignore[attr-defined]
        for values, image in zip(seen.numpy(), images, strict=True):
            shown = on_image(values, wanted, (image.shape[0], image.shape[1]), (SIDE, SIDE))
            found.append(np.nan_to_num(shown) / np.nansum(shown))
    return np.stack(found)


def measured(maps: Floats, found: Sequence[Finding], at: dict[int, int]) -> dict[str, Floats]:
    """A row per finding: attention inside, the mean of other images' attention there, area, and the pointing game.

    ``others``: the mean over the maps of all other images, which asks whether an encoder looks there in any image.
    """
    total = maps.sum(axis=0)
    inside = np.array([maps[at[one.row]][one.inside].sum() for one in found])
    others = [(total - maps[at[one.row]])[one.inside].sum() / (len(maps) - 1) for one in found]
    area = np.array([one.inside.mean() for one in found])
    peaks = [maps[at[one.row]].argmax() for one in found]
    hit = np.array([one.inside.flat[peak] for one, peak in zip(found, peaks, strict=True)], float)
    places = np.bincount([m.argmax() for m in maps], minlength=SIDE * SIDE) / len(maps)
    usual = np.array([places[one.inside.ravel()].sum() for one in found])
    return {"inside": inside, "others": np.array(others), "area": area, "hit": hit, "usual hit": usual}


def interval(values: Floats, images: NDArray[np.int64], generator: np.random.Generator) -> tuple[float, float, float]:
    """The mean of differences, and a 95% interval by resampling images (percentiles)."""
    names, inverse = np.unique(images, return_inverse=True)
    sums, counts = np.bincount(inverse, values), np.bincount(inverse)
    weights = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), REPLICATES)
    low, high = np.quantile((weights @ sums) / (weights @ counts), (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


def main() -> None:
    """A row per encoder and data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", default=",".join(ENCODERS))
    options = parser.parse_args()
    rows = []
    for name in DATASETS:
        manifest = api.load_dataset(name)
        found = findings(manifest)
        images = sorted({one.row for one in found})
        at = {row: place for place, row in enumerate(images)}
        owner = np.array([one.row for one in found])
        for encoder in options.encoders.split(","):
            got = measured(maps_of(encoder, manifest, images), found, at)
            generator = np.random.default_rng(0)
            cells = [encoder, name, f"{len(found):,} in {len(images):,}", f"{got['inside'].mean():.3f}"]
            for against in ("area", "others"):
                mean, low, high = interval(got["inside"] - got[against], owner, generator)
                cells += [f"{got[against].mean():.3f}", f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"]
            cells.append(f"{got['hit'].mean():.1%}")
            for chance in ("area", "usual hit"):
                mean, low, high = interval(got["hit"] - got[chance], owner, generator)
                cells.append(f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
            rows.append(cells)
            print(cells, flush=True)
    write_report(
        "attention",
        "Attention rollout and the phantom's findings",
        ["Encoder", "Data", "Findings", "Attention inside", "Area", "Inside - area", "Other images' attention there",
         "Inside - others'", "Peak inside", "Points above area", "Points above other images' peaks"],
        rows,
        NOTE,
    )  # fmt: skip


NOTE = f"""Test images of the phantom (at most the first {MOST} of a data set) with a finding that has a mask (siim) or
boxes (rsna, vindr), boxes of one label united; a row per finding and image. *Attention inside*: the share of the
rollout's sum that falls on the finding; *area*: the finding's share of the image, which is what a map without any
preference would give. *Other images' attention there*: what the maps of all other images have in that same place: an
encoder that looks at the lungs in every image beats the area and not this. *Peak inside*: the pointing game, how often
the map's largest pixel is on the finding; chance is the area, or how often other images' peaks fall there. Means over
findings, with 95% intervals of the paired difference by resampling images ({REPLICATES:,} times), none corrected for
the number of rows. Rollout of CLS or of
the mean of the patches, wherever the encoder is read (`spcl`, `random` and `radjepa` at the mean)."""


if __name__ == "__main__":
    main()
