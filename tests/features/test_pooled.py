"""The feature cache: once, atomic, checksummed, resumable to the bit, shared by processes."""

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrbench.data.decode.preprocess import load_image
from cxrbench.data.manifest import Manifest
from cxrbench.engine.registry import load_dataset, load_encoder
from cxrbench.errors import BadImageError, UserError
from cxrbench.features.device import resolve_precision
from cxrbench.features.extract import ExtractOptions
from cxrbench.features.pooled import PooledFeatures, feature_key, pooled_features
from cxrbench.progress import Progress

OPTIONS = ExtractOptions(torch.device("cpu"), "fp32", batch_size=8, workers=2)


def features(
    encoder: str, dataset: Path, cache: Path, *, skip_bad: bool = False, progress: Progress | None = None
) -> PooledFeatures:
    loaded, manifest = load_encoder(encoder, synthetic=False), read(dataset)
    return pooled_features(
        loaded.spec, lambda: loaded.module, loaded.module.preprocess, manifest, cache, OPTIONS,
        skip_bad=skip_bad, progress=progress,
    )  # fmt: skip


def read(dataset: Path) -> Manifest:
    return load_dataset(str(dataset), None, Path)


def entry(cache: Path) -> Path:
    (meta,) = cache.glob("features/*/*/meta.json")
    return meta.parent


def test_rows_are_the_encoder_s_own_in_manifest_order(encoder: str, dataset: Path, tmp_path: Path) -> None:
    found = features(encoder, dataset, tmp_path / "cache")
    module, manifest = load_encoder(encoder, synthetic=False).module, read(dataset)
    for row in (0, 7, 8, 119):
        image = load_image(manifest.paths()[row], module.preprocess)
        np.testing.assert_allclose(found.pooled[row], module(image[None]).pooled[0], atol=1e-6)


def test_second_time_makes_no_encoder_call(encoder: str, dataset: Path, encoder_calls: Path, tmp_path: Path) -> None:
    first = features(encoder, dataset, tmp_path / "cache")
    calls = encoder_calls.read_text()
    assert sum(map(int, calls.split())) == 120
    second = features(encoder, dataset, tmp_path / "cache")
    assert encoder_calls.read_text() == calls
    assert second.from_cache
    assert np.array_equal(first.pooled, second.pooled)


def test_a_use_is_noted_where_who_makes_room_looks_for_it(encoder: str, dataset: Path, tmp_path: Path) -> None:
    features(encoder, dataset, tmp_path / "cache")
    meta = entry(tmp_path / "cache") / "meta.json"
    before = meta.read_bytes()
    os.utime(meta, (1, 1))
    features(encoder, dataset, tmp_path / "cache")
    assert meta.stat().st_mtime > 1
    assert meta.read_bytes() == before


def test_key_depends_on_what_features_depend_on(encoder: str, dataset: Path) -> None:
    spec, manifest = load_encoder(encoder, synthetic=False).spec, read(dataset)
    key = feature_key(spec, manifest, "fp32")
    assert key != feature_key(spec, manifest, "bf16")
    assert key != feature_key(load_encoder("pixels", synthetic=False).spec, manifest, "fp32")
    text = dataset.read_text()
    dataset.write_text(text.replace("119.png,p59,0", "119.png,p59,1").replace("119.png,p59,1,1", "119.png,p59,1,0"))
    assert key == feature_key(spec, read(dataset), "fp32")  # labels do not matter
    dataset.write_text("\n".join(text.splitlines()[:-1]))
    assert key != feature_key(spec, read(dataset), "fp32")  # images do


class Stop(Progress):
    """Raises after some images, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.resumed_at = -1

    def start(self, total: int, done: int) -> None:
        self.resumed_at = done

    def advance(self, images: int) -> None:
        self.left -= images
        if self.left <= 0:
            raise KeyboardInterrupt


def test_interrupted_extraction_goes_on_with_the_same_bits(
    encoder: str, dataset: Path, encoder_calls: Path, tmp_path: Path
) -> None:
    whole = np.array(features(encoder, dataset, tmp_path / "one").pooled)
    encoder_calls.unlink()
    with pytest.raises(KeyboardInterrupt):
        features(encoder, dataset, tmp_path / "two", progress=Stop(48))
    again = Stop(10**9)
    resumed = features(encoder, dataset, tmp_path / "two", progress=again)
    assert again.resumed_at == 48
    assert sum(map(int, encoder_calls.read_text().split())) == 120
    assert np.array_equal(whole, resumed.pooled)


def test_a_torn_write_is_noticed(encoder: str, dataset: Path, tmp_path: Path) -> None:
    whole = np.array(features(encoder, dataset, tmp_path / "one").pooled)
    for harm in (lambda p: p.write_bytes(p.read_bytes()[:-100]), lambda p: p.write_bytes(b"\1" + p.read_bytes()[1:])):
        with pytest.raises(KeyboardInterrupt):
            features(encoder, dataset, tmp_path / "two", progress=Stop(48))
        (data,) = (tmp_path / "two").glob("features/*/*.partial/pooled.f32")
        harm(data)
        assert np.array_equal(whole, features(encoder, dataset, tmp_path / "two").pooled)
        entry(tmp_path / "two").rename(tmp_path / f"away-{np.random.default_rng().integers(10**9)}")


def test_a_damaged_entry_is_made_again(encoder: str, dataset: Path, encoder_calls: Path, tmp_path: Path) -> None:
    whole = np.array(features(encoder, dataset, tmp_path).pooled)
    data = entry(tmp_path) / "pooled.f32"
    content = bytearray(data.read_bytes())
    content[1000] ^= 1
    data.write_bytes(content)
    assert np.array_equal(whole, features(encoder, dataset, tmp_path).pooled)
    assert sum(map(int, encoder_calls.read_text().split())) == 240


def run_in_process(encoder: str, dataset: Path, cache: Path) -> None:
    torch.set_num_threads(1)
    features(encoder, dataset, cache)


def test_two_processes_share_one_extraction(encoder: str, dataset: Path, encoder_calls: Path, tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=run_in_process, args=(encoder, dataset, tmp_path))
    process.start()
    while process.is_alive() and not encoder_calls.exists():
        time.sleep(0.005)
    features(encoder, dataset, tmp_path)  # while the other one is at it
    process.join()
    assert process.exitcode == 0
    assert sum(map(int, encoder_calls.read_text().split())) == 120


def test_bad_images_are_an_error_or_rows_of_nan(encoder: str, dataset: Path, tmp_path: Path) -> None:
    bad = dataset.with_name("050.png")
    bad.write_bytes(bad.read_bytes()[:40])
    with pytest.raises(BadImageError, match=r"050\.png"):
        features(encoder, dataset, tmp_path)
    found = features(encoder, dataset, tmp_path, skip_bad=True)
    assert [path for path, _ in found.bad] == [str(bad)]
    assert np.flatnonzero(np.isnan(found.pooled).any(1)).tolist() == [50]
    with pytest.raises(BadImageError, match=r"050\.png"):  # a cached answer does not hide it
        features(encoder, dataset, tmp_path)


def test_every_image_bad_is_an_error_even_when_skipping(encoder: str, dataset: Path, tmp_path: Path) -> None:
    for image in dataset.parent.glob("*.png"):
        image.write_bytes(b"x")
    with pytest.raises(UserError, match="not one image"):
        features(encoder, dataset, tmp_path, skip_bad=True)


def test_nan_features_are_refused_by_name(encoder: str, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"NaN or infinite features for .*000\.png"):
        features(encoder.replace(":Mine", ":Broken"), dataset, tmp_path)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Writing fails as it does on a full disk, from the moment that the returned function is called."""
    import cxrbench.features.journal as module

    def fill() -> None:
        def full(path: Path, content: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(module, "_append", full)

    yield fill
    monkeypatch.undo()


def test_a_full_disk_is_one_line_and_loses_nothing(
    encoder: str, dataset: Path, tmp_path: Path, full_disk: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        features(encoder, dataset, tmp_path, progress=Stop(48))
    full_disk()
    with pytest.raises(UserError, match="No space left on device"):
        features(encoder, dataset, tmp_path)
    monkeypatch.undo()
    again = Stop(10**9)
    features(encoder, dataset, tmp_path, progress=again)
    assert again.resumed_at == 48


def test_meta_says_how_it_was_made(encoder: str, dataset: Path, tmp_path: Path) -> None:
    features(encoder, dataset, tmp_path)
    meta = json.loads((entry(tmp_path) / "meta.json").read_text())
    assert meta["encoder"] == encoder
    assert meta["images_per_second"] > 0
    assert (meta["rows"], meta["width"], meta["precision"]) == (120, 16, "fp32")


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(UserError, match="precision"):
        resolve_precision("fp8", torch.device("cpu"))
