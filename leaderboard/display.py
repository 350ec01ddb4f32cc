"""What encoders are called in Markdown: by names that were given, else by no more than tells them apart.

Identity, CSV and JSON keep the whole text.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from cxrbench.errors import UserError
from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.render import code

WRITTEN = ("encoder.safetensors", "last.ckpt")
"""What a pretraining calls its files: the folder says more."""
LOCAL = re.compile(r"((?:\w+:)?)((?:\./|\.\./|/|~/).*)")


def read_names(pairs: Sequence[str]) -> dict[str, str]:
    """``ENCODER=NAME`` as a mapping; the last = divides. Raises UserError for a text without one, or twice a name."""
    names: dict[str, str] = {}
    for pair in pairs:
        encoder, equals, name = (part.strip() for part in pair.rpartition("="))
        if not (encoder and equals and name):
            raise UserError(f"--names {pair!r}: give ENCODER=NAME, e.g. spcl@runs/x/encoder.safetensors=S-PCL")
        names[encoder] = name
    return names


def shown_names(encoders: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """The name of each encoder [unique]; those without a path in them are called what they are.

    ``given``: names by an encoder's whole text, or by what it is called without them. Raises UserError for an encoder
    that is not there, and where two would be called the same.
    """
    short = _short(encoders)
    known = {name: encoder for encoder, name in short.items()} | {encoder: encoder for encoder in encoders}
    for encoder, name in given.items():
        if encoder not in known:
            raise UserError(f"--names {encoder}={name}: the results have {', '.join(sorted(encoders))}")
        short[known[encoder]] = name
    if twice := next((name for name, count in Counter(short.values()).items() if count > 1), None):
        who = " and ".join(encoder for encoder, name in short.items() if name == twice)
        raise UserError(f"--names: {who} would both be called {twice!r}; give each a name of its own")
    return short


def key_to_names(names: Mapping[str, str]) -> str:
    """A line of Markdown for each encoder that is not called by its whole text; "" where there is none."""
    lines = [f"- {code(name)}: {code(encoder)}" for encoder, name in sorted(names.items()) if name != encoder]
    return "\n".join(lines)


def renamed(board: Board, names: Mapping[str, str]) -> Board:
    """The board with every encoder by its name; the notes keep the whole text."""
    return replace(
        board,
        records=tuple(
            replace(r, encoder=names[r.encoder], baseline=names.get(r.baseline, "")) for r in board.records
        ),
        columns=tuple(
            replace(
                c,
                not_applicable={names[e]: why for e, why in c.not_applicable.items()},
                apart={
                    metric: {(names[a], names[b]): p for (a, b), p in of.items()} for metric, of in c.apart.items()
                },
            )
            for c in board.columns
        ),
        baseline=names.get(board.baseline or "", board.baseline),
        efficiency={names.get(e, e): facts for e, facts in board.efficiency.items()},
        heads=tuple(one._replace(encoder=names.get(one.encoder, one.encoder)) for one in board.heads),
        nowhere={task: {names[e]: why for e, why in of.items()} for task, of in board.nowhere.items()},
        overall={
            table: tuple(
                replace(
                    one,
                    encoder=names[one.encoder],
                    wins={names[e]: share for e, share in one.wins.items()},
                    apart={names[e]: p for e, p in one.apart.items()},
                )
                for one in encoders
            )
            for table, encoders in board.overall.items()
        },
    )  # fmt: skip


def encoders_of(board: Board) -> list[str]:
    """Every encoder that a board names, each once."""
    found = {r.encoder for r in board.records} | {e for c in board.columns for e in c.not_applicable}
    return sorted(found | {e for of in board.nowhere.values() for e in of} | {*board.efficiency})


def _short(encoders: Sequence[str]) -> dict[str, str]:
    """As little of each encoder's paths as tells it from the others."""
    candidates = {encoder: _candidates(encoder) for encoder in encoders}
    level = dict.fromkeys(encoders, 0)
    while True:
        shown = {encoder: candidates[encoder][at] for encoder, at in level.items()}
        counts = Counter(shown.values())
        further = [e for e in encoders if counts[shown[e]] > 1 and level[e] + 1 < len(candidates[e])]
        if not further:
            return shown
        for encoder in further:
            level[encoder] += 1


def _candidates(encoder: str) -> list[str]:
    """Ways to call an encoder, the shortest first, its whole text last."""
    head, at, path = encoder.partition("@")
    if local := LOCAL.fullmatch(head):
        prefix, place = local.groups()
        heads = [prefix + end for end in _ends(place)]
    else:
        heads = [head]
    if not at:
        return [*heads, encoder]
    if "/" not in path:
        return [*(f"{one}@{path}" for one in heads), encoder]
    ends = _ends(path)
    if len(ends) > 1 and ends[0] in WRITTEN:
        ends = [ends[1].rpartition("/")[0], *ends[1:]]
    return [heads[0], *(f"{heads[0]}@{end}" for end in ends), *(f"{one}@{path}" for one in heads[1:]), encoder]


def _ends(path: str) -> list[str]:
    """The last part of a path, the last two, and so on."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", ".")]
    return ["/".join(parts[-n:]) for n in range(1, len(parts) + 1)]
