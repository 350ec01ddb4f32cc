"""The exceptions that a user is meant to read, the mistake that is made most, and others' exceptions in one line."""

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

OnBadImage = Literal["error", "skip"]
"""What is done about an image that cannot be decoded: the work ends, or the image is left out and counted."""


class UserError(Exception):
    """A mistake that the user can mend.

    The message is one line: what is wrong, where, and what to do next. The command line prints it without a
    traceback and exits with code 2.
    """


class DiskError(UserError):
    """Nothing can be written where it must be (full, read-only, not ours): no further work can be kept either."""


class BadImageError(UserError):
    """An image file that cannot be decoded. ``path`` names it; ``--on-bad-image skip`` drops and counts it."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"cannot read image {path}: {reason}")
        self.path = str(path)
        self.reason = reason


class NotApplicableError(Exception):
    """An encoder cannot be asked this (it has no maps, no text tower): the cell is marked, the run goes on."""


class WorkGoesOnError(Exception):
    """Ctrl-C where others go on with the work: one line says who, and how to cancel it. Exit code 130."""


THEIRS = (Exception, SystemExit)
"""What a plugin's own code may raise: its ``sys.exit()`` ends its cell, not the run. Ctrl-C is the user's."""


def chosen(what: str, wanted: Any, text: str) -> Any:
    """The choice of a ``Literal`` type that ``text`` names. Raises UserError: ``--format is md or json, not 'txt'``."""
    choices = get_args(wanted)
    for choice in choices:
        if str(choice) == text:
            return choice
    raise UserError(f"{what} is {', '.join(map(str, choices[:-1]))} or {choices[-1]}, not {text!r}")


def check_choices(settings: Any, named: str = "{}") -> None:
    """Raise UserError if a field of a dataclass whose type is a Literal (or None) holds anything else.

    ``named``: how the message calls a field. The dataclass's module must not postpone its annotations.
    """
    for entry in fields(settings):
        value, kinds = getattr(settings, entry.name), (entry.type, *get_args(entry.type))
        choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
        if choices and value is not None and value not in choices:
            raise UserError(f"{named.format(entry.name)} {value!r}: choose from {', '.join(map(str, choices))}")


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, at most 160 characters; of one without a message its name."""
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
