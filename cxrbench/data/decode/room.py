"""How much memory decoding may take: a few large images at once, not as many as there are threads."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TOGETHER = 1 << 30
"""Bytes that images may take while they are decoded, all threads together. A larger one is decoded alone."""


class Room:
    """Bytes that threads reserve before they decode and give back afterwards."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._change = threading.Condition()
        self._mine = threading.local()

    @contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes are free, or nobody else has any. Within a reservation a second one costs nothing.

        Else a thread could wait for itself.
        """
        if getattr(self._mine, "inside", False):
            yield
            return
        with self._change:
            self._change.wait_for(lambda: not self._used or self._used + size <= self._limit)
            self._used += size
        self._mine.inside = True
        try:
            yield
        finally:
            self._mine.inside = False
            with self._change:
                self._used -= size
                self._change.notify_all()

    def start_over(self) -> None:
        """Forget all reservations: in a forked process the threads that made them are gone."""
        self.__init__(self._limit)


ROOM = Room(TOGETHER)  # of the whole process, because memory is
os.register_at_fork(after_in_child=ROOM.start_over)
