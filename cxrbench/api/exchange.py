"""Results of several people: pack them for others, merge them, look at what is in them, call things otherwise."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cxrbench.errors import UserError
from cxrbench.progress import Bar, unseen

if TYPE_CHECKING:
    from cxrbench.bundle.folder import Bundled
    from cxrbench.exchange.check import Checked
    from cxrbench.exchange.merge import Merged, Prefer
    from cxrbench.exchange.pack import Packed
    from cxrbench.exchange.rename import Renamed


def pack_results(
    results: Path | str = "results",
    out: Path | str = "results.cxrpack",
    *,
    salt: Path | str,
    attributes: str | Sequence[str] = (),
    bar: Bar = unseen,
) -> "Packed":
    """One de-identified file of a results folder: identifiers become HMAC-SHA256 pseudonyms, paths and texts go.

    ``salt``: a file with the secret, made if it is not there; it is never packed, and two sites that use the same one
    keep their pairing. ``attributes``: of sex, age (in bands), view, site and scanner those that may leave. What is
    withheld, and who might be recognised, is told in ``lines``. docs/sharing-results.md says what this does not
    protect against. Raises UserError.
    """
    from cxrbench.engine.settings import names
    from cxrbench.exchange.pack import pack
    from cxrbench.exchange.salt import read_salt

    root = _results(results)
    with bar("packing") as advance:
        return pack(
            root, Path(out), read_salt(Path(salt).expanduser(), root),
            attributes=tuple(names(attributes, "attributes")) if attributes else (), advance=advance,
        )  # fmt: skip


def merge_results(
    sources: Sequence[Path | str], into: Path | str, *, prefer: "Prefer | None" = None, bar: Bar = unseen
) -> "Merged":
    """Results folders and packs of several people in one results folder, in which nothing is overwritten.

    Identical cells count once; of two that are at odds the one that was there first is kept, or with ``prefer``
    ``newest`` the one computed last, and ``conflicts`` names them. Damaged files are named and left out. Raises
    UserError for what is no store.
    """
    from cxrbench.exchange.merge import merge

    if not sources:
        raise UserError("nothing to merge: name results folders or files of `cxrbench results pack`")
    with bar("merging") as advance:
        return merge([Path(one) for one in sources], Path(into), prefer=prefer, advance=advance)


def check_results(source: Path | str) -> "Checked":
    """What is in a results folder or a pack, whether it is whole, and what in it may identify somebody.

    Changes nothing. ``clean`` where it is whole and nothing was found; ``terms`` says who may share the data sets.
    Raises UserError for what is neither.
    """
    from cxrbench.exchange.check import checked

    return checked(Path(source))


def rename_in_results(
    results: Path | str, old: str, new: str, *, what: Literal["encoder", "dataset"] | None = None
) -> "Renamed":
    """Call an encoder or a data set otherwise, in every place of a results folder. Raises UserError.

    An encoder's cells keep their identity; a data set's get that of a run under the new name. ``what``: which of the
    two is meant, where both are called ``old``.
    """
    from cxrbench.exchange.rename import rename

    return rename(_results(results), old, new, what=what)


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


def _results(results: Path | str) -> Path:
    root = Path(results).expanduser()
    if not root.is_dir():
        raise UserError(f"no results folder {root}: give --results DIR")
    return root
