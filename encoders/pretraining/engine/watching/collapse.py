"""When embeddings have collapsed. There are two ways, and a monitor of the one does not see the other."""

from collections.abc import Iterator
from typing import Literal

from cxrbench.encoders.pretraining.engine.watching.monitors import Monitors

Mode = Literal["one point", "few dimensions"]

SPREAD_LEFT, RANK_LEFT, REST_LEFT = 1 / 3, 1 / 2, 1 / 2
MOST_IN_FIRST = 0.8


def collapses(start: Monitors, now: Monitors) -> Iterator[tuple[Mode, str]]:
    """The modes that ``now`` shows and what shows them, in words; ``start``: the same figures before training.

    ``one point``: the images' spread is below a third of its start. ``few dimensions``: the first component's share of
    the variance has grown, and their effective rank is below half of its start, or that share is above 80% and what is
    left to the others less than half of what they had. 80% by itself is no sign, because the brightness of images may
    be that much of an untrained encoder's embeddings; nor is a low rank, where the first component has lost.
    """
    if now.spread < SPREAD_LEFT * start.spread:
        yield "one point", f"their spread is {now.spread:.3g}, and was {start.spread:.3g}"
    if now.first_component <= start.first_component:
        return
    if now.effective_rank < RANK_LEFT * start.effective_rank:
        yield "few dimensions", f"their effective rank is {now.effective_rank:.1f}, and was {start.effective_rank:.1f}"
    elif now.first_component > max(MOST_IN_FIRST, 1 - REST_LEFT * (1 - start.first_component)):
        yield (
            "few dimensions",
            f"their first component has {now.first_component:.0%} of the variance, and had {start.first_component:.0%}",
        )
