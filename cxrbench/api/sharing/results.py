"""Results of several people: pack them for others, merge them, look at what is in them, call things otherwise."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cxrbench.errors import UserError
from cxrbench.progress import Bar, unseen

if TYPE_CHECKING:
    from cxrbench.exchange.check import Checked
    from cxrbench.exchange.merge import Merged, Prefer
    from cxrbench.exchange.pack import Packed
    from cxrbench.exchange.rename import Renamed


def pack_results(
    results: Path | str = "results",
    out: Path | str = "results.cxrpack",
    *,
    salt: Path | str | None = None,
    attributes: str | Sequence[str] = (),
    aggregate: bool = False,
    baseline: str | None = None,
    replicates: int = 10_000,
    seed: int = 0,
    cache: Path | str | None = None,
    bar: Bar = unseen,
) -> "Packed":
    """One de-identified file of a results folder: identifiers become HMAC-SHA256 pseudonyms, paths and texts go.

    ``salt``: a file with the secret, made if it is not there; it is never packed, and two sites that use the same one
    keep their pairing. ``attributes``: of sex, age (in bands), view, site and scanner those that may leave.
    ``aggregate``: instead of cells, sufficient statistics of every column, against ``baseline`` (default: ``random``,
    if it was run), from which a leaderboard is drawn; ``replicates``, ``seed``, ``cache``: as of ``leaderboard``. What
    is withheld, and who might be recognised, is told in ``lines``. docs/sharing-results.md says what this does not
    protect against. Raises UserError.
    """
    from cxrbench.engine.settings import names
    from cxrbench.exchange.archive import check_target
    from cxrbench.exchange.pack import pack
    from cxrbench.exchange.salt import read_salt

    root = _results(results)
    check_target(Path(out), root)
    if aggregate:
        if salt is not None or attributes:
            raise UserError(
                "--aggregate takes no identifiers and nothing of patients along: leave out --salt, --attributes"
            )
        return _aggregates(root, Path(out), baseline, replicates, seed, cache, bar)
    if salt is None:
        raise UserError("--salt FILE is missing: it is made where it is not there; keep it, and never send it along")
    if Path(out).resolve() == Path(salt).expanduser().resolve():
        raise UserError(f"--output and --salt are both {salt}: the salt would be lost, or sent along")
    with bar("packing") as advance:
        return pack(
            root, Path(out), read_salt(Path(salt).expanduser(), root),
            attributes=tuple(names(attributes, "attributes")) if attributes else (), advance=advance,
        )  # fmt: skip


def _aggregates(
    root: Path, out: Path, baseline: str | None, replicates: int, seed: int, cache: Path | str | None, bar: Bar
) -> "Packed":
    """Evaluate what is saved, as a leaderboard does, and pack what it needs."""
    from cxrbench.api.saved import kept_in, saved_cells
    from cxrbench.exchange.aggregates import pack_aggregates
    from cxrbench.exchange.encoder_names import without_folders
    from cxrbench.leaderboard.columns.packing import aggregates_of

    found = saved_cells(root, None)
    who = {str(one.cell["encoder"]): str(one.encoder.get("fingerprint", "")) for one in found.predictions}
    with bar("evaluating") as advance:
        records, lines = aggregates_of(
            found.predictions, found.not_applicable, found.store.load_efficiency(found.predictions),
            names={name: without_folders(name, fingerprint) for name, fingerprint in who.items()}, baseline=baseline,
            replicates=replicates, seed=seed, kept=kept_in(cache), advance=advance,
        )  # fmt: skip
    return pack_aggregates(root, records, lines, out)


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


def _results(results: Path | str) -> Path:
    root = Path(results).expanduser()
    if not root.is_dir():
        raise UserError(f"no results folder {root}: give --results DIR")
    return root
