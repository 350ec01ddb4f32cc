"""What an encoder may say of itself: a wrong word is an error where it is written, not the noise of a run."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from cxrbench.errors import UserError, check_choices

if TYPE_CHECKING:
    from cxrbench.encoder import EncoderCard, Preprocess


def check_preprocess(said: "Preprocess") -> None:
    """Raise UserError unless images can be prepared so."""
    check_choices(said, "Preprocess: {}")
    if not _is_whole(said.size) or said.size < 1:
        raise UserError(f"Preprocess: size {said.size!r}: give the side of a square in pixels, from 1 on")
    for name in ("mean", "std"):
        numbers: Any = getattr(said, name)
        if not _is_sequence(numbers) or not all(_is_finite(number) for number in numbers):
            example = f"({numbers!r},)" if _is_finite(numbers) else "(0.5,) or (0.485, 0.456, 0.406)"
            raise UserError(f"Preprocess: {name} {numbers!r}: give a tuple of numbers, {example}")
        if len(numbers) not in (1, said.channels):
            many = f"{len(numbers)} numbers for {said.channels} channel(s)"
            raise UserError(
                f"Preprocess: {name} has {many}: give one{'' if said.channels == 1 else f', or {said.channels}'}"
            )
    if min(said.std) <= 0:
        raise UserError(f"Preprocess: std {said.std!r}: give what images are divided by, above 0")
    if not _is_finite(said.crop_pct) or not 0 < said.crop_pct <= 1:
        raise UserError(f"Preprocess: crop_pct {said.crop_pct!r}: give a share, above 0 and at most 1")


def check_card(said: "EncoderCard") -> None:
    """Raise UserError unless names are text, and several a tuple: ``("mimic")`` is none, and would mark nothing."""
    for name in ("method", "licence", "citation"):
        if not isinstance(text := getattr(said, name), str):
            raise UserError(f"EncoderCard: {name} {text!r}: give text")
    for name in ("pretrained_on", "assumed", "unverified"):
        names: Any = getattr(said, name)
        if not _is_sequence(names) or not all(isinstance(one, str) for one in names):
            example = f"({names!r},), with a comma" if isinstance(names, str) else '("mimic", "nih")'
            raise UserError(f"EncoderCard: {name} {names!r}: give a tuple of names, {example}")


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
