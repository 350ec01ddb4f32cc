"""Everything that a place without a network needs, in one folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrbench.bundle.folder import Bundled


def bundle(
    folder: Path | str,
    encoders: str | Sequence[str] = (),
    *,
    python: str | None = None,
    source: Path | str | None = None,
    extras: Sequence[str] = ("baselines",),
    torch: bool = True,
    told: Callable[[str], None] = lambda line: None,
) -> "Bundled":
    """A folder for a place without a network: wheels, the encoders' weights and cards, docs, ``check.py``.

    Wheels are of the versions that are installed here; those of another interpreter, ``python``, are what its pip
    finds. ``source``: cxrbench's checkout or wheel (default: where it was installed from). ``torch``: False leaves
    torch out, gigabytes that a hospital may have already. ``told``: is given what is going on. Raises UserError.
    """
    from cxrbench.api.encoders import describe
    from cxrbench.bundle.folder import bundle as make
    from cxrbench.engine.settings import names

    return make(
        Path(folder), tuple(names(encoders, "encoders")) if encoders else (), python=python,
        source=Path(source) if source else None, extras=tuple(extras), torch=torch, describe=describe, told=told,
    )  # fmt: skip
