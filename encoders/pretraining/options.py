"""A method's own options, from what a user types to a frozen dataclass."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from cxrbench.errors import UserError

T = TypeVar("T")
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def read_options(
    kind: type[T], given: Mapping[str, Any], *, method: str, help_lines: Mapping[str, str],
    variants: Mapping[str, Mapping[str, Any]],
) -> T:  # fmt: skip
    """``kind`` from values by name, numbers or text as typed; what is not given comes from the variant, then ``kind``.

    ``kind`` is a dataclass with a field ``variant``; only the names in ``help_lines`` may be given. The first variant
    is the default. Raises UserError for an unknown name, variant or choice, and for text that is no number. Ranges are
    the caller's to check.
    """
    if unknown := sorted(set(given) - set(help_lines)):
        raise UserError(f"{method} has no option {', '.join(unknown)}: choose from {', '.join(help_lines)}")
    variant = str(given.get("variant", next(iter(variants))))
    if variant not in variants:
        raise UserError(f"{method} has no variant {variant!r}: choose one of {', '.join(variants)}")
    types = get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    values = {"variant": variant, **variants[variant]}
    values |= {name: _value(method, name, types[name], text) for name, text in given.items() if name in known}
    return kind(**values)


def _value(method: str, name: str, wanted: Any, given: Any) -> Any:
    """One value as its field's type wants it."""
    text = str(given)
    if get_origin(wanted) is Literal:
        if text not in map(str, get_args(wanted)):
            raise UserError(f"{method}: {name} is {', '.join(map(str, get_args(wanted)))}, not {text!r}")
        return next(choice for choice in get_args(wanted) if str(choice) == text)
    if wanted is bool:
        if text.lower() not in BOOLEANS:
            raise UserError(f"{method}: {name} is true or false, not {text!r}")
        return BOOLEANS[text.lower()]
    if wanted in (int, float):
        kind = "a whole number" if wanted is int else "a number"
        try:
            number = wanted(text)
        except ValueError as error:
            raise UserError(f"{method}: {name} is {kind}, not {text!r}") from error
        if not math.isfinite(number):
            raise UserError(f"{method}: {name} is {kind}, not {text!r}")
        return number
    return text
