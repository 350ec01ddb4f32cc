"""Colours that colour-blind readers tell apart, each with a shape, so that colour is never all there is to see."""

from typing import NamedTuple

# Okabe and Ito (2008), without their yellow, which cannot be seen on white; ordered so that neighbours differ most.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
GRAY, INK, FAINT = "#9a9a9a", "#222222", "#d9d9d9"


class Style(NamedTuple):
    """How one of many is drawn: a colour (``#rrggbb``) and one of matplotlib's markers."""

    colour: str
    marker: str


def style(number: int) -> Style:
    """The style of the ``number``-th encoder or group; the first 70 differ, the first seven in colour and shape."""
    return Style(COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])
