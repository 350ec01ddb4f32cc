"""When embeddings have collapsed. There are two ways, and a monitor of the one does not see the other."""

from collections.abc import Iterator
from typing import Literal

from cxrbench.encoders.pretraining.engine.watching.monitors import Monitors

Mode = Literal["one point", "few dimensions"]

RANK_LEFT, REST_LEFT = 1 / 2, 1 / 2
MOST_IN_FIRST = 0.8


def collapses(start: Monitors, now: Monitors, spread_left: float) -> Iterator[tuple[Mode, str]]:
    """The modes that ``now`` shows and what shows them, in words; ``start``: the same figures before training.

    ``one point``: the images' spread is below ``spread_left`` of its start (``Objective.spread_left``). ``few
    dimensions``: the first component's share of the variance has grown, all other components together have lost half
    of their variance, and the effective rank is below half of its start, or that share above 80% and what it leaves to
    the others less than half of what they had. Shares by themselves are no sign: healthy training may stretch one
    direction (a label, brightness) without taking anything from the others, and brightness may be more than 80% of an
    untrained encoder's embeddings.
    """
    if now.spread < spread_left * start.spread:
        yield "one point", f"their spread is {now.spread:.3g}, and was {start.spread:.3g}"
    if now.first_component <= start.first_component or beside_first(now) >= REST_LEFT * beside_first(start):
        return
    if now.effective_rank < RANK_LEFT * start.effective_rank:
        yield "few dimensions", f"their effective rank is {now.effective_rank:.1f}, and was {start.effective_rank:.1f}"
    elif now.first_component > max(MOST_IN_FIRST, 1 - REST_LEFT * (1 - start.first_component)):
        yield (
            "few dimensions",
            f"their first component has {now.first_component:.0%} of the variance, and had {start.first_component:.0%}",
        )


def beside_first(figures: Monitors) -> float:
    """Variance in all components but the first, up to a factor that does not change while an encoder is trained."""
    return figures.spread**2 * (1 - figures.first_component)
