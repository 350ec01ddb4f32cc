"""Where to begin a plugin."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrbench.kit.new import PluginKind


def new_plugin(kind: "PluginKind", name: str, out: Path | str = ".", *, text: bool = False) -> list[Path]:
    """Write a package with an ``encoder``, a ``task`` or a ``data`` set adapter into ``out/NAME``; returns its files.

    It passes its own tests, and its entry point makes cxrbench know it once it is installed. ``text``: an encoder with
    a text tower. Raises UserError.
    """
    from cxrbench.kit.new import new_plugin

    return new_plugin(kind, name, Path(out), text=text)
