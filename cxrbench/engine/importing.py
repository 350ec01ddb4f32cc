"""What a run will import anyway, imported while other processes work for it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from cxrbench.errors import THEIRS, UserError
from cxrbench.plugins.entry_points import ENCODERS, load_plugin
from cxrbench.plugins.specs import parse_encoder


@contextmanager
def importing(encoders: Sequence[str]) -> Iterator[None]:
    """A context whose body is done while a thread imports torch and the plugins of these encoders.

    What cannot be imported is passed over: whoever needs it will say so. A body that is interrupted does not wait.
    """
    thread = threading.Thread(target=_import, args=(encoders,), daemon=True)
    thread.start()
    yield
    thread.join()


def _import(encoders: Sequence[str]) -> None:
    with suppress(UserError, *THEIRS):
        import cxrbench.features.efficiency
        import cxrbench.features.extract
        import cxrbench.plugins.loading  # noqa: F401
    for text in encoders:
        with suppress(UserError, *THEIRS):  # a file, say, is no plugin
            load_plugin(ENCODERS, parse_encoder(text).name, "encoder")
