"""Several calls of an encoder at once: the same features, and only where the encoder allows it."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from cxrbench.encoder import Encoder, Features, Preprocess
from cxrbench.errors import UserError
from cxrbench.features import lanes
from cxrbench.features.extract import CPU_PART, ExtractOptions, extract
from cxrbench.features.lanes import may_run_at_once, threads_of

IMAGES, BATCH = 5 * CPU_PART + 3, 2 * CPU_PART


class Meeting(torch.nn.Module):
    """Features are an image's column means; notes how many calls were under way at once, and torch's threads."""

    preprocess = Preprocess(size=8, mean=(0.5,), std=(0.5,), channels=1)
    thread_safe = True
    patience = 120.0  # seconds that another call may take to begin

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.most, self.cores, self.lock = 0, 0, set[int](), threading.Lock()
        self.met = threading.Event()

    def forward(self, images: torch.Tensor) -> Features:
        """Features of images [b, 1, 8, 8]."""
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.cores.add(torch.get_num_threads())
            if self.inside > 1:
                self.met.set()
        self.met.wait(self.patience)
        with self.lock:
            self.inside -= 1
        return Features(images.mean(2).flatten(1))


class Alone(Meeting):
    """A subclass that does not say that it may be called by several threads."""

    patience = 0.05


@pytest.fixture
def two_cores() -> Iterator[None]:
    """Torch with two threads, however many the tests are run with."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Small images."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(IMAGES)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    return paths


def features(module: Encoder, paths: list[Path]) -> NDArray[np.float32]:
    """Of all images, NaN for bad ones."""
    options = ExtractOptions(torch.device("cpu"), "fp32", batch_size=BATCH)
    return np.concatenate([b.values for b in extract(lambda: module, module.preprocess, paths, 0, options)])


@pytest.mark.usefixtures("two_cores")
def test_lanes_give_the_features_of_one_call_after_another(paths: list[Path]) -> None:
    """A bad image among them, a last batch that is not full."""
    paths[3].write_bytes(b"no image")
    at_once, alone = Meeting(), Alone()
    values = features(at_once, paths)
    np.testing.assert_array_equal(values, features(alone, paths))
    assert np.flatnonzero(np.isnan(values).any(1)).tolist() == [3]
    assert (at_once.most, at_once.cores) == (2, {1})
    assert (alone.most, alone.cores) == (1, {2})


@pytest.mark.usefixtures("two_cores")
def test_what_goes_wrong_in_a_lane_comes_after_the_batches_before_it(paths: list[Path]) -> None:
    """So what was finished can be kept."""

    class Failing(Meeting):
        thread_safe = True
        calls = 0

        def forward(self, images: torch.Tensor) -> Features:
            with self.lock:
                self.calls += 1
                late = self.calls > 2  # of the second batch
            if late:
                raise ValueError("enough")
            return super().forward(images)

    module = Failing()
    options = ExtractOptions(torch.device("cpu"), "fp32", batch_size=BATCH)
    batches = extract(lambda: module, module.preprocess, paths, 0, options)
    assert len(next(batches).values) == BATCH
    with pytest.raises(UserError, match="enough"):
        list(batches)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("way", ["subclass", "hook of a part", "hook before", "another forward"])
def test_who_does_not_say_so_or_carries_hooks_is_called_by_one_thread(way: str) -> None:
    """Hooks keep what they see; two calls at once would mix it up."""
    module: torch.nn.Module = Meeting()
    part = module.part = torch.nn.Identity()
    assert may_run_at_once(module)
    if way == "subclass":
        module = Alone()
    elif way == "hook of a part":
        part.register_forward_hook(lambda module, images, out: None)
    elif way == "hook before":
        part.register_forward_pre_hook(lambda module, images: None)
    else:
        part.forward = lambda images: images  # type: ignore[method-assign]
    assert not may_run_at_once(module)


def test_threads_have_their_cores_and_leave_those_of_others_alone() -> None:
    """Of this thread, and of threads that begin later."""
    before, later = torch.get_num_threads(), list[int]()
    with threads_of(2, 3) as pool:
        assert {pool.submit(torch.get_num_threads).result() for _ in range(8)} == {3}
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert (torch.get_num_threads(), later) == (before, [before])


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError])
def test_threads_that_could_not_all_start_do_not_wait_for_ever(
    end: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python waits for them at its end. Ctrl-C while they start; a system that gives no second thread."""
    barriers, before, main = list[threading.Barrier](), {*threading.enumerate()}, threading.main_thread()
    start, handler = threading.Thread.start, signal.signal(signal.SIGINT, signal.default_int_handler)

    class Noted(threading.Barrier):
        def __init__(self, parties: int) -> None:
            super().__init__(parties)
            barriers.append(self)

    def interrupt(cores: int) -> None:
        if end is KeyboardInterrupt and cores == 1:
            assert main.ident is not None
            signal.pthread_kill(main.ident, signal.SIGINT)

    def one_alone(thread: threading.Thread) -> None:
        if end is RuntimeError and len({*threading.enumerate()} - before):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading, "Barrier", Noted)
    monkeypatch.setattr(threading.Thread, "start", one_alone)
    interrupted = iter((1, 2))  # once
    monkeypatch.setattr(lanes, "_use", lambda cores: interrupt(next(interrupted)))
    try:
        with pytest.raises(end):
            threads_of(2, 1)
        for thread in {*threading.enumerate()} - before:
            thread.join(120)
        assert {*threading.enumerate()} <= before
    finally:
        signal.signal(signal.SIGINT, handler)
        for barrier in barriers:
            barrier.abort()
