"""Parts of an entry: made by whomever, joined into what one worker would have made, to the bit."""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderSpec, Preprocess
from cxrbench.engine.registry import load_dataset, load_encoder
from cxrbench.engine.verify import examined, items
from cxrbench.errors import BadImageError, UserError
from cxrbench.features.extract import ExtractOptions
from cxrbench.features.parts import make
from cxrbench.features.parts.join import Joining
from cxrbench.features.parts.make import make_part
from cxrbench.features.parts.places import entry_folder, part_lease, part_place, part_state, parts_folder, parts_of
from cxrbench.features.pooled import PooledFeatures, feature_key, pooled_features
from cxrbench.features.pooled_rows import PooledRows
from cxrbench.files.leases import Leases
from cxrbench.files.records import read_record, write_record
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.plugins.loading import fixed_features
from cxrbench.progress import Progress

OPTIONS = ExtractOptions(torch.device("cpu"), "fp32", batch_size=8, workers=2)
CUTS = parts_of(120, 8, 40)


class Told(Progress):
    """Keeps the notes, and where making rows began; ends the process's work after some images, as a kill would."""

    def __init__(self, left: float = float("inf")) -> None:
        self.notes: list[str] = []
        self.begun: list[int] = []
        self.left = left

    def start(self, total: int, done: int) -> None:
        self.begun.append(done)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def advance(self, images: int) -> None:
        self.left -= images
        if self.left <= 0:
            raise Killed


class Killed(BaseException):
    """What ends a process at once."""


class Work:
    """An encoder on a dataset, with a cache."""

    def __init__(self, encoder: str, dataset: Path, cache: Path) -> None:
        self.loaded, self.cache = load_encoder(encoder, synthetic=False), cache
        self.manifest: Manifest = load_dataset(str(dataset), None, Path)
        self.fixed = fixed_features(self.loaded)
        self.entry = entry_folder(cache, feature_key(self.loaded.spec, self.manifest, "fp32"))

    def of(self) -> tuple[EncoderSpec, Callable[[], Encoder], Preprocess, Manifest]:
        loaded = self.loaded
        return loaded.spec, lambda: loaded.module, loaded.module.preprocess, self.manifest

    def part(self, rows: range, told: Progress | None = None, batch_size: int = 8, **given: Any) -> None:
        given = {"skip_bad": True, "fixed": self.fixed} | given
        options = replace(OPTIONS, batch_size=batch_size)
        make_part(*self.of(), self.cache, options, rows, progress=told, **given)

    def all(self, told: Progress | None = None, **given: Any) -> PooledFeatures:
        given = {"skip_bad": True, "fixed": self.fixed} | given
        return pooled_features(*self.of(), self.cache, OPTIONS, progress=told, **given)

    def state(self, rows: range) -> str:
        return part_state(self.entry, rows, 8)


@pytest.fixture
def work(encoder: str, dataset: Path, tmp_path: Path) -> Work:
    return Work(encoder, dataset, tmp_path / "cache")


@pytest.fixture
def one(encoder: str, dataset: Path, tmp_path: Path) -> Work:
    """The same, in another cache: what one worker makes."""
    return Work(encoder, dataset, tmp_path / "one")


def calls(file: Path) -> int:
    """How many images the encoder has seen since the last time."""
    count = sum(map(int, file.read_text().split())) if file.exists() else 0
    file.unlink(missing_ok=True)
    return count


def same(work: Work, one: Work) -> bool:
    """Whether two entries hold the same bytes, and say the same of them."""
    first, second = work.entry, one.entry
    metas = [read_record(folder / "meta.json") for folder in (first, second)]
    speeds = [meta.pop("images_per_second") for meta in metas]
    return (
        (first / "pooled.f32").read_bytes() == (second / "pooled.f32").read_bytes()
        and metas[0] == metas[1]
        and min(speeds) > 0
        and sorted(path.name for path in first.iterdir()) == sorted(path.name for path in second.iterdir())
    )


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 64, 1000, 377_110])
@pytest.mark.parametrize("batch_size", [1, 8, 64])
@pytest.mark.parametrize("target", [1, 100, 4096, 10**9])
def test_parts_are_all_rows_cut_at_multiples_of_the_batch_size(rows: int, batch_size: int, target: int) -> None:
    parts = parts_of(rows, batch_size, target)
    assert (parts[0].start, parts[-1].stop) == (0, rows)
    assert all(a.stop == b.start for a, b in itertools.pairwise(parts))
    assert all(part.start % batch_size == 0 and part for part in parts)
    longest = max(map(len, parts))
    assert longest <= max(1.5 * target, 1) + batch_size
    assert len(parts) == 1 or min(map(len, parts[:-1])) >= longest - batch_size


def test_joined_parts_are_what_one_worker_makes(work: Work, one: Work, dataset: Path, encoder_calls: Path) -> None:
    for row in (5, 50, *range(80, 120)):  # of the last part no image can be read
        dataset.with_name(f"{row:03}.png").write_bytes(b"no image")
    one.all()
    assert calls(encoder_calls) == 78
    assert len(CUTS) == 3
    for rows in reversed(CUTS):
        assert work.state(rows) == "missing"
        work.part(rows)
        assert work.state(rows) == "made"
        work.part(rows)  # once more: nothing to do
    assert {examined(item).condition for item in items(None, work.cache)} == {"whole"}
    assert calls(encoder_calls) == 78
    found = work.all(told := Told())
    assert not encoder_calls.exists()
    assert same(work, one)
    assert len(found.bad) == 42
    assert told.notes == []
    assert [path.name for path in work.entry.parent.iterdir()] == [work.entry.name]
    assert {work.state(rows) for rows in CUTS} == {"joined"}
    work.part(CUTS[0])
    assert not encoder_calls.exists()
    with pytest.raises(BadImageError, match=r"005\.png"):
        work.all(skip_bad=False)


def test_what_no_part_holds_is_extracted(work: Work, one: Work, encoder_calls: Path) -> None:
    one.all()
    work.part(CUTS[1])
    calls(encoder_calls)
    work.all()
    assert calls(encoder_calls) == 120 - len(CUTS[1])
    assert same(work, one)


def test_images_that_cannot_be_read_end_a_part_and_a_join(work: Work, dataset: Path) -> None:
    dataset.with_name("050.png").write_bytes(b"no image")
    with pytest.raises(BadImageError, match=r"050\.png"):
        work.part(CUTS[1], skip_bad=False)
    work.part(CUTS[1])
    with pytest.raises(BadImageError, match=r"050\.png"):
        work.all(skip_bad=False)


def test_where_no_image_can_be_read_parts_say_so_in_the_end(work: Work, dataset: Path) -> None:
    for image in dataset.parent.glob("*.png"):
        image.write_bytes(b"no image")
    for rows in CUTS:
        work.part(rows)
    for _ in range(2):
        with pytest.raises(UserError, match="not one image can be read"):
            work.all()


def test_a_killed_part_goes_on_and_a_killed_join_asks_no_encoder(
    work: Work, one: Work, encoder_calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrbench.features.journal.SECONDS_BETWEEN_SYNCS", -1)
    one.all()
    calls(encoder_calls)
    for rows in CUTS:
        with pytest.raises(Killed):
            work.part(rows, Told(left=24))
        assert work.state(rows) == "missing"
        work.part(rows, told := Told())
        assert told.begun == [24]
    assert calls(encoder_calls) == 120
    for left in (8, 40, 24):
        with pytest.raises(Killed):
            work.all(Told(left=left))
    told = Told()
    with monkeypatch.context() as patch:
        patch.setattr("cxrbench.features.pooled.remove_parts", lambda entry: Told(left=0).advance(1))
        with pytest.raises(Killed):
            work.all(told)
    assert told.begun == [72]
    assert parts_folder(work.entry).exists()
    assert same(work, one)
    assert work.all().from_cache
    assert not parts_folder(work.entry).exists()
    assert not encoder_calls.exists()


KILLED_ONCE = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[4])
from features.parts.test_parts import CUTS, Work
torch.set_num_threads(1)
work = Work(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
for rows in CUTS: work.part(rows)
work.all()
"""


@pytest.mark.parametrize("after", [7])
def test_sigkill_at_any_call_loses_no_more_than_seconds(
    after: int, work: Work, one: Work, encoder: str, dataset: Path, encoder_calls: Path
) -> None:
    one.all()
    calls(encoder_calls)
    code = [sys.executable, "-c", KILLED_ONCE, encoder, str(dataset), str(work.cache), str(Path(__file__).parents[2])]
    killed = subprocess.run(code, env=os.environ | {"DIE_AFTER": str(after)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    subprocess.run(code, check=True, env={name: value for name, value in os.environ.items() if name != "DIE_AFTER"})
    assert same(work, one)
    assert calls(encoder_calls) <= 120 + len(CUTS[0]) + 8


def in_process(encoder: str, dataset: Path, cache: Path, cuts: list[range]) -> None:
    torch.set_num_threads(1)
    for rows in cuts:
        Work(encoder, dataset, cache).part(rows)


def test_processes_make_different_parts_at_once_and_one_part_once(
    work: Work, one: Work, encoder: str, dataset: Path, encoder_calls: Path
) -> None:
    one.all()
    calls(encoder_calls)
    torch.set_num_threads(1)
    start = multiprocessing.get_context("spawn").Process
    others = [start(target=in_process, args=(encoder, dataset, work.cache, cuts)) for cuts in (CUTS, CUTS[::-1])]
    for other in others:
        other.start()
    for other in others:
        other.join()
        assert other.exitcode == 0
    assert calls(encoder_calls) == 120
    work.all()
    assert same(work, one)
    assert not encoder_calls.exists()


@pytest.mark.parametrize("name", ["pooled.f32", "meta.json", "fixed.json"])
def test_a_damaged_part_is_made_again(work: Work, one: Work, encoder_calls: Path, name: str) -> None:
    one.all()
    for rows in CUTS:
        work.part(rows)
    damaged = part_place(work.entry, CUTS[1], 8).folder / name
    damaged.write_bytes(damaged.read_bytes()[:-9] + b"\1" + damaged.read_bytes()[-8:])
    assert [v.condition for v in map(examined, items(None, work.cache))].count("damaged") == 1
    calls(encoder_calls)
    work.all(told := Told())
    assert calls(encoder_calls) == len(CUTS[1])
    assert len(told.notes) == (name != "fixed.json")
    assert same(work, one)


def test_parts_of_another_batch_size_or_output_are_not_joined(work: Work, one: Work, encoder_calls: Path) -> None:
    one.all()
    changed = FixedFeatures(1.5 * work.fixed.pooled)
    work.part(CUTS[0], fixed=changed)
    work.part(CUTS[1], batch_size=4)
    for odd in ("batch8-000000000-000000005", "batch8-000000003-000000120", "batch8-000000000-000000999", "notes"):
        (parts_folder(work.entry) / odd).mkdir()
    assert [work.state(rows) for rows in CUTS] == ["made", "missing", "missing"]
    calls(encoder_calls)
    work.part(CUTS[0], told := Told())
    assert calls(encoder_calls) == len(CUTS[0])
    assert "are made again: its output on two fixed images changed" in told.notes[0]
    work.all()
    assert calls(encoder_calls) == 120 - len(CUTS[0])
    assert same(work, one)
    assert not parts_folder(work.entry).exists()


def test_images_per_second_are_those_of_one_worker(work: Work) -> None:
    for rows, speed in zip(CUTS, (10.0, 40.0, float("nan")), strict=True):
        work.part(rows)
        meta = part_place(work.entry, rows, 8).folder / "meta.json"
        write_record(meta, read_record(meta) | {"images_per_second": speed})
    source = PooledRows(*work.of(), OPTIONS, True, work.fixed)
    joining = Joining(work.entry, source, Progress())
    assert sum(len(values) for values, _ in joining.produce(0)) == 120
    assert joining.speed(120, 0.0) == pytest.approx(80 / (4 + 1))


def test_a_part_is_not_made_again_once_all_are_joined_while_somebody_waited_for_it(
    work: Work, one: Work, encoder_calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.all()
    calls(encoder_calls)
    for rows in CUTS[:-1]:
        work.part(rows)

    cached_rows = make.cached_rows

    def late(*given: Any) -> Any:
        monkeypatch.setattr(make, "cached_rows", cached_rows)
        work.part(CUTS[-1])
        work.all()
        return cached_rows(*given)

    monkeypatch.setattr(make, "cached_rows", late)
    work.part(CUTS[-1])
    assert calls(encoder_calls) == 120
    assert same(work, one)
    assert not parts_folder(work.entry).exists()


def test_a_part_that_somebody_makes_is_left_to_them(work: Work) -> None:
    lease = part_lease(work.entry, CUTS[0], 8)
    with Leases() as leases:
        leases.acquire(lease, "making it")
        work.part(CUTS[1])
        work.all()
        assert [path.name for path in parts_folder(work.entry).iterdir()] == [f"{lease.name}.1"]
    work.all()
    assert not parts_folder(work.entry).exists()
