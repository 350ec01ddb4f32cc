"""Crops are cut from images that are decoded at a larger side; whatever is not cropped is as it was."""

from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize

import cxrbench.encoders.mae
from cxrbench.data.decode.preprocess import load_image
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess
from cxrbench.encoders.backbones.checkpoint import KEY
from cxrbench.encoders.pretraining.corpus import ImageCorpus, whole
from cxrbench.encoders.pretraining.engine import pretrain as engine
from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig, checked, make_corpus, pretrain
from cxrbench.encoders.pretraining.engine.recipe_lines import recipe_lines
from cxrbench.encoders.pretraining.method import Batch, Draw
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import read_metadata
from cxrbench.files.records import parsed
from support.small_run import CONFIG, make_manifest

pytestmark = pytest.mark.usefixtures("one_thread")
# Of 32 pixels, crops of half the area: 48.
MAE = replace(CONFIG, method="mae", epochs=2, options={"augment": "true", "ratio": "0.5"})


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_manifest(tmp_path_factory.mktemp("data"))


def facts(out: Path) -> dict[str, Any]:
    path = out / "encoder.safetensors"
    return parsed(read_metadata(path)[KEY], path)


@pytest.mark.parametrize("decode", ["once", "always"])
def test_images_are_decoded_at_the_size_that_crops_want(manifest: Manifest, tmp_path: Path, decode: Any) -> None:
    for config, side in ((MAE, 48), (replace(MAE, decode_size=64), 64), (replace(MAE, options={"ratio": "0.5"}), 32)):
        config = replace(config, decode=decode)
        images = make_corpus(config, checked(config)[0], [manifest], tmp_path, None)[1]
        plain = Preprocess(side, "squash", (0.0,), (1.0,), channels=1)
        expected = load_image(manifest.root / "03.png", plain)
        assert images.prepared.size == side
        assert np.abs(images.prepared.images(np.array([3]))[0] / 255 - expected.numpy()).max() <= 0.5 / 255 + 1e-6


def test_training_crops_and_costs_and_pictures_do_not(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cropped: list[tuple[int, ...]] = []
    learnt: list[tuple[int, ...]] = []

    mae = cxrbench.encoders.mae.MAE
    augmented, forward = mae.augmented, mae.forward
    monkeypatch.setattr(mae, "augmented", lambda s, b, d: cropped.append(b.images.shape) or augmented(s, b, d))
    monkeypatch.setattr(mae, "forward", lambda s, b, d: learnt.append(b.images.shape) or forward(s, b, d))
    pretrain(replace(MAE, picture_every=1), [manifest], tmp_path / "larger", cache=tmp_path)
    assert set(cropped) == {(4, 1, 48, 48)}
    assert {shape[1:] for shape in learnt} == {(1, 32, 32)}
    assert len(learnt) == len(cropped) + 1  # costs are counted once
    with Image.open(tmp_path / "larger" / "pictures" / "epoch-0001.png") as picture:
        assert picture.size == (8 * 32, 3 * 32)
    pretrain(replace(MAE, decode_size=32, epochs=1), [manifest], tmp_path / "same", cache=tmp_path)
    larger, same = facts(tmp_path / "larger"), facts(tmp_path / "same")
    assert (larger["config"]["decode_size"], same["config"]["decode_size"]) == (48, 32)
    assert larger["gflops_per_unit"] == same["gflops_per_unit"]
    assert larger["preprocess"]["size"] == 32
    with pytest.raises(UserError, match="decode_size was 48, is 64"):
        pretrain(replace(MAE, picture_every=1, decode_size=64), [manifest], tmp_path / "larger", resume=True)


def test_studies_are_cropped_too(manifest: Manifest, tmp_path: Path) -> None:
    config = replace(CONFIG, method="mvmae", options={"decoder_depth": "1", "mask": "0.5"})
    blueprint = checked(config)[0]
    corpus, images = make_corpus(config, blueprint, [manifest], tmp_path, None)
    objective = engine.build_objective(config, blueprint, corpus)
    read = corpus.batch(np.arange(3), [np.random.default_rng(k) for k in range(3)])
    assert images.prepared.size == read["images"].shape[-1] == 48
    batch = engine.as_batch(read, objective.preprocess)
    seen = objective.augmented(batch, Draw(torch.Generator().manual_seed(0)))
    assert seen.images.shape == (3, 3, 1, 32, 32)
    assert objective(seen, Draw(torch.Generator().manual_seed(0))).value.isfinite()
    assert whole(read, objective.preprocess)["images"].shape == (3, 3, 1, 32, 32)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_what_is_not_cropped_is_resized_as_files_are(interpolation: Any) -> None:
    """torchvision's antialiased resize of the larger image, to half a gray level."""
    large = torch.randint(0, 256, (2, 3, 1, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    preprocess = Preprocess(32, "squash", (0.5,), (0.25,), 1, interpolation)
    small = whole({"images": large, "views": torch.zeros(2)}, preprocess)
    mode = InterpolationMode(interpolation)
    expected = resize(large.flatten(0, 1).float() / 255, [32, 32], mode, antialias=True).clamp(0, 1)
    assert (small["images"].flatten(0, 1) / 255 - expected).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal(small["views"], torch.zeros(2))
    assert torch.equal(whole(small, preprocess)["images"], small["images"])


def test_wrong_sizes_are_refused_before_any_data_is_read() -> None:
    with pytest.raises(UserError, match="decode_size is 31, but 32 pixels are trained on"):
        checked(replace(MAE, decode_size=31))
    with pytest.raises(UserError, match="mae cuts no crops as it is set"):
        checked(replace(MAE, options={"ratio": "0.5"}, decode_size=48))
    with pytest.raises(UserError, match=r"decode_size is 257, more than 8 times the 32 pixels .*: give 256 at most"):
        checked(replace(MAE, decode_size=257))
    checked(replace(MAE, options={"ratio": "0.5"}, decode_size=32))


SIZES = {"radjepa": "64x4p14s70", "spcl": "nano-128"}  # nano-64 where none is named; S-PCL's ratios want a larger grid
SIDES = {  # by variant
    "spcl": (128, 128, 256),
    "mae": (64, 64, 96),
    "mvmae": (96, 96, 96),
    "mvmae-v2t": (96, 96, 96),
    "pacx": (91, 64, 91),
    "radjepa": (70, 70, 140),
    "fane": (64, 64, 64),
    "supervised": (64,),
}


def test_every_method_says_where_its_crops_are_cut() -> None:
    for point in entry_points(group="cxrbench.methods"):
        if point.value.startswith("cxrbench."):
            for variant, side in zip(("fixed", "paper", "official"), SIDES[point.name], strict=False):
                size = SIZES.get(point.name, "nano-64")
                blueprint = point.load().configure(size, {} if point.name == "supervised" else {"variant": variant})
                assert (blueprint.decode_size or blueprint.preprocess.size) == side, (point.name, variant)


def test_a_side_of_the_methods_own_code_is_told_as_such() -> None:
    for method, arch, source in (
        ("pacx", "base", "PACX-MAE:Data/data_modules.py: 224 px out of Symile-MIMIC's 320"),
        ("spcl", "large", "ours: crops are cut out of detail"),
    ):
        lines, _ = recipe_lines(PretrainConfig(method, arch, recipe="official"))
        told = {line.name: line for line in lines}["decode_size"]
        assert (told.value, told.source) == ({"pacx": "320", "spcl": "448"}[method], source)


def test_augmentation_is_the_identity_where_there_is_none(manifest: Manifest, tmp_path: Path) -> None:
    config = replace(CONFIG, method="spcl")
    blueprint = checked(config)[0]
    corpus, _ = make_corpus(config, blueprint, [manifest], tmp_path, None)
    assert isinstance(corpus, ImageCorpus)
    batch = Batch(torch.zeros(2, 1, 32, 32))
    assert engine.build_objective(config, blueprint, corpus).augmented(batch, None) is batch  # type: ignore[arg-type]
