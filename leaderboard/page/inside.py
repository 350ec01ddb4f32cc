"""What a page shows beside the board: encoders' cards, subgroups, pictures, published figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cxrbench.leaderboard.published.figure import PublishedFigure
from cxrbench.leaderboard.subgroups.evaluate import ByGroup

Facts = tuple[tuple[str, str], ...]
"""What is known of an encoder: a name and a value each, as people read them; a name may come twice."""


@dataclass(frozen=True)
class Inside:
    """``cards``: facts by encoder's whole text. ``groups``: the board's encoders within groups of patients, a way of
    grouping each. ``pictures``: by chart, dataclasses or plain values with encoders by their shown names.
    ``published``: figures of papers.
    """

    cards: Mapping[str, Facts] = field(default_factory=dict)
    groups: Sequence[ByGroup] = ()
    pictures: Mapping[str, Any] = field(default_factory=dict)
    published: Sequence[PublishedFigure] = ()


@dataclass(frozen=True)
class Writers:
    """How text becomes markup: Markdown a fragment of ``html`` in which no tag of a name survives; a name ``latex``."""

    html: Callable[[str], str]
    latex: Callable[[str], str]
