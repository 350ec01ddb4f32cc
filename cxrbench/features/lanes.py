"""On a CPU, several calls of an encoder at once, each on few cores: faster than one call on all, with the same bits.

The layers of a small network are so short that the cores, sharing each of them, mostly wait for one another.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn


def threads_of(count: int, cores: int) -> ThreadPoolExecutor:
    """``count`` threads in each of which torch works on ``cores`` cores; in all other threads it goes on as before.

    Raises RuntimeError where the system has no more threads to give.
    """
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, initializer=_use, initargs=(cores,))
    # All are started here: what is set last is also what torch gives to threads that come later.
    started = threading.Barrier(count + 1)
    try:
        for _ in range(count):
            pool.submit(started.wait)
        started.wait()
    except BaseException:  # Ctrl-C: threads that have started would wait for ever, and the end of this process for them
        started.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        torch.set_num_threads(before)
    return pool


def _use(cores: int) -> None:
    torch.get_num_threads()  # at its first look a thread takes over the number of all: no later than now
    torch.set_num_threads(cores)


def may_run_at_once(module: nn.Module) -> bool:
    """Whether several threads may call an encoder at once.

    Its class must say so itself (``thread_safe = True``; what a subclass adds, its parent cannot know), and nothing may
    have been hung on the object: hooks keep what they see, mostly in one place for all calls.
    """
    if not vars(type(module)).get("thread_safe", False):
        return False
    parts: list[Any] = list(module.modules())
    return not any(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part) for part in parts)
