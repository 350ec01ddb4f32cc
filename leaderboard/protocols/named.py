"""Protocols as a user names them: ``classification+views2``, ``classification@0.1``."""

from collections.abc import Sequence
from dataclasses import dataclass

from cxrbench.errors import UserError


@dataclass(frozen=True)
class NamedProtocol:
    """A protocol, its options in its name, and the label fraction that it is meant at; None: at each that was run."""

    protocol: str
    fraction: float | None = None

    @property
    def name(self) -> str:
        """What tables call it: ``classification``, ``classification@0.1``."""
        whole = self.fraction is None or self.fraction == 1
        return self.protocol if whole else f"{self.protocol}@{self.fraction:.15g}"


def read_protocols(texts: Sequence[str]) -> tuple[NamedProtocol, ...]:
    """``PROTOCOL`` or ``PROTOCOL@FRACTION`` each, the fraction as 0.1 or 10%.

    Where one of them names a fraction, the others mean all labels. Raises UserError for fewer than two, for one that is
    named twice, and for a fraction that is none.
    """
    found = [_read(text) for text in texts]
    if any(one.fraction is not None for one in found):
        found = [NamedProtocol(one.protocol, one.fraction or 1.0) for one in found]
    if twice := next((one.name for i, one in enumerate(found) if one in found[:i]), None):
        raise UserError(f"--protocols: {twice} is named twice")
    if len(found) < 2:
        raise UserError("--protocols: name two or more, e.g. classification+views1,classification+views2")
    return tuple(found)


def named(text: str, among: Sequence[NamedProtocol]) -> str:
    """The name of one of these protocols, however its fraction is written. Raises UserError for another one."""
    name = _read(text).name
    if name not in (one.name for one in among):
        raise UserError(f"--baseline {text}: name one of --protocols {','.join(one.name for one in among)}")
    return name


def _read(text: str) -> NamedProtocol:
    protocol, at, share = text.strip().partition("@")
    if not at:
        return NamedProtocol(protocol)
    try:
        fraction = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction <= 1:
        raise UserError(f"--protocols {text}: what follows the @ is a label fraction, e.g. {protocol}@0.1")
    return NamedProtocol(protocol, fraction)
