"""What saved predictions say of the protocols of one encoder: a leaderboard of them, a comparison of two."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cxrbench.api.forms import Compared, Leaderboard
from cxrbench.api.saved import Saved, kept_in, saved_cells, saved_names
from cxrbench.api.tables import check_draws
from cxrbench.arguments import check_type
from cxrbench.errors import chosen
from cxrbench.progress import Bar, unseen


def leaderboard_of_protocols(
    encoder: str,
    protocols: str | Sequence[str],
    results: Saved = "results",
    *,
    datasets: str | Sequence[str] = (),
    baseline: str | None = None,
    metrics: str | Sequence[str] = (),
    replicates: int = 10_000,
    seed: int = 0,
    rope: float = 0.01,
    names: str | Sequence[str] = (),
    labels: str | Sequence[str] = (),
    spread: Literal["interval", "sd"] = "interval",
    cache: Path | str | None = None,
    bar: Bar = unseen,
) -> Leaderboard:
    """A leaderboard of the protocols of one encoder: views, decoders, label fractions, probes, folds.

    ``protocols``: as results name them (``classification+views2``), at a label fraction with ``@0.1``; all are tested
    on the same images, those that every one of them has. ``datasets``: names, or paths of a CSV (default: all).
    ``baseline``: the protocol that the others are tested against (default: the first). ``names``: ``PROTOCOL=NAME``.
    The rest as of ``leaderboard``. Raises UserError.
    """
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.cells import Look, Spread
    from cxrbench.leaderboard.display import read_names
    from cxrbench.leaderboard.protocols.tables import as_saved, board_of_protocols

    chosen("--spread", Spread, spread)
    check_draws(replicates, seed)
    check_type("rope", rope, float)
    look = Look(read_names(separate(names, "names")), tuple(separate(labels, "labels")), spread)
    wanted = separate(protocols, "protocols")
    found = saved_cells(results, saved_names(datasets, "datasets"), cache)
    with bar("evaluating") as advance:
        table = board_of_protocols(
            found.predictions,
            encoder,
            wanted,
            datasets=saved_names(datasets, "datasets"),
            baseline=baseline,
            metrics=tuple(separate(metrics, "metrics")) or None,
            replicates=replicates,
            seed=seed,
            rope=rope,
            not_applicable=found.not_applicable,
            kept=kept_in(cache),
            advance=advance,
        )
    return Leaderboard(table, look, as_saved(table, wanted))


def compare_protocols(
    encoder: str,
    protocols: str | Sequence[str],
    *,
    results: Saved = "results",
    datasets: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    replicates: int = 10_000,
    seed: int = 0,
    margin: float | None = None,
    names: str | Sequence[str] = (),
    cache: Path | str | None = None,
    bar: Bar = unseen,
) -> Compared:
    """Is the first of two ``protocols`` of an encoder better than the second? As ``compare`` says it of encoders.

    ``protocols``, ``datasets``, ``names``, ``cache``, ``bar``: as of ``leaderboard_of_protocols``. Raises UserError.
    """
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.display import read_names
    from cxrbench.leaderboard.protocols.tables import compare_protocols

    check_draws(replicates, seed)
    check_type("margin", margin, float | None)
    called = read_names(separate(names, "names"))
    saved = saved_cells(results, saved_names(datasets, "datasets"), cache)
    with bar("evaluating") as advance:
        comparison = compare_protocols(
            saved.predictions, encoder, separate(protocols, "protocols"), datasets=saved_names(datasets, "datasets"),
            metrics=tuple(separate(metrics, "metrics")) or None, replicates=replicates, seed=seed, margin=margin,
            kept=kept_in(cache), advance=advance,
        )  # fmt: skip
    return Compared(comparison, called)
