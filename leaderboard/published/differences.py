"""What sets a printed figure apart from the cell that it stands beside: theirs, and ours."""

from collections.abc import Sequence

from cxrbench.leaderboard.board import Column
from cxrbench.papers.conditions import Conditions
from cxrbench.papers.published import PublishedValue

NOT_SAID = "not said"


def differences(
    one: PublishedValue,
    said: Conditions,
    column: Column,
    counted: Sequence[str],
    beside: Sequence[str],
    ours: Sequence[str],
) -> tuple[str, ...]:
    """Phrases, theirs first: origin, split, size, labels, resolution, selection, statistic, what is other in our task.

    ``counted``: labels that our value is the mean over, none where it is of one label; ``beside``: all tasks of the
    board that the figure stands beside; ``ours``: encoders that it may be of.
    """
    found = [{"own": "", "cited": "copied from its publication"}.get(one.origin, one.origin)]
    found.append(f"split {one.split or NOT_SAID}")
    unit = said.unit or "images"
    tested = f"{int(one.n):,} {unit}" if one.n else f"n {NOT_SAID}"
    found.append(f"{tested} (here {column.rows:,})" if one.n != str(column.rows) or said.unit else "")
    found.append(_labels(said, counted) if counted else "")
    if one.origin == "own":
        found.append(f"{said.pixels} px" if said.pixels else f"resolution {NOT_SAID}")
        found.append(f"checkpoint by {said.selected}" if said.selected else f"selection {NOT_SAID}")
        found.append(said.statistic)
    else:
        found.append(f"resolution and selection {'of its publication' if one.origin == 'cited' else NOT_SAID}")
    dataset, protocol, fraction = column.task.dataset, column.task.protocol, column.task.fraction
    found.append(f"here the data are {dataset}" if dataset != one.dataset else "")
    found.append(f"here {protocol}" if "+" in protocol else "")
    found.append(f"which {100 * fraction:g}% is another draw" if fraction < 1 else "")
    found.append(f"may stand beside {' or '.join(beside)}" if len(beside) > 1 else "")
    found.append(f"may be of {' or '.join(ours)}" if len(ours) > 1 else "")
    found += [f"here weights of your own: {ours[0]}" for _ in ours[:1] if len(ours) == 1 and "@" in ours[0]]
    return tuple(phrase for phrase in found if phrase)


def _labels(said: Conditions, counted: Sequence[str]) -> str:
    """Of a mean over labels, whose it is, where that is not ours."""
    here = f"here {len(counted)}"
    if said.said:
        return f"mean over {said.said} ({here})"
    if not said.labels:
        return f"labels {NOT_SAID} ({here})" if len(counted) > 1 else ""
    if said.labels != len(counted):
        return f"mean over {said.labels} labels ({here})"
    return f"mean over {', '.join(said.names)}" if said.names and {*said.names} != {*counted} else ""
