"""Memory that is reserved before decoding: as many at once as fit, a large one alone, nobody forgotten."""

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrbench.data.decode import images, raster
from cxrbench.data.decode.images import decode, use_decoded
from cxrbench.data.decode.room import Room
from cxrbench.errors import BadImageError


def peak(room: Room, sizes: list[int]) -> int:
    """The most bytes reserved at once by one thread per size, all of which must come through."""
    lock, inside, most, done = threading.Lock(), 0, 0, 0

    def one(size: int) -> None:
        nonlocal inside, most, done
        with room.reserved(size):
            with lock:
                inside += size
                most = max(most, inside)
            threading.Event().wait(0.002)
            with lock:
                inside -= size
                done += 1

    threads = [threading.Thread(target=one, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert done == len(sizes)
    return most


def test_no_more_than_the_limit_at_once() -> None:
    assert peak(Room(100), [40] * 12) <= 80
    assert peak(Room(100), [250, 30, 250, 30]) <= 250, "one that is larger than the room is alone"


def test_a_thread_does_not_wait_for_itself_and_an_error_gives_back() -> None:
    room = Room(10)
    with room.reserved(8), room.reserved(8):
        pass
    with pytest.raises(ZeroDivisionError), room.reserved(10):
        raise ZeroDivisionError
    assert peak(room, [10, 10]) == 10


def test_an_image_counts_until_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(1 << 30)
    monkeypatch.setattr(images, "ROOM", room)
    Image.fromarray(np.zeros((10, 10, 4), np.uint8)).save(tmp_path / "a.png")
    held = use_decoded(tmp_path / "a.png", lambda image: vars(room)["_used"])
    assert held >= 10 * 10 * 8
    assert vars(room)["_used"] == 0
    with pytest.raises(BadImageError):
        decode(tmp_path / "none.png")
    assert vars(room)["_used"] == 0


def test_large_images_are_given_back_to_the_system_and_not_kept_for_each_thread() -> None:
    """The C library maps what is larger than 32 MB (mallopt(3), M_MMAP_THRESHOLD) and keeps smaller blocks."""
    assert raster.Image.core.get_block_size() > 32 << 20
