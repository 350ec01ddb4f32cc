"""What was found out about a plugin: a table of what passes and what to mend."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["pass", "mend", "remark"]


@dataclass(frozen=True)
class PluginCheck:
    """One thing that was looked at: ``found`` says what was seen, ``advice`` what to do about it, if anything."""

    check: str
    state: State
    found: str
    advice: str = ""


@dataclass(frozen=True)
class PluginReport:
    """All that was looked at. ``ok``: nothing has to be mended (remarks may remain). Prints as a table.

    ``facts``: what it costs, and the like, by name.
    """

    spec: str
    checks: tuple[PluginCheck, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing has to be mended."""
        return not any(one.state == "mend" for one in self.checks)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "encoder": self.spec,
            "ok": self.ok,
            "checks": [asdict(one) for one in self.checks],
            "facts": dict(self.facts),
        }

    def __str__(self) -> str:
        width = max(len(one.check) for one in self.checks)
        lines = []
        for one in self.checks:
            lines.append(f"{one.state:<6}  {one.check:<{width}}  {one.found}")
            if one.advice:
                lines.append(f"{'':<6}  {'':<{width}}  -> {one.advice}")
        count = sum(one.state == "mend" for one in self.checks)
        lines.append(f"{self.spec}: {f'{count} to mend' if count else 'nothing to mend'}")
        return "\n".join(lines)


def verdict(name: str, good: bool, found: str, advice: str, otherwise: State = "mend") -> PluginCheck:
    """A check that passes where it is ``good``; where it is not it is ``otherwise``, with an ``advice``."""
    return PluginCheck(name, "pass" if good else otherwise, found, "" if good else advice)
