"""The dense cache: every image encoded once, the same numbers with and without it, bounded, resumable."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import cxrbench.features.journal
from cxrbench.data.decode.preprocess import load_image
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard, EncoderSpec, Features, Preprocess
from cxrbench.engine.registry import load_dataset
from cxrbench.errors import BadImageError, NotApplicableError, UserError
from cxrbench.features.augmentation import SEED, augmentation
from cxrbench.features.extract import ExtractOptions
from cxrbench.features.maps.cache import dense_maps
from cxrbench.features.maps.dense import DenseMaps, dense_preprocess
from cxrbench.plugins.loading import fixed_batch
from cxrbench.progress import Progress

OPTIONS = ExtractOptions(torch.device("cpu"), "fp32", batch_size=8, workers=2)
PLENTY = 10**9
ROW = 2 * (4 + 2 * (8 * 8 + 4 * 4 + 2 * 2 + 1))  # bytes of an image of Cnn


class Cnn(nn.Module):
    """Maps of 2 channels, sides 8, 4, 2, 1: averages of the image and its square. Counts images but the fixed ones."""

    preprocess = Preprocess(size=32, resize="crop", mean=(0.4,), std=(0.2,), channels=1, crop_pct=0.9)

    def __init__(self, name: str = "cnn", factor: float = 1.0) -> None:
        super().__init__()
        self.factor, self.seen = factor, 0
        self.spec = EncoderSpec(name, EncoderCard(name), name, name, repr(self.preprocess), 0)

    def forward(self, images: Tensor) -> Features:
        if len(images) != 2 or not torch.equal(images[0], fixed_batch(dense_preprocess(self.preprocess))[0]):
            self.seen += len(images)
        both = torch.cat([images, images.square()], 1) * self.factor
        return Features(images.flatten(1)[:, :4], tuple(nn.functional.avg_pool2d(both, k) for k in (4, 8, 16, 32)))


@pytest.fixture
def manifest(dataset: Path) -> Manifest:
    return load_dataset(str(dataset), None, Path)


def maps_of(
    module: Any,
    manifest: Manifest,
    cache: Path,
    *,
    copies: int = 0,
    limit: int = PLENTY,
    skip_bad: bool = False,
    progress: Progress | None = None,
    load: Callable[[], Any] | None = None,
) -> DenseMaps:
    return dense_maps(
        module.spec, load or (lambda: module), module.preprocess, manifest, cache, OPTIONS,
        copies=copies, limit_bytes=limit, skip_bad=skip_bad, progress=progress or Progress(),
    )  # fmt: skip


def held(cache: Path) -> int:
    return sum(f.stat().st_size for f in (cache / "dense").rglob("*") if f.is_file())


class Notes(Progress):
    """Keeps the notes; stops after some images, as Ctrl-C does."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.notes: list[str] = []
        self.resumed_at, self.left = -1, stop_after

    def start(self, total: int, done: int) -> None:
        self.resumed_at = done

    def advance(self, images: int) -> None:
        self.left -= images
        if self.left <= 0:
            raise KeyboardInterrupt

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_maps_are_the_encoder_s_own_of_the_whole_image(manifest: Manifest, tmp_path: Path) -> None:
    module = Cnn()
    maps = maps_of(module, manifest, tmp_path / "cache")
    assert (maps.widths, maps.sides, maps.cached) == ((2,) * 4, (8, 4, 2, 1), True)
    assert maps.preprocess == dense_preprocess(module.preprocess)
    assert maps.preprocess.resize == "pad"
    rows = np.array([119, 3, 3, 64])
    images = torch.stack([load_image(manifest.paths()[row], maps.preprocess) for row in rows])
    for found, expected in zip(maps.batch(rows), module(images).maps, strict=True):
        assert found.dtype == torch.float16
        assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found.float(), expected, rtol=2**-11, atol=1e-6)
    assert [m.shape[0] for m in maps.batch(rows[:0])] == [0] * 4
    first, last = maps.batch(rows, levels=(0, 3))
    assert torch.equal(first, maps.batch(rows)[0])
    assert torch.equal(last, maps.batch(rows)[3])


def test_every_image_is_encoded_once_and_a_full_cache_needs_no_encoder(manifest: Manifest, tmp_path: Path) -> None:
    module = Cnn()
    first = maps_of(module, manifest, tmp_path / "cache")
    for _ in range(3):
        first.batch(np.arange(120))
    assert module.seen == 120

    def load() -> Any:
        raise AssertionError("loaded")

    again = maps_of(module, manifest, tmp_path / "cache", load=load)
    for a, b in zip(first.batch(np.arange(120)), again.batch(np.arange(120)), strict=True):
        assert torch.equal(a, b)


def test_copies_are_of_training_images_moved_as_announced(manifest: Manifest, tmp_path: Path) -> None:
    module = Cnn()
    maps_of(module, manifest, tmp_path / "cache")
    maps = maps_of(module, manifest, tmp_path / "cache", copies=2)
    train = manifest.rows_of("train")
    assert module.seen == 120 + 2 * len(train)
    rows = train[[5, 0, 7]]
    for copy in (1, 2):
        moved = [
            augmentation(SEED, str(manifest.images["image_id"][row]), copy).apply_image(
                load_image(manifest.paths()[row], maps.preprocess), maps.preprocess
            )
            for row in rows
        ]
        for found, expected in zip(maps.batch(rows, copy), module(torch.stack(moved)).maps, strict=True):
            torch.testing.assert_close(found.float(), expected, rtol=2**-11, atol=1e-6)
    with pytest.raises(ValueError, match="training images"):
        maps.batch(manifest.rows_of("val")[:1], 1)
    with pytest.raises(ValueError, match="copy 3"):
        maps.batch(rows, 3)
    seen = module.seen
    maps_of(module, manifest, tmp_path / "cache", copies=1)
    assert module.seen == seen


@pytest.mark.parametrize("copies", [0, 1])
def test_what_does_not_fit_runs_uncached_with_the_same_numbers(manifest: Manifest, tmp_path: Path, copies: int) -> None:
    module, notes = Cnn(), Notes()
    cached = maps_of(module, manifest, tmp_path / "cache", copies=copies)
    live = maps_of(module, manifest, tmp_path / "small", copies=copies, limit=1000, progress=notes)
    assert not live.cached
    (note,) = notes.notes
    assert note.startswith(f"cnn on {manifest.name}: ")
    assert "limit of 1 kB" in note
    rows = manifest.rows_of("train")[::-3]
    seen = module.seen
    for a, b in zip(cached.batch(rows, copies), live.batch(rows, copies), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    assert module.seen == seen + len(rows)
    assert held(tmp_path / "small") < 1000


def test_images_are_cached_even_if_their_copies_do_not_fit(manifest: Manifest, tmp_path: Path) -> None:
    module, notes = Cnn(), Notes()
    maps = maps_of(module, manifest, tmp_path, copies=2, limit=120 * ROW + 9000, progress=notes)
    assert not maps.cached
    assert len(notes.notes) == 1
    seen = module.seen
    maps.batch(np.arange(120))
    assert module.seen == seen
    maps.batch(manifest.rows_of("train")[:4], 2)
    assert module.seen == seen + 4


def test_entries_used_longest_ago_make_room(manifest: Manifest, tmp_path: Path) -> None:
    limit = 2 * (120 * ROW + 4096)
    modules = {name: Cnn(name) for name in "abc"}
    for name in "aba":
        maps_of(modules[name], manifest, tmp_path, limit=limit)
    old = maps_of(modules["b"], manifest, tmp_path, limit=limit)
    maps_of(modules["a"], manifest, tmp_path, limit=limit)
    maps_of(modules["c"], manifest, tmp_path, limit=limit)  # b goes
    assert held(tmp_path) <= limit
    assert [m.seen for m in modules.values()] == [120, 120, 120]
    assert torch.isfinite(old.batch(np.arange(120))[0]).all()  # whoever has it open keeps it
    maps_of(modules["a"], manifest, tmp_path, limit=limit)
    assert modules["a"].seen == 120
    maps_of(modules["b"], manifest, tmp_path, limit=limit)
    assert modules["b"].seen == 240
    maps_of(modules["b"], manifest, tmp_path, limit=120 * ROW + 4096)  # a smaller limit counts for what is there
    assert held(tmp_path) <= 120 * ROW + 4096
    assert modules["b"].seen == 240


def test_interrupted_extraction_goes_on_with_the_same_bits(manifest: Manifest, tmp_path: Path) -> None:
    module = Cnn()
    whole = maps_of(module, manifest, tmp_path / "one").batch(np.arange(120))
    module.seen = 0
    with pytest.raises(KeyboardInterrupt):
        maps_of(module, manifest, tmp_path / "two", progress=Notes(48))
    again = Notes()
    resumed = maps_of(module, manifest, tmp_path / "two", progress=again).batch(np.arange(120))
    assert again.resumed_at == 48
    assert module.seen == 120
    for a, b in zip(whole, resumed, strict=True):
        assert torch.equal(a, b)


def test_a_damaged_entry_is_made_again(manifest: Manifest, tmp_path: Path) -> None:
    module = Cnn()
    whole = maps_of(module, manifest, tmp_path).batch(np.arange(120))
    (data,) = tmp_path.rglob("maps.f16")
    content = bytearray(data.read_bytes())
    content[1000] ^= 1
    data.write_bytes(content)
    again = maps_of(module, manifest, tmp_path).batch(np.arange(120))
    assert module.seen == 240
    for a, b in zip(whole, again, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("limit", [PLENTY, 1000])
def test_maps_beyond_float16_keep_their_precision(manifest: Manifest, tmp_path: Path, limit: int) -> None:
    plain, huge = Cnn(), Cnn("huge", 2.0**40)
    small = maps_of(plain, manifest, tmp_path, limit=limit).batch(np.arange(9))
    large = maps_of(huge, manifest, tmp_path, limit=limit).batch(np.arange(9))
    for a, b in zip(small, large, strict=True):
        assert b.dtype == torch.float32
        assert b.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(b / 2.0**40, a.float(), rtol=2**-10, atol=1e-6)


def test_the_largest_half_is_no_overflow(manifest: Manifest, tmp_path: Path) -> None:
    peak = max(float(m.abs().max()) for m in maps_of(Cnn(), manifest, tmp_path).batch(np.arange(120)))
    for factor in (65504 / peak, 65600 / peak):
        found = maps_of(Cnn(f"{factor}", factor), manifest, tmp_path).batch(np.arange(120))
        assert all(torch.isfinite(m).all() for m in found)


def test_nan_is_refused_by_name(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"NaN or infinite features for .*000\.png"):
        maps_of(Cnn("nan", float("nan")), manifest, tmp_path)


class Shaped(Cnn):
    """Maps of given shapes."""

    def __init__(self, *shapes: tuple[int, int]) -> None:
        super().__init__("shaped")
        self.shapes = shapes

    def forward(self, images: Tensor) -> Features:
        n = len(images)
        return Features(torch.ones(n, 3), tuple(torch.ones(n, 5, *shape) for shape in self.shapes))


def test_encoders_without_usable_maps_are_told_so(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="shaped gives no feature maps"):
        maps_of(Shaped(), manifest, tmp_path)
    with pytest.raises(UserError, match="none, or four"):
        maps_of(Shaped((4, 4), (2, 2)), manifest, tmp_path)
    with pytest.raises(UserError, match="square"):
        maps_of(Shaped((4, 4), (4, 4), (4, 2), (4, 4)), manifest, tmp_path)


def test_bad_images_are_an_error_or_rows_of_nan(manifest: Manifest, tmp_path: Path) -> None:
    bad = manifest.paths()[50]
    bad.write_bytes(bad.read_bytes()[:40])
    for limit in (PLENTY, 1000):
        with pytest.raises(BadImageError, match=r"050\.png"):
            maps_of(Cnn(), manifest, tmp_path, limit=limit).batch(np.arange(48, 52))
    maps = maps_of(Cnn(), manifest, tmp_path, skip_bad=True)
    assert torch.isnan(maps.batch(np.arange(48, 52))[0]).flatten(1).any(1).tolist() == [False, False, True, False]
    with pytest.raises(BadImageError, match=r"050\.png"):
        maps_of(Cnn(), manifest, tmp_path)


def test_a_full_disk_is_one_line(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cxrbench.features.journal, "_append", full)
    with pytest.raises(UserError, match="No space left on device"):
        maps_of(Cnn(), manifest, tmp_path)


def test_another_image_is_another_entry(manifest: Manifest, tmp_path: Path) -> None:
    module = Cnn()
    maps_of(module, manifest, tmp_path)
    (meta,) = tmp_path.rglob("meta.json")
    assert json.loads(meta.read_text())["widths"] == [2] * 4
    Image.new("L", (30, 30)).save(manifest.paths()[0])
    maps_of(module, load_dataset(str(manifest.root / "labels.csv"), None, Path), tmp_path)
    assert len(list(tmp_path.rglob("meta.json"))) == 2
