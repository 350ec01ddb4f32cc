"""What a run will do anyway before its first image, done while other processes draw its images."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from cxrbench.engine.registry import load_encoder
from cxrbench.errors import THEIRS, UserError
from cxrbench.plugins import memo
from cxrbench.plugins.entry_points import ENCODERS, load_plugin
from cxrbench.plugins.specs import parse_encoder

Submit = Callable[[Callable[[], object]], None]
"""Has a call made in the thread, after those that were submitted before it."""


@contextmanager
def importing(encoders: Sequence[str], cache: Path) -> Iterator[Submit]:
    """A context whose body is done while a thread imports torch and the plugins of these encoders.

    Encoders whose plugins say what they read are built, and remembered in the cache folder for the plan. The body may
    submit more. What fails is passed over: whoever needs it will say so. A body that is interrupted does not wait.
    """
    todo: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
    thread = threading.Thread(target=_work, args=(todo,), daemon=True)
    for text in encoders:
        todo.put(partial(_import, text))
    for text in encoders:
        todo.put(partial(_learn, text, cache))
    thread.start()
    yield todo.put
    todo.put(None)
    thread.join()


def _work(todo: "queue.SimpleQueue[Callable[[], object] | None]") -> None:
    import torch

    import cxrbench.features.efficiency
    import cxrbench.features.extract  # noqa: F401

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the other cores draw
    try:
        while (call := todo.get()) is not None:
            with suppress(UserError, *THEIRS):
                call()
    finally:
        torch.set_num_threads(before)  # what was set last holds in later threads too


def _import(text: str) -> None:
    load_plugin(ENCODERS, parse_encoder(text).name, "encoder")  # a file, say, is no plugin


def _learn(text: str, cache: Path) -> None:
    """Build an encoder that is not known, show it the fixed images, and remember it, where that can be remembered."""
    from cxrbench.plugins.loading import fixed_features

    _import(text)
    if memo.recall(cache, text, synthetic=True) is None:
        loaded = load_encoder(text, synthetic=True)
        if loaded.reads is not None:
            memo.remember(cache, loaded, fixed_features(loaded), synthetic=True)
