"""A board, and a comparison, whose rows are protocols of one encoder."""

from collections.abc import Sequence
from dataclasses import replace

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import NAN, Board
from cxrbench.leaderboard.comparison.compare import Comparison, compare
from cxrbench.leaderboard.protocols.in_place import protocols_in_place
from cxrbench.leaderboard.protocols.named import NamedProtocol, named, read_protocols
from cxrbench.leaderboard.statistics.bootstrap import REPLICATES
from cxrbench.leaderboard.statistics.kept import NOTHING_KEPT, Evaluations
from cxrbench.leaderboard.statistics.signed_rank import ROPE
from cxrbench.leaderboard.tables import build
from cxrbench.predictions import NotApplicable, Predictions
from cxrbench.progress import Advance, unheard


def board_of_protocols(
    predictions: Sequence[Predictions],
    encoder: str,
    protocols: Sequence[str],
    *,
    baseline: str | None = None,
    datasets: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    rope: float = ROPE,
    not_applicable: Sequence[NotApplicable] = (),
    kept: Evaluations = NOTHING_KEPT,
    advance: Advance = unheard,
) -> Board:
    """A board of one encoder, its protocols (``PROTOCOL[@FRACTION]``) in the place of encoders.

    ``baseline``: the protocol that the others are tested against, by default the first. The rest as of ``build``.
    Raises UserError for names without results, and for protocols that cannot be paired.
    """
    wanted = read_protocols(protocols)
    against = wanted[0].name if baseline is None else named(baseline, wanted)
    of = protocols_in_place(predictions, encoder, wanted, datasets=datasets, not_applicable=not_applicable)
    board = build(
        of.predictions, baseline=against, metrics=metrics, replicates=replicates, seed=seed, rope=rope,
        not_applicable=of.not_applicable, kept=kept, advance=advance,
    )  # fmt: skip
    return replace(board, encoder=encoder, remarks=(*of.remarks, *board.remarks))


def as_saved(board: Board, protocols: Sequence[str]) -> Board:
    """The board with every record under its encoder, protocol and label fraction, as CSV and JSON have them.

    ``baseline`` stays the name of a protocol.
    """
    of = {one.name: one for one in read_protocols(protocols)}

    def fraction(one: NamedProtocol, run: float) -> float:
        return run if one.fraction is None else one.fraction

    return replace(
        board,
        records=tuple(
            replace(
                r, encoder=board.encoder, protocol=of[r.encoder].protocol, fraction=fraction(of[r.encoder], r.fraction)
            )
            for r in board.records
        ),
    )


def compare_protocols(
    predictions: Sequence[Predictions],
    encoder: str,
    protocols: Sequence[str],
    *,
    datasets: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    margin: float | None = None,
    kept: Evaluations = NOTHING_KEPT,
    advance: Advance = unheard,
) -> Comparison:
    """Is the first protocol of an encoder better than the second? As ``compare`` asks it of two encoders.

    Raises UserError as that does, for other than two protocols, and for two that cannot be paired.
    """
    wanted = read_protocols(protocols)
    if len(wanted) != 2:
        raise UserError(
            f"--protocols names {len(wanted)}: compare takes two; for more, "
            f"cxrbench leaderboard --encoder {encoder} --protocols {','.join(one.name for one in wanted)}"
        )
    of = protocols_in_place(predictions, encoder, wanted, datasets=datasets)
    found = compare(
        of.predictions, wanted[0].name, wanted[1].name, metrics=metrics, replicates=replicates, seed=seed,
        margin=margin, kept=kept, advance=advance,
    )  # fmt: skip
    rows = found.rows
    if any(one.fraction is not None for one in wanted):  # each has its own
        rows = tuple(replace(row, fraction=NAN) for row in rows)
    return replace(found, encoder=encoder, rows=rows, notes=(*of.remarks, *found.notes))
