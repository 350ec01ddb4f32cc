"""What saved predictions say of the protocols of one encoder: a leaderboard of them, a comparison of two."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cxrbench.api.tables import Form
from cxrbench.errors import chosen


def board_of_protocols(
    encoder: str,
    protocols: str | Sequence[str],
    results: Path | str = "results",
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
    form: Form = "md",
) -> str:
    """A leaderboard of the protocols of one encoder as text: views, decoders, label fractions, probes, folds.

    ``protocols``: as results name them (``classification+views2``), at a label fraction with ``@0.1``; all are tested
    on the same images, those that every one of them has. ``datasets``: names, or paths of a CSV (default: all).
    ``baseline``: the protocol that the others are tested against (default: the first). ``names``: ``PROTOCOL=NAME``.
    The rest as of ``board``. Raises UserError.
    """
    chosen("--format", Form, form)
    from cxrbench.engine.results import Results
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.cells import Look, Spread
    from cxrbench.leaderboard.display import read_names
    from cxrbench.leaderboard.markdown import to_markdown
    from cxrbench.leaderboard.protocols.tables import as_saved, board_of_protocols
    from cxrbench.leaderboard.render import to_csv, to_json

    chosen("--spread", Spread, spread)
    look = Look(read_names(separate(names, "names")), tuple(separate(labels, "labels")), spread)
    store, wanted = Results(Path(results)), separate(protocols, "protocols")
    table = board_of_protocols(
        store.load_predictions(_names(datasets) or ()),
        encoder,
        wanted,
        datasets=_names(datasets),
        baseline=baseline,
        metrics=tuple(separate(metrics, "metrics")) or None,
        replicates=replicates,
        seed=seed,
        rope=rope,
        not_applicable=store.load_not_applicable(),
    )
    if form == "md":
        return to_markdown(table, look)
    return {"csv": to_csv, "json": to_json}[form](as_saved(table, wanted))


def compare_protocols(
    encoder: str,
    protocols: str | Sequence[str],
    *,
    results: Path | str = "results",
    datasets: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    replicates: int = 10_000,
    seed: int = 0,
    margin: float | None = None,
    names: str | Sequence[str] = (),
    form: Literal["md", "json"] = "md",
) -> str:
    """Is the first of two ``protocols`` of an encoder better than the second? As ``compare`` says it of encoders.

    ``protocols``, ``datasets``, ``names``: as of ``board_of_protocols``. Raises UserError.
    """
    chosen("form", Literal["md", "json"], form)
    from cxrbench.engine.results import Results
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.compare import comparison_to_json, comparison_to_markdown
    from cxrbench.leaderboard.display import read_names
    from cxrbench.leaderboard.protocols.tables import compare_protocols

    called = read_names(separate(names, "names"))
    comparison = compare_protocols(
        Results(Path(results)).load_predictions(_names(datasets) or ()), encoder, separate(protocols, "protocols"),
        datasets=_names(datasets), metrics=tuple(separate(metrics, "metrics")) or None, replicates=replicates,
        seed=seed, margin=margin,
    )  # fmt: skip
    return comparison_to_json(comparison) if form == "json" else comparison_to_markdown(comparison, called)


def _names(given: str | Sequence[str]) -> tuple[str, ...] | None:
    """Data sets as results name them; None where none was named."""
    from cxrbench.engine.registry import saved_task
    from cxrbench.engine.settings import names

    return tuple(map(saved_task, names(given, "datasets"))) or None
