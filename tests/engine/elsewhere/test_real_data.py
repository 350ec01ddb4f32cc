"""NIH's and RSNA's images of the same patients, where they are present beside the repository."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cxrbench.data.datasets import nih, rsna
from cxrbench.data.decode.images import MAX_PIXELS, decode
from cxrbench.data.manifest import Manifest
from cxrbench.engine.elsewhere.joined import OWN_ID, SET, joined
from cxrbench.engine.elsewhere.patients import one_identity
from cxrbench.engine.registry import dataset_adapters
from cxrbench.features.extract import ExtractOptions
from cxrbench.progress import Progress
from cxrbench.task import RunContext

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
TWINS = {
    "03cd7a5b-d5d7-40a1-81b1-c4264920530a": "00001836_010", "043410c0-9453-4c89-a1d6-2ee846d8a343": "00007332_002",
    "06893030-14ab-456d-a22d-05070773e370": "00000211_013", "075686e1-bfe5-4901-b326-1a082ed6b937": "00002343_003",
}  # fmt: skip


def read(name: str) -> Manifest:
    if not (DATA / name).is_dir():
        pytest.skip(f"no real data in {DATA / name}")
    return {"nih": nih.read, "rsna": rsna.read}[name](DATA / name)


def only(manifest: Manifest, images: set[str]) -> Manifest:
    return manifest.without(set(manifest.images["image_id"]) - images)


def test_pictures_say_which_patients_of_nih_are_rsnas(tmp_path: Path) -> None:
    of_nih, of_rsna = read("nih"), only(read("rsna"), {*TWINS})
    others = {"00000061_012", "00000061_015", "00000310_001"}
    near = only(of_nih, {*TWINS.values(), *others})
    near = Manifest("nih", near.root, near.images.assign(split="train"), near.labels, lineage=near.lineage)
    near.images.loc[near.images["image_id"] == "00000310_001", "split"] = "val"
    there = joined([near], of_rsna, dataset_adapters())
    assert (there.manifest.labels, there.unclear) == (("Pneumonia",), (("nih", "rsna"),))
    context = RunContext(ExtractOptions(torch.device("cpu"), "fp32"), tmp_path, Progress())
    known, notes = one_identity(there.manifest, there.unclear, np.ones(len(there.manifest), bool), context)
    images = known.images.set_index([SET, OWN_ID])
    for of_one, of_other in TWINS.items():
        one, other = images.loc[("rsna", of_one)], images.loc[("nih", of_other)]
        assert one["patient_id"] == other["patient_id"]
        pixels = [decode(known.root / row["path"], max_pixels=MAX_PIXELS) for row in (one, other)]
        assert np.abs(pixels[0] - pixels[1]).mean() < 0.02  # by their pixels, too
    assert len(set(known.images["patient_id"])) == len(TWINS) + 2
    assert notes == ("nih and rsna share 4 pictures under other names: their patients are taken as one",)
