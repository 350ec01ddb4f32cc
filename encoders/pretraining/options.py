"""A method's own options: each is declared once, as a field; from that follow its help, its bounds and its reading."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from cxrbench.errors import UserError, chosen

T = TypeVar("T")
Variant = Literal["fixed", "paper", "official"]
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
DECLARED = "cxrbench option"  # key of a field's metadata


@dataclass(frozen=True)
class Declared:
    """What a field says of an option beside its type and its default.

    A value lies in [least, most], or (above, below), or what is mixed of them. ``when``: a condition on the other
    options, in words and as a function; where it is not met nothing reads the option, and giving it is an error.
    ``of``: the same of the architecture's name.
    """

    help: str
    least: float = -math.inf
    above: float = -math.inf
    most: float = math.inf
    below: float = math.inf
    when: tuple[str, Callable[[Any], object]] | None = None
    of: tuple[str, Callable[[str], object]] | None = None

    def unread(self, options: Any, arch: str) -> str:
        """Where the option is read, in words, if it is not with these options and this architecture; else nothing."""
        for condition, given in ((self.of, arch), (self.when, options)):
            if condition and not condition[1](given):
                return condition[0]
        return ""

    def allows(self, number: float) -> bool:
        """Whether a number is within the bounds."""
        return self.least <= number <= self.most and self.above < number < self.below

    @property
    def bounds(self) -> str:
        """In words: ``in [0, 1)``, ``at least 1``, ``more than 0``, or nothing."""
        low, high = max(self.least, self.above), min(self.most, self.below)
        if math.isfinite(high):
            return f"in {'(' if self.above == low else '['}{low:g}, {high:g}{')' if self.below == high else ']'}"
        if not math.isfinite(low):
            return ""
        return f"{'more than' if self.above == low else 'at least'} {low:g}"


def option(default: Any, help: str, **more: Any) -> Any:
    """A field of an options class; ``more``: as in ``Declared``."""
    return field(default=default, metadata={DECLARED: Declared(help, **more)})


@dataclass(frozen=True)
class OptionSet(Generic[T]):
    """What can be set in a method: the class of its options, a dataclass of ``option`` fields, and its variants.

    ``method``: as messages name it. ``variants``: by name what each sets otherwise than the class does; the first is
    the default. ``check``: of what several options must fulfil together; raises UserError.
    """

    method: str
    kind: type[T]
    variants: Mapping[str, Mapping[str, Any]]
    check: Callable[[T], None] = lambda options: None

    @property
    def declared(self) -> dict[str, Declared]:
        """The options by name; the variant is none of them, but part of the recipe."""
        return {f.name: f.metadata[DECLARED] for f in fields(self.kind) if DECLARED in f.metadata}  # type: ignore[arg-type]

    @property
    def types(self) -> dict[str, Any]:
        """The type of each field."""
        return get_type_hints(self.kind)

    def read(self, given: Mapping[str, Any], arch: str = "") -> T:
        """The options from values by name, numbers or text as typed; what is not given comes from ``variant`` of them.

        Raises UserError for an unknown name, variant or choice, for text that is no number, for a number out of
        bounds, and for an option that nothing reads, with the architecture ``arch``.
        """
        declared, types = self.declared, self.types
        variant = str(given.get("variant", next(iter(self.variants))))
        given = {name: value for name, value in given.items() if name != "variant"}
        if unknown := sorted(set(given) - set(declared)):
            raise UserError(f"{self.method} has no option {', '.join(unknown)}: choose from {', '.join(declared)}")
        if variant not in self.variants:
            raise UserError(f"{self.method} has no variant {variant!r}: choose one of {', '.join(self.variants)}")
        values = {"variant": variant, **self.variants[variant]}
        for name, text in given.items():
            values[name] = self.value(name, types[name], text)
        options = self.kind(**values)
        for name in given:
            if where := declared[name].unread(options, arch):
                raise UserError(f"{self.method} reads {name} only where {where}: leave it out")
        self.check(options)
        return options

    def value(self, name: str, wanted: Any, given: Any) -> Any:
        """One value as its field's type and bounds want it. Raises UserError."""
        text, bounds = str(given), self.declared[name].bounds
        if get_origin(wanted) is Literal:
            return chosen(f"{self.method}: {name}", wanted, text)
        if wanted is bool:
            if text.lower() not in BOOLEANS:
                raise UserError(f"{self.method}: {name} is true or false, not {text!r}")
            return BOOLEANS[text.lower()]
        if wanted not in (int, float):
            return text
        try:
            number = wanted(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{self.method}: {name} is {'a whole' if wanted is int else 'a'} number, not {text!r}")
        if not self.declared[name].allows(number):
            raise UserError(f"{self.method}: {name} is {text}: it must be {bounds}")
        return number

    def described(self, name: str) -> str:
        """What an option is, what it may be, and when it is read."""
        one, kind = self.declared[name], self.types[name]
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        conditions = " and ".join(condition[0] for condition in (one.of, one.when) if condition)
        when = f"read where {conditions}" if conditions else ""
        return "; ".join(filter(None, (one.help, " or ".join(map(str, choices)), one.bounds, when)))

    def lines(self) -> dict[str, str]:
        """A line of help for each option, with its default."""
        defaults = {f.name: typed(f.default) for f in fields(self.kind)}  # type: ignore[arg-type]
        return {
            name: self.described(name) + (f" [default: {defaults[name]}]" if defaults[name] else "")
            for name in self.declared
        }


def typed(value: Any) -> str:
    """A value as a user would type it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
