"""What is asked with a label budget: how many of which units train."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from cxrbench.data.subsets.selection import Unit
from cxrbench.errors import UserError

PLURAL: Mapping[Unit, str] = {"image": "images", "study": "studies", "patient": "patients"}


@dataclass(frozen=True)
class Budget:
    """``count`` training units; None: the cell's label fraction of them, whole units instead of whole patients."""

    count: int | None
    unit: Unit

    @property
    def setting(self) -> str:
        """What a protocol's name says of it: ``budget5000-studies``, ``fractions-of-studies``."""
        return f"fractions-of-{PLURAL[self.unit]}" if self.count is None else f"budget{self.count}-{PLURAL[self.unit]}"


def budgets(counts: Sequence[int] | None, unit: str | None, fractions: Sequence[float]) -> tuple[Budget, ...]:
    """What ``--budget`` and ``--budget-unit`` ask for, counts once and ascending; none where neither is said.

    Raises UserError for a count below 1, an unknown unit, and where a count and a label fraction, or neither, are
    given with a unit.
    """
    if unit is not None and unit not in get_args(Unit):
        raise UserError(f"--budget-unit {unit}: choose from {', '.join(get_args(Unit))}")
    part = [fraction for fraction in fractions if fraction < 1]
    if not counts:
        if unit is not None and not part:
            raise UserError(f"--budget-unit {unit}: of how many? give --budget 5000,20000, or --fractions below 1")
        return () if unit is None else (Budget(None, _unit(unit)),)
    said = ",".join(map(str, counts))
    if part:
        raise UserError(f"--budget {said} with --fractions {part[0]:g}: a subset has one size; leave one of them out")
    if min(counts) < 1:
        raise UserError(f"--budget {said}: give whole numbers of 1 or more")
    return tuple(Budget(count, _unit(unit or "patient")) for count in sorted(set(counts)))


def _unit(text: str) -> Unit:
    return next(unit for unit in get_args(Unit) if unit == text)
